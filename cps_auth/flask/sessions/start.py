"""Opens a session for a verified holder, the same way whatever proved them to be one."""

from __future__ import annotations

from collections.abc import Callable

from flask import g
from flask_login import current_user, login_user

from cps_auth.errors import CardRemoved, CpsAuthError, HolderNotAllowed
from cps_auth.flask import audit
from cps_auth.flask.guards.rate_limit import check_card_rate, count_refusal
from cps_auth.flask.sessions.browser import empty_session, keep_login, keep_on_top, session_id
from cps_auth.flask.sessions.model import EndReason, NewSession
from cps_auth.flask.sessions.purpose import Purpose, purpose_of
from cps_auth.flask.signals import card_linked, holder_logged_in, login_refused
from cps_auth.flask.state import LoginState
from cps_auth.flask.user import CpsUser


def let_in(
    state: LoginState,
    new: NewSession,
    *,
    purpose_text: str = Purpose.LOGIN.value,
    is_still_there: Callable[[], bool] | None = None,
) -> None:
    """Do what a verified holder came for, mostly to log in: the last act of every login method.

    Args:
        state: of the application.
        new: made by a `LoginMethod` of a holder whom `cps_auth.login.verify` returned.
        purpose_text: made by `purpose.purpose_text` for the page that the login began on.
        is_still_there: asked when the row is there: a card that left meanwhile ends it.

    Raises:
        CardRemoved: the session ended before it began.
        HolderNotAllowed: the application has no account for this holder, or another one.
        TooManyRequests: the card logs in again and again.
        RequestMalformed: the purpose was somebody else's.
        StoreUnavailable
    """
    purpose = purpose_of(purpose_text)
    if purpose is Purpose.LINK:
        _link(state, new)
        return
    if new.holder.card is not None:
        check_card_rate(state, new.holder.card.certificate_sha256_hex)
    account = state.account_of(new.holder.practitioner)
    if purpose is Purpose.CONFIRM:
        _check_same_account(account)
    user = _open(state, new, account, is_still_there)
    audit.logged_in(new)
    earlier = session_id()
    if earlier is not None:
        state.end_session(earlier, EndReason.REPLACED)
    if purpose is Purpose.CONFIRM:
        keep_on_top(user.session_id)
    else:
        empty_session()  # nothing that was planted before the login outlives it
        g.cps_is_letting_in = True
        login_user(user.login)
        keep_login(user.session_id)
    g.cps_user = user
    holder_logged_in.send(state.app, holder=new.holder, reader=new.reader)


def note_refusal(state: LoginState, error: CpsAuthError, method: str) -> None:
    """Count a refused login, write it down, and tell who listens: once per refusal."""
    count_refusal(state, error, is_guessable=state.methods[method].is_guessable)
    audit.refused(error, method)
    login_refused.send(state.app, error=error)


def _open(
    state: LoginState,
    new: NewSession,
    account: object | None,
    is_still_there: Callable[[], bool] | None,
) -> CpsUser:
    lifetime = state.settings.session_lifetime
    opened = state.stores.sessions.create(new, at=state.clock(), lifetime=lifetime)
    if is_still_there is not None and not is_still_there():
        state.end_session(opened, EndReason.CARD_REMOVED)
    row = state.live_session(opened, touch=False)
    if row is None:
        raise CardRemoved
    return CpsUser(opened, row, account)


def _check_same_account(account: object | None) -> None:
    """A card confirms the login of its own holder, and of nobody else."""
    get_id = getattr(account, "get_id", None)
    if get_id is None or get_id() != current_user.get_id():
        raise HolderNotAllowed(reason="another-account")


def _link(state: LoginState, new: NewSession) -> None:
    if state.link_account is None:
        raise HolderNotAllowed(reason="no-linking")
    user = current_user._get_current_object()
    state.link_account(user, new.holder.practitioner)
    audit.card_linked(new)
    card_linked.send(state.app, holder=new.holder, user=user)
