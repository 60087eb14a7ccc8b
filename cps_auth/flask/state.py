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
from cps_auth.flask.sessions.model import EndReason, SessionRow, why_over
from cps_auth.flask.sessions.recheck import Standing
from cps_auth.flask.sessions.removal import RemovalWatch
from cps_auth.flask.settings import FlaskSettings
from cps_auth.flask.signals import session_ended
from cps_auth.flask.stores.ports import Stores
from cps_auth.model import Practitioner
from cps_auth.pki.judge import Judge

EXTENSION = "cps_login"

LoadAccount = Callable[[Practitioner], object | None]
"""The application's own account of a holder; None means no access here."""

CARD_WAIT_S = 10.0
_TOUCH_EVERY = timedelta(seconds=20)


@dataclass(frozen=True)
class LocalReader:
    """The readers of this machine, and the watcher that guards the sessions they opened."""

    cards: CardSource
    removal: RemovalWatch
    reader: str | None  # name of the one that counts, None for any
    _in_use: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open_card(self) -> Iterator[Card]:
        """Open the card, one request at a time.

        Raises:
            CardUnavailable, CardMisbehaved, ModuleUnusable: as in `CardSource.open_card`.
        """
        if not self._in_use.acquire(timeout=CARD_WAIT_S):
            raise CardBusy
        try:
            with self.cards.open_card(self.reader) as card:
                yield card
        finally:
            self._in_use.release()


@dataclass(frozen=True)
class LoginState:
    """Everything the views need, made once by `CpsLogin.init_app`."""

    app: Flask
    settings: FlaskSettings
    local: LocalReader | None  # None: this machine has no reader for its visitors
    judge: Judge
    load_account: LoadAccount | None
    stores: Stores
    clock: Callable[[], datetime]
    standing: Standing

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

    def live_session(self, session_id: str, *, touch: bool = True) -> SessionRow | None:
        """Return the session if it may go on, having ended it otherwise.

        Args:
            session_id: from the browser's cookie.
            touch: whether its person is doing something just now.

        Raises:
            StoreUnavailable
        """
        at = self.clock()
        row = self.stores.sessions.find(session_id)
        if row is None:
            return None
        reason = self._why_over(row, at)
        if reason is not None:
            self.end_session(session_id, reason)
            return None
        if touch and at - row.last_seen_at > _TOUCH_EVERY:
            self.stores.sessions.touch(session_id, at=at)
        return row

    def _why_over(self, row: SessionRow, at: datetime) -> EndReason | None:
        guarded = self.local is not None and self.local.removal.guards(row.watch_id)
        settings = self.settings
        reason = why_over(
            row, idle=settings.session_idle, silence=settings.heartbeat, guarded=guarded, at=at
        )
        return reason or self.standing.why_over(row, at=at)

    def end_session(self, session_id: str, reason: EndReason) -> None:
        """End a session; the first reason stays.

        Raises:
            StoreUnavailable
        """
        for row in self.stores.sessions.end(session_id, reason, at=self.clock()):
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
