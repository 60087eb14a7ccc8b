"""Decides requests: who may ask, how often, and what the card and the certificate say.

Nothing is decided here about a card or a certificate: that is `cps_auth.login.verify`.
"""

from __future__ import annotations

import contextlib
import pwd
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cps_auth.card.port import Card, CardSource
from cps_auth.errors import (
    CardBusy,
    CardRemoved,
    LastAttempt,
    PeerNotAllowed,
    PinBlocked,
    PinEntryCancelled,
)
from cps_auth.login.verify import AccountCheck, admit, prove
from cps_auth.model import Practitioner, ReaderState, VerifiedHolder
from cps_auth.pki.judge import Judge
from cps_auth.session_lock import LockEvent
from pam_helper import accounts
from pam_helper.protocol import Request
from pam_helper.rate_limit import RateLimit
from pam_helper.sessions import BoundSessions

ORIGIN = "cps-auth:pam"
"""What the card signs for when PAM asks; no website can have this origin."""

REMOTE_SERVICES = frozenset(("sshd", "rsh", "rlogin", "ftp", "vsftpd", "proftpd"))
"""Whoever logs in through these is not in front of the reader: the card would prove nothing."""

STEP_UP_SERVICES = frozenset(("sudo", "sudo-i", "su", "su-l", "polkit-1", "doas", "runuser"))
"""These ask inside a session: they neither open a session nor unlock a screen."""

CARD_WITHIN_S = 5.0
VERIFY_PER_MINUTE = 5
PROBE_PER_MINUTE = 30


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of the socket (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int


@dataclass(slots=True)
class Trace:
    """What becomes known of a request on its way, for the audit line. Never a PIN."""

    practitioner: Practitioner | None = None
    holder: VerifiedHolder | None = None


@dataclass(frozen=True)
class Authority:
    """Answers the requests of PAM clients; one card operation at a time.

    Attributes:
        cards: where cards come from.
        reader: the reader of the settings, None for the one that holds a CPS.
        judge: gives trust, revocation and accepted card types as they are now.
        accounts_path: the accounts file.
        sessions: what a verified login opens and binds.
        clock: tells the time, aware UTC.
    """

    cards: CardSource
    reader: str | None
    judge: Callable[[], Judge]
    accounts_path: Path
    sessions: BoundSessions
    clock: Callable[[], datetime]
    _card_in_use: threading.Lock = field(default_factory=threading.Lock)
    _verifies: RateLimit = field(default_factory=lambda: RateLimit(VERIFY_PER_MINUTE))
    _probes: RateLimit = field(default_factory=lambda: RateLimit(PROBE_PER_MINUTE))

    def probe(self, request: Request, peer: Peer, trace: Trace) -> int:
        """Tell whether the card in the reader could log the account in. Costs no attempt.

        Args:
            request: verb "probe".
            peer: who asks.
            trace: filled on the way.

        Returns:
            The PIN attempts left, two or more.

        Raises:
            RequestRefused: any leaf.
            CardUnavailable, CardMisbehaved, CertificateRefused, HolderNotAllowed: any leaf.
            LastAttempt, PinBlocked: nobody can log in through PAM with this card now.
            ConfigurationError, ModuleUnusable
        """
        check_peer(peer, request)
        self._probes.count(peer.uid, request.account, time.monotonic())
        with self._one_card() as card:
            admit(card, judge=self.judge(), allow=self._allow(request, trace), at=self.clock())
            attempts_left = card.pin_attempts_left()
        if attempts_left == 0:
            raise PinBlocked
        if attempts_left is None or attempts_left == 1:
            raise LastAttempt(attempts_left)
        return attempts_left

    def count_verify(self, request: Request, peer: Peer) -> None:
        """Check who asks to verify and how often, before their PIN is even read.

        Raises:
            PeerNotAllowed, TooManyRequests
        """
        check_peer(peer, request)
        self._verifies.count(peer.uid, request.account, time.monotonic())

    def verify(
        self,
        request: Request,
        pin: bytearray,
        trace: Trace,
        still_there: Callable[[], bool],
    ) -> VerifiedHolder:
        """Log the card's holder in to the account, and bind the account's session to the card.

        Args:
            request: verb "verify", which `count_verify` let through.
            pin: ASCII digits; wiped by their owner.
            trace: filled on the way.
            still_there: whether the asking process still waits for the answer.

        Returns:
            The verified holder: the PAM client may answer success.

        Raises:
            PinEntryCancelled: the asker has gone; nothing was sent to the card.
            CardUnavailable, CardMisbehaved, CertificateRefused, PinRefused, ProofRefused: any leaf.
            HolderNotAllowed, ConfigurationError, ModuleUnusable
        """
        with self._one_card() as card:
            reader = card.description.reader
            before = self._reader_states().get(reader)
            allow = self._allow(request, trace)
            admission = admit(card, judge=self.judge(), allow=allow, at=self.clock())
            if not still_there():
                raise PinEntryCancelled
            # The last attempt is never allowed here: a lock screen cannot ask whether to use it.
            holder = prove(card, pin, admission, origin=ORIGIN, clock=self.clock)
        trace.holder = holder
        if request.service not in STEP_UP_SERVICES:
            self.sessions.bind(request.account, holder, reader)
        self._check_still_in(request.account, before)
        return holder

    def _allow(self, request: Request, trace: Trace) -> AccountCheck:
        in_accounts = accounts.allow(request.account, self.accounts_path)
        in_session = self.sessions.may_open(request.account)

        def check(practitioner: Practitioner) -> None:
            trace.practitioner = practitioner
            in_accounts(practitioner)
            in_session(practitioner)

        return check

    @contextlib.contextmanager
    def _one_card(self) -> Iterator[Card]:
        if not self._card_in_use.acquire(timeout=CARD_WITHIN_S):
            raise CardBusy
        try:
            with self.cards.open_card(self.reader) as card:
                yield card
        finally:
            self._card_in_use.release()

    def _reader_states(self) -> Mapping[str, ReaderState]:
        return {state.name: state for state in self.cards.readers()}

    def _check_still_in(self, account: str, before: ReaderState | None) -> None:
        """Look again, now that events reach the session: a card pulled meanwhile locks it."""
        still_in = False
        try:
            now = self._reader_states().get(before.name) if before else None
            still_in = before is not None and now is not None and _same_card(before, now)
        finally:
            if not still_in:
                self.sessions.feed(account, LockEvent.CARD_OUT)
        if not still_in:
            raise CardRemoved


def check_peer(peer: Peer, request: Request) -> None:
    """Let only root and the account itself ask, and nobody from afar.

    Raises:
        PeerNotAllowed: anybody else, an account that does not exist, a remote service.
    """
    try:
        account_uid = pwd.getpwnam(request.account).pw_uid
    except KeyError:
        raise PeerNotAllowed from None
    if peer.uid not in (0, account_uid) or request.service in REMOTE_SERVICES:
        raise PeerNotAllowed


def _same_card(before: ReaderState, now: ReaderState) -> bool:
    """Whether the card was in all the time, by PC/SC's own count of changes."""
    return now.atr is not None and (now.atr, now.event_count) == (before.atr, before.event_count)
