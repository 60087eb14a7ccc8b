"""The login method of the practice's own PC: card in its reader, PIN typed into its browser."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.card.port import Card, CardSource
from cps_auth.errors import (
    BadSignature,
    CardBusy,
    CardRemoved,
    CertificateRefused,
    ChallengeExpired,
    ChallengeUnknown,
    CpsAuthError,
    HolderNotAllowed,
    NoCard,
    PeerNotAllowed,
    PinBlocked,
    PinRefused,
    UnsupportedCard,
)
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import check_own_page, check_same_machine
from cps_auth.flask.http_errors import http_status, may_be_explained
from cps_auth.flask.methods.login_form import LoginForm, login_form
from cps_auth.flask.methods.method import LoginMethod, offered_methods
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import answer_refusal
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.browser import browser_id, current_language, session_id
from cps_auth.flask.sessions.model import EndReason, NewSession, SessionRow, SessionStore
from cps_auth.flask.sessions.purpose import asked_purpose, purpose_text, same_purpose
from cps_auth.flask.sessions.removal import RemovalWatch
from cps_auth.flask.sessions.start import let_in, note_refusal
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.verify import admit, prove
from cps_auth.model import Practitioner
from cps_auth.wording import attempts_left_text, explain

NORMAL_ATTEMPTS = 3
"""Attempts of a CPS whose last PIN was right; fewer are worth a word (ANS, CPS3 guide)."""

CARD_WAIT_S = 10.0
_SERVERS_THAT_TELL = ("gunicorn.socket", "uwsgi.version", "mod_wsgi.version")
"""In the environment of servers whose `wsgi.multiprocess` is true for several processes;
the bridges of hypercorn and uvicorn always say so."""

_log = logging.getLogger(__name__)

_FORM_IS_OLD = (ChallengeUnknown, ChallengeExpired)
_ABOUT_THE_CARD = (CertificateRefused, HolderNotAllowed, PinRefused, UnsupportedCard)


@dataclass(frozen=True, slots=True)
class CardOnPage:
    """A card that may be used here, as the page shows it before any PIN."""

    holder: Practitioner
    certificate_sha256_hex: str
    attempts_left: int | None

    @property
    def needs_confirmation(self) -> bool:
        """Return whether one wrong digit may block the card."""
        return self.attempts_left is None or self.attempts_left <= 1


class LocalReader(LoginMethod):
    """Login with a card in a reader of this machine; the card's removal ends the session."""

    name = "local-reader"
    settings: ClassVar[Mapping[str, object]] = {"CPS_READER": None}
    asks_pin = True
    is_guessable = True
    has_page = True

    def __init__(self, cards: CardSource, reader: str | None) -> None:
        """Keep the parts; no card is touched.

        Args:
            cards: the readers of this machine.
            reader: name of the one that counts, None for any.
        """
        self._cards = cards
        self._reader = reader
        self._in_use = threading.Lock()
        self._is_refused = False
        self.removal: RemovalWatch

    def attach(
        self,
        *,
        sessions: SessionStore,
        clock: Callable[[], datetime],
        on_end: Callable[[SessionRow], None],
    ) -> None:
        """Prepare the watcher; the first login starts it."""
        self.removal = RemovalWatch(self._cards, sessions, clock, on_end)

    def add_routes(self, blueprint: Blueprint) -> None:
        """Put the login form on the extension's blueprint."""
        blueprint.add_url_rule("/login", "submit", self.submit, methods=["POST"])

    def begin_serving(self) -> None:
        """Refuse to work in several processes: a session lives in the one that watches its card."""
        does_tell = any(key in request.environ for key in _SERVERS_THAT_TELL)
        if does_tell and request.environ["wsgi.multiprocess"]:
            self._is_refused = True
            _log.error(
                "the local reader needs one process and got several: it lets nobody in;"
                " start the server with one worker and threads (gunicorn -w 1 --threads 8)"
            )

    def check_usable(self) -> None:
        """Check that the browser runs beside the reader, and the reader's watcher beside us.

        Raises:
            PeerNotAllowed
        """
        if self._is_refused:
            raise PeerNotAllowed("several-processes")
        check_same_machine(request.environ, current_state().settings)

    def may_explain(self, error: CpsAuthError) -> bool:
        """Return whether the person who holds the card is told what is wrong with it."""
        return may_be_explained(error)

    def why_over(self, row: SessionRow, *, at: datetime) -> EndReason | None:
        """Return whether the watcher that guards the card stopped, or runs in another process."""
        del at
        return None if self.removal.guards(row.watch_id) else EndReason.WATCHER_STOPPED

    def status(self) -> Mapping[str, str | bool]:
        """Return if a card is there; a remote page learns nothing about this machine's readers."""
        try:
            self.check_usable()
        except PeerNotAllowed:
            return {}
        return self.removal.presence()

    def stop(self) -> None:
        """Stop watching the readers; every local session ends."""
        self.removal.stop()

    def page(self, *, has_others: bool) -> ResponseReturnValue:
        """Show who is on the card and ask for the PIN, or what to do instead."""
        return self._page(request.args.get("next"), refusal=None, has_others=has_others)

    def submit(self) -> ResponseReturnValue:
        """Log in: every check of the request first, then the card, then the session."""
        state = current_state()
        asked = None
        try:
            self.check_usable()
            check_own_page(request.environ, state.settings)
            check_rate(state, self.name, is_guessable=self.is_guessable)
            with login_form() as form:
                asked = form.unverified_next
                self._log_in(state, form)
        except CpsAuthError as refusal:
            note_refusal(state, refusal, self.name)
            if isinstance(refusal, _FORM_IS_OLD):
                if _is_logged_in(state):  # in another tab
                    return redirect(asked_or_after_login(asked), code=303)
                return self._page(asked, refusal=ChallengeUnknown(), has_others=_has_others(state))
            if not self.may_explain(refusal):
                return answer_refusal(refusal)
            return self._page(asked, refusal=refusal, has_others=_has_others(state))
        return redirect(asked_or_after_login(asked), code=303)

    def _log_in(self, state: LoginState, form: LoginForm) -> None:
        content = state.stores.forms.take(form.unverified_token, browser_id(), at=state.clock())
        shown, _, purpose = content.partition(" ")
        watch_id = self.removal.ensure_running()
        with self._open_card() as card:
            reader = card.description.reader
            visit = self.removal.await_visit(reader)
            admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
            certificate = admission.judged.certificate
            if certificate.sha256_hex != shown:
                raise CardRemoved  # the PIN was typed for another card: not sent to this one
            holder = prove(
                card,
                form.pin,
                admission,
                origin=state.settings.origin,
                clock=state.clock,
                last_attempt_allowed=form.last_attempt_confirmed,
            )
        new = NewSession(holder, certificate.der, self.name, reader, watch_id)
        let_in(
            state,
            new,
            purpose_text=purpose,
            is_still_there=lambda: self.removal.still_there(reader, visit),
        )

    @contextmanager
    def _open_card(self) -> Iterator[Card]:
        """Open the card, one request at a time."""
        if not self._in_use.acquire(timeout=CARD_WAIT_S):
            raise CardBusy
        try:
            with self._cards.open_card(self._reader) as card:
                yield card
        finally:
            self._in_use.release()

    def _look(self, state: LoginState) -> CardOnPage | CpsAuthError:
        """Do what costs no PIN attempt, and return what came of it."""
        try:
            with self._open_card() as card:
                admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
                attempts_left = card.pin_attempts_left()
        except CpsAuthError as error:
            return error
        if attempts_left == 0:
            return PinBlocked()
        certificate = admission.judged.certificate
        return CardOnPage(certificate.practitioner, certificate.sha256_hex, attempts_left)

    def _page(
        self, unverified_next: str | None, refusal: CpsAuthError | None, *, has_others: bool
    ) -> ResponseReturnValue:
        state, language = current_state(), current_language()
        presence = self.removal.presence()["presence"]  # before the card: later changes are seen
        seen = self._look(state)
        card = seen if isinstance(seen, CardOnPage) else None
        trouble = seen if isinstance(seen, CpsAuthError) else None
        if trouble is not None and type(trouble) is type(refusal):
            refusal, trouble = None, refusal
        has_form = card is not None and (refusal is None or not isinstance(refusal, BadSignature))
        asked = asked_or_after_login(unverified_next)
        demand = same_purpose()
        others = offered_methods(
            state.methods.values(), again="again" in demand, card="card" in demand
        )
        page = render_page(
            "login.html",
            card=card,
            attempts=_attempts_text(card, language),
            trouble=None if trouble is None else explain(trouble, language),
            is_waiting=isinstance(trouble, NoCard),
            is_card_refused=isinstance(trouble, _ABOUT_THE_CARD),
            refusal=None if refusal is None else explain(refusal, language),
            token=_token(state, card) if has_form else None,
            next=asked,
            here=url_for("cps.login", next=asked, **demand),
            beside=[method for method in others if method.is_beside_card],
            has_other_ways=has_others and any(not one.is_beside_card for one in others),
            presence=presence,
            renew_after_s=max(1, int(state.settings.form_lifetime.total_seconds() * 0.8)),
        )
        return page, _page_status(refusal, trouble)


def _has_others(state: LoginState) -> bool:
    return len(state.methods) > 1


def _is_logged_in(state: LoginState) -> bool:
    known = session_id()
    return known is not None and state.live_session(known, touch=False) is not None


def _page_status(refusal: CpsAuthError | None, trouble: CpsAuthError | None) -> int:
    """A refused login has its status; a page that waits for a card is a good page."""
    if request.method == "POST" and (refusal or trouble) is not None:
        return http_status(refusal or trouble)  # type: ignore[arg-type]  # one of them is
    if trouble is not None and http_status(trouble) >= 500:
        return http_status(trouble)
    return 200


def _attempts_text(card: CardOnPage | None, language: str) -> str:
    if card is None or card.attempts_left is None or card.attempts_left >= NORMAL_ATTEMPTS:
        return ""
    return attempts_left_text(card.attempts_left, language)


def _token(state: LoginState, card: CardOnPage | None) -> str | None:
    if card is None:
        return None
    content = f"{card.certificate_sha256_hex} {purpose_text(asked_purpose())}"
    return state.stores.forms.issue(browser_id(), content, at=state.clock())
