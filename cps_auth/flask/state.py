"""What the extension keeps per application, in `app.extensions["cps_login"]`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app

from cps_auth.card.port import Card, CardSource
from cps_auth.errors import CardBusy, HolderNotAllowed
from cps_auth.flask import audit
from cps_auth.flask.removal import RemovalWatch
from cps_auth.flask.sessions import EndReason, SessionRow, SessionStore, why_over
from cps_auth.flask.settings import FlaskSettings
from cps_auth.flask.signals import session_ended
from cps_auth.flask.stores import FormTokenStore
from cps_auth.model import Practitioner
from cps_auth.pki.judge import Judge

EXTENSION = "cps_login"

LoadAccount = Callable[[Practitioner], object | None]
"""The application's own account of a holder; None means no access here."""

CARD_WAIT_S = 10.0
_TOUCH_EVERY = timedelta(seconds=20)


@dataclass(frozen=True)
class LoginState:
    """Everything the views need, made once by `CpsLogin.init_app`."""

    app: Flask
    settings: FlaskSettings
    cards: CardSource
    judge: Judge
    load_account: LoadAccount | None
    sessions: SessionStore
    form_tokens: FormTokenStore
    clock: Callable[[], datetime]
    removal: RemovalWatch
    _card_in_use: threading.Lock = field(default_factory=threading.Lock)

    def account_of(self, practitioner: Practitioner) -> object | None:
        """Return the application's account; None where the application keeps none.

        Raises:
            HolderNotAllowed: the application has none for this holder, or a closed one.
        """
        if self.load_account is None:
            return None
        account = self.load_account(practitioner)
        if account is None:
            raise HolderNotAllowed
        if not getattr(account, "is_active", True):
            raise HolderNotAllowed(reason="account-closed")
        return account

    def allow(self, practitioner: Practitioner) -> None:
        """Step 6 of the login.

        Raises:
            HolderNotAllowed
        """
        self.account_of(practitioner)

    @contextmanager
    def open_card(self) -> Iterator[Card]:
        """Open the card, one request at a time.

        Raises:
            CardUnavailable, CardMisbehaved, ModuleUnusable: as in `CardSource.open_card`.
        """
        if not self._card_in_use.acquire(timeout=CARD_WAIT_S):
            raise CardBusy
        try:
            with self.cards.open_card(self.settings.reader) as card:
                yield card
        finally:
            self._card_in_use.release()

    def live_session(self, session_id: str, *, touch: bool = True) -> SessionRow | None:
        """Return the session if it may go on, having ended it otherwise.

        Args:
            session_id: from the browser's cookie.
            touch: whether its person is doing something just now.
        """
        at = self.clock()
        row = self.sessions.find(session_id)
        if row is None:
            return None
        guarded = self.removal.guards(row.watch_id)
        reason = why_over(row, idle=self.settings.session_idle, guarded=guarded, at=at)
        if reason is not None:
            self.end_session(session_id, reason)
            return None
        if touch and at - row.last_seen_at > _TOUCH_EVERY:
            self.sessions.touch(session_id, at=at)
        return row

    def end_session(self, session_id: str, reason: EndReason) -> None:
        """End a session; the first reason stays."""
        for row in self.sessions.end(session_id, reason, at=self.clock()):
            self.tell_ended(row)

    def tell_ended(self, row: SessionRow) -> None:
        """Write the audit line and send the signal of a session that is over."""
        audit.session_ended(row)
        session_ended.send(self.app, session=row, reason=row.end_reason)


def current_state() -> LoginState:
    """Return the state of the application that handles this request."""
    state: Any = current_app.extensions[EXTENSION]
    if not isinstance(state, LoginState):
        raise TypeError(EXTENSION)
    return state
