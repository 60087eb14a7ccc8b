"""The token of one opened card, asked through its module: what a failure means, is it the same.

The process ends with the first PIN that it saw, right or wrong, because some modules keep the PIN;
whatever is asked afterwards runs in a fresh one, after checking that the token is still the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cps_auth.card.pin import PIN, PinKind
from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.pool import ModulePool, PooledModule
from cps_auth.card.pkcs11.reader_check import NOTICE_REMOVAL_S, ReaderPresence
from cps_auth.card.pkcs11.select import SlotCandidate, attempts_left
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    CpsAuthError,
    ModuleCannotLogIn,
    ModuleUnusable,
    PinEntryCancelled,
)

_TOKEN_LEFT: Final = frozenset(
    {
        "TokenNotPresent",
        "TokenNotRecognised",
        "DeviceRemoved",
        "SessionHandleInvalid",
        "SessionClosed",
        "SlotIDInvalid",
    }
)
"""What python-pkcs11 calls the CKR_ values that mean the token is not there any more."""


class TokenSession:
    """The token that was opened, and the child process that reaches it.

    Whatever asks it raises CardRemoved, ReaderServiceLost, CardMisbehaved, ContactlessNotEnough,
    ModuleUnusable.
    """

    def __init__(
        self,
        candidate: SlotCandidate,
        module: PooledModule,
        pool: ModulePool,
        presence: ReaderPresence,
    ) -> None:
        """Take over what `pool` gave, and in which `candidate` was found."""
        self.candidate = candidate
        self._module: PooledModule | None = module
        self._found_by: Final = module
        self._pool = pool
        self._presence = presence

    def ask(self, request: wire.Request) -> wire.Reply:
        """Ask what needs no PIN."""
        return self._believed(self._reply_to(request), request)

    def read(self) -> wire.TokenSeen:
        """Read the token afresh and check that it is the one that was opened.

        Its certificates are not read again while the process that read them is kept, in which
        nothing was plugged since. One that sees it no more may have gone blind: a new one is
        asked."""
        token = self._read_where_it_was_found() if self._is_where_found else None
        if token is None:
            token = self.ask(wire.ReadToken(self.candidate.slot.slot_id))
        self.require_stayed()
        if not isinstance(token, wire.TokenSeen) or not self.candidate.is_of(token):
            self._stop()
            raise CardRemoved
        return token

    def _read_where_it_was_found(self) -> wire.Reply | None:
        request = wire.ReadToken(self.candidate.slot.slot_id, with_certificates=False)
        try:
            return self.ask(request)
        except CpsAuthError:
            self._stop()
            self.require_stayed()
            return None

    def check(self) -> None:
        """Check that it is the one that was opened; by PC/SC only, where its process is kept."""
        if self._is_where_found:
            self.require_stayed()
        else:
            self.read()

    @property
    def _is_where_found(self) -> bool:
        """Return whether the process is the one in which the token was found, perhaps long ago."""
        return self._pool.keeps and self._module is self._found_by

    def use_codes(
        self, request: wire.Request, codes: Sequence[bytearray], kind: PinKind
    ) -> wire.Reply:
        """Ask once, see that it is still the same card, and let the module forget the codes.

        Args:
            request: what is done with them.
            codes: PIN and PUK, not kept, and wiped by their owner.
            kind: the one that the token compares.

        Raises:
            WrongPin, PinBlocked, WrongPuk, PukBlocked, PinEntryCancelled: the card, or the
                person, refused.
            ModuleCannotLogIn: this version of the module never can; the card saw no PIN.
        """
        try:
            reply = self._ask_once(request, codes, kind)
            self.require_stayed()
        finally:
            self._forget_codes()
        return reply

    def _ask_once(
        self, request: wire.Request, codes: Sequence[bytearray], kind: PinKind
    ) -> wire.Reply:
        """Have the token compare the codes once, in a new process if the kept one is blind."""
        reply = self._reply_to(request, codes)
        if isinstance(reply, wire.Failed) and reply.before_pin and self._is_where_found:
            self._stop()
            self.require_stayed()
            self.read()  # in a new one, and it is the same token
            reply = self._reply_to(request, codes)
        return self._believed(reply, request, kind)

    def require_stayed(self) -> None:
        """Check that the card has been in its reader all the time since it was opened.

        Raises:
            CardRemoved: it left, or left and came back, or another took its place.
            ReaderServiceLost: nobody can tell.
        """
        if self.candidate.reader is not None:
            self._presence.require(self.candidate.reader)

    def has_stayed(self) -> bool:
        """Return whether the card has been in its reader all the time since it was opened.

        Raises:
            ReaderServiceLost: nobody can tell.
        """
        return self.candidate.reader is None or self._presence.holds(self.candidate.reader)

    def _forget_codes(self) -> None:
        self._stop()
        if self.candidate.reader is not None:
            self._presence.reset(self.candidate.reader)

    def close(self) -> None:
        """Let go of the child process. Never raises, may be called twice."""
        if self._module is not None:
            self._pool.give_back(self._module)
            self._module = None

    def _reply_to(self, request: wire.Request, codes: Sequence[bytearray] = ()) -> wire.Reply:
        if self._module is None:
            self._module = self._pool.take(self._found_by.seen)
        try:
            return self._module.process.ask(request, codes)
        except ModuleUnusable:
            self._stop()
            self._require_after_doubt()
            raise

    def _believed(
        self, reply: wire.Reply, request: wire.Request, kind: PinKind = PIN
    ) -> wire.Reply:
        if isinstance(reply, wire.Failed):
            raise self._meaning_of(reply, type(request).__name__, kind)
        return reply

    def _meaning_of(self, failed: wire.Failed, operation: str, kind: PinKind) -> CpsAuthError:
        if failed.name == "PinIncorrect":
            return kind.wrong(self._attempts_after_refusal(failed.token, kind))
        if failed.name == "PinLocked":
            return kind.blocked()
        if failed.name == "FunctionCancelled":
            return PinEntryCancelled()
        if failed.name == "UserPinNotInitialized":
            return ContactlessNotEnough()
        self._stop()
        if failed.name in _TOKEN_LEFT:
            self._require_after_doubt(0)  # PC/SC may know better: it can be lost itself
            return CardRemoved()
        self._require_after_doubt()
        if failed.cannot_log_in:
            return ModuleCannotLogIn(failed.cannot_log_in)
        if failed.name == "FunctionNotSupported":
            return ModuleUnusable(f"{operation}: {failed.name}")
        return CardMisbehaved(f"{operation}: {failed.name}", cause="module")

    def _attempts_after_refusal(self, token: wire.TokenSeen | None, kind: PinKind) -> int | None:
        try:
            return attempts_left(token or self.read(), kind)
        except CpsAuthError:
            return None  # the refusal is what counts; the card may have left since

    def _stop(self) -> None:
        if self._module is not None:
            self._pool.discard(self._module)
            self._module = None

    def _require_after_doubt(self, within_s: float = NOTICE_REMOVAL_S) -> None:
        if self.candidate.reader is not None:
            self._presence.require_after_doubt(self.candidate.reader, within_s)
