"""Authority: decides every request. Who may ask, how often, and what follows from the card's yes.

Nothing is decided here about a card or a certificate: that is `cps_auth.login.verify`.
"""

from __future__ import annotations

import logging
import pwd
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cps_auth.card.port import Card, CardSource
from cps_auth.config import PamSettings
from cps_auth.errors import (
    CardRemoved,
    ConfigurationError,
    CpsAuthError,
    PeerNotAllowed,
    PinEntryCancelled,
    WrongPin,
)
from cps_auth.login.verify import AccountCheck, Admission, admit, prove
from cps_auth.model import Practitioner, VerifiedHolder
from cps_auth.pki.judge import Judge
from cps_auth.session_lock import LockEvent
from pam_helper.accounts import accounts
from pam_helper.accounts.one_time_codes import OneTimeCodes
from pam_helper.daemon.card_worker import CardWorker
from pam_helper.daemon.protocol import Peer, Request
from pam_helper.daemon.rate_limit import RateLimit
from pam_helper.daemon.services import ServiceRole, role_of
from pam_helper.locking.session_owners import Login
from pam_helper.locking.sessions import BoundSessions

ORIGIN = "cps-auth:pam"
"""Origin in what the card signs when PAM asks; no website can have it."""

CARD_TURN_WITHIN_S = 5.0
CARD_DONE_WITHIN_S = 15.0
"""Together less than a client waits; a CPS3 needs about one second."""
WRONG_PER_MINUTE = 5
"""Of wrong PINs and codes, each by themselves; what was right does not count."""
LOOKS_PER_MINUTE = 60
"""For questions and for codes each: a program that asks in a loop shuts no person out."""
_NO_MORE_SERVICES = PamSettings()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision that is no refusal.

    Attributes:
        verb: of the request.
        attempts_left: PIN attempts, None when the card is not there or does not say.
        is_answered: whether a card counts at all for this service.
        is_required: whether nothing else counts.
        codes_left: one-time codes that the account can use.
        is_yes: whether a secret was right.
    """

    verb: str
    attempts_left: int | None = None
    is_answered: bool = True
    is_required: bool = False
    codes_left: int = 0
    is_yes: bool = False


@dataclass(slots=True)
class Asker:
    """The client of one request, and what becomes known on the way, for the audit line.

    Attributes:
        peer: its process.
        is_waiting: tells whether it still waits for the answer.
        when_overdue: answers it in place of a thread that is stuck.
        practitioner, admission, holder: of the card. Never a PIN.
    """

    peer: Peer
    is_waiting: Callable[[], bool] = lambda: True
    when_overdue: Callable[[], None] = lambda: None
    practitioner: Practitioner | None = None
    admission: Admission | None = None
    holder: VerifiedHolder | None = None


class Authority:
    """Answers the requests of PAM clients; one card operation at a time."""

    def __init__(
        self,
        cards: CardSource,
        reader: str | None,
        judge: Callable[[], Judge],
        accounts_path: Path,
        sessions: BoundSessions,
        codes: OneTimeCodes,
        clock: Callable[[], datetime],
        services: PamSettings = _NO_MORE_SERVICES,
    ) -> None:
        """Decide with what there is.

        Args:
            cards: where cards come from.
            reader: the reader of the settings, None for the one that holds a CPS.
            judge: gives trust, revocation and accepted card types as they are now.
            accounts_path: the accounts file.
            sessions: what a verified login opens and binds.
            codes: the administrator's one-time codes.
            clock: tells the time, aware UTC.
            services: which PAM services are answered beside the known ones.
        """
        self._cards = cards
        self._reader = reader
        self._judge = judge
        self._accounts_path = accounts_path
        self._sessions = sessions
        self._codes = codes
        self.clock = clock
        self._services = services
        self._worker = CardWorker(CARD_TURN_WITHIN_S, CARD_DONE_WITHIN_S)
        self._looks = RateLimit(LOOKS_PER_MINUTE)
        self._wrong_pins = RateLimit(WRONG_PER_MINUTE)
        self._wrong_codes = RateLimit(WRONG_PER_MINUTE)

    def decide(self, request: Request, secret: bytearray, asker: Asker) -> Answer:
        """Decide a request.

        Args:
            request: any but `ping`.
            secret: PIN or one-time code, wiped by its owner; empty for a verb without one.
            asker: who asks; filled on the way.

        Returns:
            The answer; a yes is `is_yes` of a request with a secret.

        Raises:
            RequestRefused: any leaf.
            CardUnavailable, CardMisbehaved, CertificateRefused, PinRefused, ProofRefused,
            HolderNotAllowed: any leaf; for `ask` and `require` only "account-not-enrolled".
            ConfigurationError, ModuleUnusable, TrustStoreUnusable
        """
        _check_peer(asker.peer, request)
        role = role_of(request.service, self._services)
        if request.verb in ("ask", "require"):
            return self._question(request, role, asker)
        if role is None:
            raise PeerNotAllowed
        program = (asker.peer.uid, request.account, request.service, asker.peer.executable())
        decide = self._use_code if request.verb == "code" else self._verify
        return decide(request, secret, role, asker, program)

    def _question(self, request: Request, role: ServiceRole | None, asker: Asker) -> Answer:
        """Return the question for the person; a card that cannot be used now changes nothing."""
        is_required = request.verb == "require" or request.service in self._services.card_required
        if not is_required:
            accounts.check_enrolled(request.account, self._accounts_path)
        if role is None:
            return Answer(request.verb, is_answered=False)
        codes_left, left = self._codes_left(request.account), None
        try:
            left = self._look(request, asker)
        except CpsAuthError as error:
            _log.info("question to %s: %s", request.account, error.code)
        return Answer(request.verb, left, codes_left=codes_left, is_required=is_required)

    def _look(self, request: Request, asker: Asker) -> int | None:
        self._looks.count(("ask", asker.peer.uid, request.account), time.monotonic())

        def look(_wanted: Callable[[], bool]) -> int | None:
            with self._cards.open_card(self._reader) as card:
                allow = self._allow(request, asker)
                asker.admission = admit(card, judge=self._judge(), allow=allow, at=self.clock())
                return card.pin_attempts_left()

        return self._worker.run(request.account, look, asker.when_overdue)

    def _verify(
        self,
        request: Request,
        pin: bytearray,
        role: ServiceRole,
        asker: Asker,
        program: Hashable,
    ) -> Answer:
        """Log the card's holder in to the account, and bind what that opens to the card."""
        self._looks.count(("verify", asker.peer.uid, request.account), time.monotonic())
        with self._wrong_pins.counting(program, time.monotonic(), unless=WrongPin):
            asker.holder, card = self._worker.run(
                request.account,
                lambda wanted: self._log_in(request, pin, asker, wanted),
                asker.when_overdue,
            )
        _require_stayed(card)  # before anything is bound, opened or forgotten
        if role is not ServiceRole.STEP_UP:
            unlocks = role is ServiceRole.SCREEN
            login = Login(asker.peer.pid, request.service, unlocks=unlocks)
            self._sessions.bind(request.account, asker.holder, card.description.reader, login)
            try:
                _require_stayed(card)  # now that events reach the session
            except BaseException:
                self._sessions.feed(request.account, LockEvent.CARD_OUT)
                raise
        return Answer(request.verb, is_yes=True)

    def _log_in(
        self, request: Request, pin: bytearray, asker: Asker, wanted: Callable[[], bool]
    ) -> tuple[VerifiedHolder, Card]:
        with self._cards.open_card(self._reader) as card:
            allow = self._allow(request, asker)
            admission = admit(card, judge=self._judge(), allow=allow, at=self.clock())
            if not (wanted() and asker.is_waiting()):
                raise PinEntryCancelled
            holder = prove(
                card,
                pin,
                admission,
                origin=ORIGIN,
                clock=self.clock,
                last_attempt_allowed=self._may_use_last(request, asker.peer),
            )
        return holder, card

    def _may_use_last(self, request: Request, peer: Peer) -> bool:
        """Return whether the last attempt may be used: the person said so, at a login or a lock."""
        if request.verb != "last":
            return False
        return peer.uid == 0 or self._sessions.is_covered(request.account)

    def _use_code(
        self,
        request: Request,
        code: bytearray,
        role: ServiceRole,
        asker: Asker,
        program: Hashable,
    ) -> Answer:
        """Let the account in by a one-time code: it is struck off, and no card is bound."""
        self._wrong_codes.count(program, time.monotonic())
        if not asker.is_waiting():
            raise PinEntryCancelled
        if not self._codes.use(request.account, code, at=self.clock()):
            return Answer(request.verb)
        self._wrong_codes.forgive(program)
        left = self._codes_left(request.account)
        _log.critical(
            "ONE-TIME CODE USED for account %s through %s: %d left; the session follows no card",
            request.account,
            request.service,
            left,
            extra={"fields": {"CPS_ACCOUNT": request.account, "CPS_SERVICE": request.service}},
        )
        if role is not ServiceRole.STEP_UP:
            self._sessions.release(request.account)
        return Answer(request.verb, codes_left=left, is_yes=True)

    def _codes_left(self, account: str) -> int:
        """Return how many one-time codes the account could use now; none if nobody can tell."""
        try:
            return self._codes.left(account, at=self.clock())
        except ConfigurationError as error:
            _log.error("one-time codes: %s", error)
            return 0

    def _allow(self, request: Request, asker: Asker) -> AccountCheck:
        in_accounts = accounts.allow(request.account, self._accounts_path, at=self.clock())
        in_session = self._sessions.may_open(request.account)

        def check(practitioner: Practitioner) -> None:
            asker.practitioner = practitioner
            in_accounts(practitioner)
            in_session(practitioner)

        return check


def _require_stayed(card: Card) -> None:
    if not card.has_stayed():
        raise CardRemoved


def _check_peer(peer: Peer, request: Request) -> None:
    """Let only root and the account itself ask.

    Raises:
        PeerNotAllowed: anybody else, or an account that does not exist.
    """
    try:
        account_uid = pwd.getpwnam(request.account).pw_uid
    except KeyError:
        raise PeerNotAllowed from None
    if peer.uid not in (0, account_uid):
        raise PeerNotAllowed
