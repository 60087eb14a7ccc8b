"""A card in the hand: the object that readers, pcscd and tests share."""

from __future__ import annotations

from typing import Protocol

from hardware_mocks.card.content.contents import CardContents, CardProfile
from hardware_mocks.card.content.cps3 import CPS3
from hardware_mocks.card.content.cps3_contactless import CPS3_CONTACTLESS
from hardware_mocks.card.content.cps4 import CPS4, CPS4_RELEASE_CANDIDATE, CPS4_T0_ONLY
from hardware_mocks.card.content.quirks import NO_QUIRKS, Quirks
from hardware_mocks.card.engine import ApduEngine
from hardware_mocks.personas import CardCredentials, Persona


class Insertable(Protocol):
    """Whatever a virtual reader or vpcd takes: bytes in, bytes out."""

    @property
    def atr(self) -> bytes:
        """Return its answer to reset."""

    @property
    def protocol(self) -> int:
        """Return 0 for T=0, 1 for T=1."""

    def transmit(self, command: bytes) -> bytes:
        """Answer a command."""

    def power_on(self) -> None:
        """Begin anew."""

    def power_off(self) -> None:
        """Forget what only power keeps."""

    def reset(self) -> None:
        """Warm reset."""


_PROFILES = (CPS3, CPS3_CONTACTLESS, CPS4, CPS4_T0_ONLY, CPS4_RELEASE_CANDIDATE)
CARD_KINDS: dict[str, CardProfile] = {profile.name: profile for profile in _PROFILES}
"""Every kind of card that can be made, by the name that the command line takes."""


def find_kind(name: str) -> CardProfile:
    """Return the kind of card of this name.

    Raises:
        KeyError: there is none; says which there are.
    """
    if name not in CARD_KINDS:
        raise KeyError(f"no kind of card {name!r}; there are {', '.join(CARD_KINDS)}")
    return CARD_KINDS[name]


class VirtualCard:
    """One card of one persona. Counters, PINs and files outlive power; verifications don't."""

    def __init__(
        self,
        persona: Persona,
        credentials: CardCredentials,
        kind: str = "cps3",
        quirks: Quirks = NO_QUIRKS,
    ) -> None:
        """Personalise a new card.

        Args:
            persona: its holder.
            credentials: its keys and certificates.
            kind: one of CARD_KINDS.
            quirks: in what it differs from other cards of its kind.

        Raises:
            KeyError: no such kind in CARD_KINDS.
        """
        self._profile = find_kind(kind)
        self.persona = persona
        self._contents = self._profile.personalise(persona, credentials, quirks)
        self._engine = ApduEngine(self._contents, self._profile.protocol)

    @property
    def kind(self) -> str:
        """Return its name in CARD_KINDS."""
        return self._profile.name

    @property
    def atr(self) -> bytes:
        """Return its answer to reset."""
        return self._profile.atr

    @property
    def protocol(self) -> int:
        """Return 0 for T=0, 1 for T=1."""
        return self._profile.protocol

    @property
    def serial(self) -> str:
        """Return the eight digits of its chip, as EF.SN.ICC has them."""
        return self._contents.chip_serial

    @property
    def pin_attempts_left(self) -> int | None:
        """Return the counter of the code porteur, without asking the card; None: has no PIN."""
        return self._attempts_left(1)

    @property
    def puk_attempts_left(self) -> int | None:
        """Return the counter of the PUK, without asking the card; None: has none."""
        return self._attempts_left(2)

    @property
    def is_pin_verified(self) -> bool:
        """Return whether the code porteur counts as presented now, without asking the card."""
        return 1 in self._engine.verified

    @property
    def contents(self) -> CardContents:
        """Return all that it holds, for whoever looks inside; a card does not show it."""
        return self._contents

    def _attempts_left(self, reference: int) -> int | None:
        pin = self._contents.pins.get(reference)
        return None if pin is None else pin.attempts_left

    def transmit(self, command: bytes) -> bytes:
        """Answer any byte string with data, SW1, SW2."""
        return self._engine.answer(command)

    def power_on(self) -> None:
        """Begin anew: at the master file, nothing verified."""
        self._engine = ApduEngine(self._contents, self._profile.protocol)

    def power_off(self) -> None:
        """Forget what only power keeps."""
        self._engine = ApduEngine(self._contents, self._profile.protocol)

    def reset(self) -> None:
        """Warm reset: as power off and on."""
        self._engine = ApduEngine(self._contents, self._profile.protocol)
