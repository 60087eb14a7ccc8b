"""The login method of the practice's own PC: card in its reader, PIN typed into its browser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from flask import Blueprint, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from cps_auth.card.port import CardSource
from cps_auth.errors import (
    CardRemoved,
    ChallengeExpired,
    ChallengeUnknown,
    CpsAuthError,
    PeerNotAllowed,
    RequestMalformed,
)
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import check_own_page, check_same_machine, wants_json
from cps_auth.flask.http_errors import http_status, may_be_explained
from cps_auth.flask.methods.cards_here import CardsHere
from cps_auth.flask.methods.login_form import LoginForm, login_form
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.methods.reader_page import ReaderView, look_at_readers, show_json, show_page
from cps_auth.flask.methods.unblocking import FIELDS, UNBLOCK, split_content, unblock_card
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import answer_refusal
from cps_auth.flask.pages.render import SAID
from cps_auth.flask.sessions.browser import browser_id, session_id
from cps_auth.flask.sessions.model import EndReason, NewSession, SessionRow, SessionStore
from cps_auth.flask.sessions.purpose import same_purpose
from cps_auth.flask.sessions.removal import RemovalWatch
from cps_auth.flask.sessions.start import let_in, note_refusal
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.verify import admit, prove

_SERVERS_THAT_TELL = ("gunicorn.socket", "uwsgi.version", "mod_wsgi.version")
"""In the environment of servers whose `wsgi.multiprocess` is true for several processes;
the bridges of hypercorn and uvicorn always say so."""

_log = logging.getLogger(__name__)

_FORM_IS_OLD = (ChallengeUnknown, ChallengeExpired)


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
        self._cards = CardsHere(cards, reader)
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
        self.removal = RemovalWatch(self._cards.source, sessions, clock, on_end)

    def add_routes(self, blueprint: Blueprint) -> None:
        """Put the login form on the extension's blueprint."""
        blueprint.add_url_rule("/login", "submit", self.submit, methods=["POST"])
        blueprint.add_url_rule("/card", "card", self.card)
        blueprint.add_url_rule("/unblock", "unblock", self.unblock, methods=["GET", "POST"])

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
        state, asked = current_state(), request.args.get("next")
        return show_page(state, self._look(state, None), asked, has_others=has_others)

    def card(self) -> ResponseReturnValue:
        """Tell a script of this origin who is on the card, with a token for `submit`."""
        state = current_state()
        self.check_usable()
        check_own_page(request.environ, state.settings)
        return show_json(state, self._look(state, None))

    def submit(self) -> ResponseReturnValue:
        """Log in: every check of the request first, then the card, then the session."""
        state = current_state()
        asked = None
        try:
            self._check(state, self.name)
            with login_form("pin") as form:
                asked = form.unverified_next
                self._log_in(state, form)
        except CpsAuthError as refusal:
            return self._refuse(state, refusal, asked)
        return _go_on(asked)

    def unblock(self) -> ResponseReturnValue:
        """Unblock the card with its PUK; then its login page asks for the new PIN."""
        state = current_state()
        asked = request.args.get("next")
        try:
            if request.method == "POST":
                self._check(state, UNBLOCK)
                with login_form(*FIELDS) as form:
                    asked = form.unverified_next
                    unblock_card(state, self._cards, form, self.name)
                session[SAID] = "unblocked"
        except CpsAuthError as refusal:
            return self._refuse(state, refusal, asked)
        again = asked_or_after_login(asked)
        kept = {name: request.args.get(name) for name in ("reader", "lang")}
        more: dict[str, Any] = {**kept, **same_purpose()}
        return redirect(url_for("cps.login", next=again, **more), code=303)

    def _check(self, state: LoginState, what: str) -> None:
        self.check_usable()
        check_own_page(request.environ, state.settings)
        check_rate(state, what, is_guessable=self.is_guessable)

    def _refuse(
        self, state: LoginState, refusal: CpsAuthError, asked: str | None
    ) -> ResponseReturnValue:
        note_refusal(state, refusal, self.name)
        if isinstance(refusal, _FORM_IS_OLD):
            if _is_logged_in(state):  # in another tab
                return _go_on(asked)
            refusal = ChallengeUnknown()
        elif not self.may_explain(refusal):
            if wants_json(request):
                return {"error": {"code": "refused"}}, http_status(refusal)
            return answer_refusal(refusal)
        view = self._look(state, refusal)
        if wants_json(request):
            return show_json(state, view)
        return show_page(state, view, asked, has_others=len(state.methods) > 1)

    def _look(self, state: LoginState, refusal: CpsAuthError | None) -> ReaderView:
        presence = self.removal.presence()["presence"]  # before the card: later changes are seen
        return look_at_readers(state, self._cards, presence=presence, refusal=refusal)

    def _log_in(self, state: LoginState, form: LoginForm) -> None:
        content = state.stores.forms.take(form.unverified_token, browser_id(), at=state.clock())
        shown, purpose, reader = split_content(content)
        if purpose == UNBLOCK:
            raise RequestMalformed("purpose")
        watch_id = self.removal.ensure_running()
        with self._cards.open(reader) as card:
            reader = card.description.reader
            visit = self.removal.await_visit(reader)
            admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
            certificate = admission.judged.certificate
            if certificate.sha256_hex != shown:
                raise CardRemoved  # the PIN was typed for another card: not sent to this one
            holder = prove(
                card,
                form.codes["pin"],
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


def _go_on(asked: str | None) -> ResponseReturnValue:
    """Lead a browser to the page that was asked for, or tell a script which one that is."""
    page = asked_or_after_login(asked)
    return {"next": page} if wants_json(request) else redirect(page, code=303)


def _is_logged_in(state: LoginState) -> bool:
    known = session_id()
    return known is not None and state.live_session(known, touch=False) is not None
