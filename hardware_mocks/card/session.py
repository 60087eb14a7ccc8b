"""The state of a powered card, and the card as a command handler sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.content.contents import CardContents
from hardware_mocks.card.content.file_system import ALWAYS, NEVER, DedicatedFile, ElementaryFile

_USER_AUTHENTICATION = 0x10  # high nibble of a security condition byte; low nibble: environment
USER_PIN_REFERENCE = 1


@dataclass(frozen=True, slots=True)
class ControlReference:
    """One control reference template, as MANAGE SECURITY ENVIRONMENT set it."""

    algorithm: int | None = None
    key: int | None = None


@dataclass(slots=True)
class Session:
    """One card between power-on and power-off or reset."""

    contents: CardContents
    root: DedicatedFile  # the master file, or the application selected in its place
    current_df: DedicatedFile
    current_ef: ElementaryFile | None = None
    verified: set[int] = field(default_factory=set)  # references of PINs presented rightly
    unblocked: set[int] = field(default_factory=set)  # references of PINs, since the PUK
    templates: dict[int, ControlReference] = field(default_factory=dict)  # by parameter of MSE
    last_hash: bytes | None = None

    def enter(self, root: DedicatedFile) -> None:
        """Select an application; another one than before forgets what was verified (inferred)."""
        if root is not self.root:
            self.root = root
            self.verified.clear()
            self.unblocked.clear()
            self.templates.clear()
            self.last_hash = None

    def require(self, condition: int) -> None:
        """Let a command go on only if a security condition byte is met now.

        Raises:
            Refusal: 6982.
        """
        if condition == ALWAYS:
            return
        needs_pin = condition != NEVER and condition & 0xF0 == _USER_AUTHENTICATION
        if not needs_pin or USER_PIN_REFERENCE not in self.verified:
            raise sw.Refusal(sw.SECURITY_NOT_SATISFIED)


def new_session(contents: CardContents) -> Session:
    """Return the state of a card that has just been powered: at the master file, nothing known."""
    return Session(contents, contents.master_file, contents.master_file)
