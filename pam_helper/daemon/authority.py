"""Decides requests: who may ask, how often, and what the card and the certificate say.

Nothing is decided here about a card or a certificate: that is `cps_auth.login.verify`.
"""

from __future__ import annotations

import logging
import pwd
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cps_auth.card.port import Card, CardSource
from cps_auth.errors import (
    CardRemoved,
    ConfigurationError,
    LastAttempt,
    PeerNotAllowed,
    PinBlocked,
    PinEntryCancelled,
)
from cps_auth.login.verify import AccountCheck, admit, prove
from cps_auth.model import Practitioner, VerifiedHolder
from cps_auth.pki.judge import Judge
from cps_auth.session_lock import LockEvent
from pam_helper.accounts import accounts
from pam_helper.accounts.one_time_codes import OneTimeCodes
from pam_helper.daemon.card_worker import CardWorker
from pam_helper.daemon.protocol import Request
from pam_helper.daemon.rate_limit import RateLimit
from pam_helper.locking.sessions import BoundSessions

ORIGIN = "cps-auth:pam"
"""What the card signs for when PAM asks; no website can have this origin."""

REMOTE_SERVICES = frozenset(("sshd", "rsh", "rlogin", "ftp", "vsftpd", "proftpd"))
"""Whoever logs in through these is not in front of the reader: the card would prove nothing."""

STEP_UP_SERVICES = frozenset(("sudo", "sudo-i", "su", "su-l", "polkit-1", "doas", "runuser"))
"""These ask inside a session: they neither open a session nor unlock a screen."""

CARD_TURN_WITHIN_S = 5.0
CARD_DONE_WITHIN_S = 15.0
"""Together less than a client waits; a CPS3 needs about one second."""
VERIFY_PER_MINUTE = 5
PROBE_PER_MINUTE = 30
CODES_PER_MINUTE = 5

