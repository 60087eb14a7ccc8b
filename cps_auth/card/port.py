"""The ports of the card layer: a card, a reader service and a source of cards.

Everything that touches hardware implements one of these from outside: PC/SC in
`cps_auth.card.pcsc.service`, vendor modules in `cps_auth.card.pkcs11.source`, virtual ones in the
`cps-auth-mocks` distribution. `tests/contract/` holds the promises written here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, Self

from cps_auth.model import (
    CardDescription,
    CardEvent,
    CardSignature,
    Challenge,
    DataObject,
    ReaderState,
    Snapshot,
)


class Transport(Protocol):
    """A powered card that takes command APDUs (ISO 7816-3 and -4)."""

    @property
    def protocol(self) -> int:
        """Return 0 for T=0 (no Le in a case-4 command) or 1 for T=1."""

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return data, SW1, SW2 as the card sent them.

        Raises:
            CardRemoved: the card left, was swapped or lost power, or nothing came back.
            CardMisbehaved: a single byte came back.
            ReaderServiceLost: the PC/SC service went away.
        """

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other programs off the card inside the block (SCardBeginTransaction).

        Raises:
            CardBusy: another program holds it.
            CardRemoved, ReaderServiceLost: as in `transmit`.
        """

    def will_verify(self) -> None:
        """Note that a PIN is sent next: however this connection ends, the card is reset then.

        Without it the card is left as it is, with what other programs verified.
        """

    def resume(self) -> bool:
        """Go on with the same card after another program reset it, what made a command fail.

        Returns:
            Whether that was the reason, and nothing of this connection was verified.
        """

    def reset(self) -> None:
        """Forget every verification: reset the card. Never raises."""

    def close(self) -> None:
        """Let go of the card; see `will_verify`. Never raises, may be called twice."""


class ReaderService(Protocol):
    """The PC/SC resource manager, seen by one thread (`cancel` from any thread)."""

    def snapshot(self) -> Snapshot:
        """Return all readers now.

        Raises:
            ReaderServiceLost: the service does not run or went away.
        """

    def wait_for_change(self, seen: Snapshot, timeout_s: float) -> Snapshot:
        """Block until something differs from `seen`, the timeout, or `cancel`; return what is.

        Raises:
            ReaderServiceLost: the service does not run or went away.
        """

    def cancel(self) -> None:
        """End the blocked `wait_for_change` of another thread at once, and the next one too."""

    def connect(self, reader: str) -> Transport:
        """Power the card in `reader` and return it.

        Raises:
            NoReader, NoCard, CardBusy, CardRemoved, ReaderServiceLost
            CardMisbehaved: the card does not answer.
        """

    def close(self) -> None:
        """Release the service. Never raises, may be called twice."""


class Card(Protocol):
    """One card, in use. A context manager that closes it.

    Every method raises CardRemoved when the card has left or was swapped, ReaderServiceLost
    when the service went away, CardMisbehaved when an answer breaks the standards.
    """

    @property
    def description(self) -> CardDescription:
        """Return what the card says of itself; read once when it was opened."""

    @property
    def has_pin_pad(self) -> bool:
        """Return whether the PIN can be typed on the reader: it signs without being given one."""

    def read_label(self) -> str:
        """Return the label that the card gives itself, such as CPS3v3-2900099999."""

    def read_public_objects(self) -> tuple[DataObject, ...]:
        """Return the data objects that need no PIN (PKCS#15 DODF, CKO_DATA), as they are.

        They are no proof of anything, and no login looks at them.
        """

    def read_authentication_certificate(self) -> bytes:
        """Return the authentication certificate, DER, unverified."""

    def pin_attempts_left(self) -> int | None:
        """Return how many PIN attempts are left; None when the card does not say. Costs none."""

    def puk_attempts_left(self) -> int | None:
        """Return how many PUK attempts are left; None when the card does not say. Costs none."""

    def verify_pin_and_sign(
        self, pin: bytearray | None, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, forget the PIN: one operation.

        Args:
            pin: ASCII digits; not kept, and wiped by its owner, not here. None: to be typed
                on the reader's keypad.
            challenge: made by `cps_auth.login.challenge`.
            last_attempt_allowed: the person was told and said yes.

        Raises:
            PinMalformed: not four digits; nothing was sent.
            LastAttempt: one attempt left, or unknown; nothing was sent. A PKCS#11 token whose
                flags do not say "final try" is taken at its word.
            PinBlocked: none left.
            WrongPin: the card compared and refused; carries the attempts left.
            PinEntryCancelled: nobody typed it on the reader, or there is no keypad.
            ContactlessNotEnough: this interface has no PIN.
        """

    def change_pin(
        self, old: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Replace the PIN, and forget it: one operation.

        Args:
            old, new: four ASCII digits each; not kept, and wiped by their owner, not here.
            last_attempt_allowed: the person was told and said yes.

        Raises:
            PinMalformed: one of them is not four digits; nothing was sent.
            LastAttempt, PinBlocked, WrongPin, ContactlessNotEnough: as `verify_pin_and_sign`.
        """

    def unblock(
        self, puk: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Give a blocked PIN its attempts and a new value, and forget both: one operation.

        Args:
            puk: the unblocking code, eight ASCII digits.
            new: the new PIN, four ASCII digits.
            last_attempt_allowed: the person was told that one PUK attempt is left, and that
                without one the card is lost, and said yes.

        Raises:
            PukMalformed, PinMalformed: not eight or not four digits; nothing was sent.
            LastPukAttempt: one PUK attempt left, or unknown; nothing was sent.
            PukBlocked: none left.
            WrongPuk: the card compared and refused; carries the attempts left.
            ContactlessNotEnough: this interface has no PUK.
        """

    def has_stayed(self) -> bool:
        """Return whether it has been in its reader all the time since it was opened.

        By PC/SC's own count of insertions and removals. It may be asked of a closed card. A
        token without a reader, as SoftHSM2's, stays.
        """

    def close(self) -> None:
        """Let go of the card. Never raises, may be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


CardListener = Callable[[CardEvent], None]
"""Called in the watcher's thread, one event at a time. Must return quickly and not raise."""


class Watch(Protocol):
    """A running watcher."""

    def stop(self) -> None:
        """End it within milliseconds; WATCHER_STOPPED comes last. May be called twice."""


class CardSource(Protocol):
    """A source of cards: what composition roots hand to the login, the lock and Flask."""

    def readers(self) -> tuple[ReaderState, ...]:
        """Return all readers now.

        Raises:
            ReaderServiceLost: nobody can tell.
        """

    def open_card(self, reader: str | None = None) -> Card:
        """Open the one usable card, or the one in the named reader.

        A card in contact is preferred over the same card's contactless interface. A named reader
        is found again when pcscd counts it anew ("01 00" for "00 00").

        Raises:
            ReaderServiceLost, NoReader, NoCard, CardBusy, CardRemoved, CardMisbehaved
            UnsupportedCard: cards are present, none is a CPS.
            SeveralCards: more than one CPS and `reader` is None.
            ModuleUnusable: the PKCS#11 module failed.
        """

    def watch(self, listener: CardListener) -> Watch:
        """Start telling `listener` every change; cards already present come first, as inserted."""
