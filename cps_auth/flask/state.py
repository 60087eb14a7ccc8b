"""The state that the extension keeps per application, in `app.extensions["cps_login"]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app

from cps_auth.errors import HolderNotAllowed
from cps_auth.flask import audit
from cps_auth.flask.sessions.model import EndReason, SessionRow, why_too_old
from cps_auth.flask.sessions.recheck import CertificateRecheck
from cps_auth.flask.settings import FlaskSettings
from cps_auth.flask.signals import session_ended
from cps_auth.flask.stores.ports import Stores
from cps_auth.model import Practitioner
from cps_auth.pki.judge import Judge

if TYPE_CHECKING:
    from cps_auth.flask.methods.method import LoginMethod

EXTENSION = "cps_login"

LoadAccount = Callable[[Practitioner], object | None]
"""The application's own account of a holder; None means no access here."""

IsKnown = Callable[[Practitioner], bool]
"""Check for an account of a holder; asked before anything is proven, so it changes nothing."""

LinkAccount = Callable[[Any, Practitioner], None]
"""Links a verified card to the account of the logged-in user, or raises HolderNotAllowed."""

_TOUCH_EVERY = timedelta(seconds=20)


class LoginState:
    """Everything that views and methods need, made once by `CpsLogin.init_app`."""

    def __init__(
        self,
        app: Flask,
        settings: FlaskSettings,
        *,
        methods: Mapping[str, LoginMethod],
        judge: Judge,
        load_account: LoadAccount | None,
        is_known: IsKnown | None,
        link_account: LinkAccount | None,
        stores: Stores,
        clock: Callable[[], datetime],
    ) -> None:
        """Keep the parts.

        Args:
            app, settings: the application and its checked settings.
            methods: the login methods by name, in the order of the login page.
            judge: whom to trust.
            load_account: the application's account mapping; None: every holder may come in.
            is_known: what it can say of a holder before anything is proven.
            link_account: how it links a card to an account; None: it does not.
            stores: sessions, challenges, forms and rates.
            clock: tells the time, aware UTC.
        """
        self.app = app
        self.settings = settings
        self.methods = methods
        self.judge = judge
        self.load_account = load_account
        self.is_known = is_known
        self.link_account = link_account
        self.stores = stores
        self.clock = clock
        self.is_serving = False  # since this process's first request
        self._recheck = CertificateRecheck(judge)

    def account_of(self, practitioner: Practitioner) -> object | None:
        """Return the application's account of a verified holder; None where it keeps none.

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
        """Step 6 of the login, as far as it goes before the proof: nothing is made or changed.

        Raises:
            HolderNotAllowed: the application knows no such holder.
        """
        if self.is_known is not None and not self.is_known(practitioner):
            raise HolderNotAllowed

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
        if row is None or row.ended_at is not None:
            return None
        reason = self._why_over(row, at)
        if reason is not None:
            self.end_session(session_id, reason)
            return None
        if touch and at - row.last_seen_at > _TOUCH_EVERY:
            self.stores.sessions.record_activity(session_id, at=at)
        return row

    def _why_over(self, row: SessionRow, at: datetime) -> EndReason | None:
        method = self.methods.get(row.method)
        if method is None:  # nobody here can say whether it may go on
            return EndReason.METHOD_GONE
        return (
            method.why_over(row, at=at)
            or why_too_old(row, idle=self.settings.session_idle, at=at)
            or self._recheck.why_over(row, at=at)
        )

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