_log = logging.getLogger(__name__)


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
        codes: the administrator's one-time codes.
        clock: tells the time, aware UTC.
    """

    cards: CardSource
    reader: str | None
    judge: Callable[[], Judge]
    accounts_path: Path
    sessions: BoundSessions
    codes: OneTimeCodes
    clock: Callable[[], datetime]
    _worker: CardWorker = field(
        default_factory=lambda: CardWorker(CARD_TURN_WITHIN_S, CARD_DONE_WITHIN_S)
    )
    _verifies: RateLimit = field(default_factory=lambda: RateLimit(VERIFY_PER_MINUTE))
    _probes: RateLimit = field(default_factory=lambda: RateLimit(PROBE_PER_MINUTE))
    _code_tries: RateLimit = field(default_factory=lambda: RateLimit(CODES_PER_MINUTE))

    def probe(
        self,
        request: Request,
        peer: Peer,
        trace: Trace,
        when_overdue: Callable[[], None] = lambda: None,
    ) -> int | None:
        """Tell whether the card in the reader could log the account in. Costs no attempt.

        Args:
            request: verb "probe" or "hello".
            peer: who asks.
            trace: filled on the way.
            when_overdue: see `CardWorker.run`.

        Returns:
            The PIN attempts left, two or more; None when the card does not say, as is normal
            over PKCS#11: `Card.prove` guards the last attempt of such a card.

        Raises:
            RequestRefused: any leaf.
            CardUnavailable, CardMisbehaved, CertificateRefused, HolderNotAllowed: any leaf.
            LastAttempt, PinBlocked: nobody can log in through PAM with this card now.
            ConfigurationError, ModuleUnusable
        """
        check_peer(peer, request)
        self._probes.count(peer.uid, request.account, time.monotonic())
        accounts.check_enrolled(request.account, self.accounts_path)

        def look(_wanted: Callable[[], bool]) -> int | None:
            with self.cards.open_card(self.reader) as card:
                admit(card, judge=self.judge(), allow=self._allow(request, trace), at=self.clock())
                return card.pin_attempts_left()

        attempts_left = self._worker.run(request.account, look, when_overdue)
        if attempts_left == 0:
            raise PinBlocked
        if attempts_left == 1:
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
        when_overdue: Callable[[], None] = lambda: None,
    ) -> VerifiedHolder:
        """Log the card's holder in to the account, and bind the account's session to the card.

        Args:
            request: verb "verify", which `count_verify` let through.
            pin: ASCII digits; wiped by their owner.
            trace: filled on the way.
            still_there: whether the asking process still waits for the answer.
            when_overdue: see `CardWorker.run`.

        Returns:
            The verified holder: the PAM client may answer success.

        Raises:
            PinEntryCancelled: the asker has gone; nothing was sent to the card.
            CardUnavailable, CardMisbehaved, CertificateRefused, PinRefused, ProofRefused: any leaf.
            HolderNotAllowed, ConfigurationError, ModuleUnusable
        """

        def log_in(wanted: Callable[[], bool]) -> tuple[VerifiedHolder, Card]:
            return self._log_in(request, pin, trace, lambda: wanted() and still_there())

        holder, card = self._worker.run(request.account, log_in, when_overdue)
        trace.holder = holder
        if request.service not in STEP_UP_SERVICES:
            self.sessions.bind(request.account, holder, card.description.reader)
        self._check_stayed(request.account, card)
        return holder

    def _log_in(
        self,
        request: Request,
        pin: bytearray,
        trace: Trace,
        still_there: Callable[[], bool],
    ) -> tuple[VerifiedHolder, Card]:
        with self.cards.open_card(self.reader) as card:
            allow = self._allow(request, trace)
            admission = admit(card, judge=self.judge(), allow=allow, at=self.clock())
            if not still_there():
                raise PinEntryCancelled
            # The last attempt is never allowed here: a lock screen cannot ask whether to use it.
            holder = prove(card, pin, admission, origin=ORIGIN, clock=self.clock)
        return holder, card

    def count_code(self, request: Request, peer: Peer) -> None:
        """Check who asks to use a one-time code and how often, before it is even read.

        Raises:
            PeerNotAllowed, TooManyRequests
        """
        check_peer(peer, request)
        self._code_tries.count(peer.uid, request.account, time.monotonic())

    def use_code(self, request: Request, code: bytearray) -> int | None:
        """Let the account in by a one-time code: it is struck off, and no card is bound.

        Args:
            request: verb "code", which `count_code` let through.
            code: as it was typed, wiped by its owner.

        Returns:
            How many codes the account has left; None for what is not one of its codes, used
            before or too old: the answer is no.

        Raises:
            ConfigurationError: the codes cannot be read or written.
        """
        if not self.codes.use(request.account, code, at=self.clock()):
            return None
        left = self.codes.left(request.account, at=self.clock())
        _log.critical(
            "ONE-TIME CODE USED for account %s through %s: %d left; the session follows no card",
            request.account,
            request.service,
            left,
        )
        if request.service not in STEP_UP_SERVICES:
            self.sessions.release(request.account)
        return left

    def offers_code(self, request: Request) -> bool:
        """Whether the account could use a one-time code now; no if that cannot be told."""
        try:
            return self.codes.left(request.account, at=self.clock()) > 0
        except ConfigurationError as error:
            _log.error("one-time codes: %s", error)
            return False

    def _allow(self, request: Request, trace: Trace) -> AccountCheck:
        in_accounts = accounts.allow(request.account, self.accounts_path, at=self.clock())
        in_session = self.sessions.may_open(request.account)

        def check(practitioner: Practitioner) -> None:
            trace.practitioner = practitioner
            in_accounts(practitioner)
            in_session(practitioner)

        return check

    def _check_stayed(self, account: str, card: Card) -> None:
        """Look again, now that events reach the session: a card pulled meanwhile locks it."""
        has_stayed = False
        try:
            has_stayed = card.has_stayed()
        finally:
            if not has_stayed:
                self.sessions.feed(account, LockEvent.CARD_OUT)
        if not has_stayed:
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
