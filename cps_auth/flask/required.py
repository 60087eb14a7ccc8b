"""`@cps_required` demands a login, of certain professions or cards, and not too long ago."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from flask import current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from cps_auth.errors import HolderNotAllowed
from cps_auth.flask import audit
from cps_auth.flask.guards.requests import opens_a_page
from cps_auth.flask.http_errors import http_status
from cps_auth.flask.pages.missing_right import explain_missing_right
from cps_auth.flask.pages.redirects import this_page
from cps_auth.flask.pages.refuse import answer_program, answer_refusal
from cps_auth.flask.state import current_state
from cps_auth.flask.user import CpsUser, cps_user
from cps_auth.model import CardType
from cps_auth.wording import Explanation

P = ParamSpec("P")
R = TypeVar("R")


class ViewDecorator(Protocol):
    """The decorator's type: an `async` view is called as a plain one, as Flask does."""

    @overload
    def __call__(
        self, view: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, R | ResponseReturnValue]: ...
    @overload
    def __call__(self, view: Callable[P, R], /) -> Callable[P, R | ResponseReturnValue]: ...


def cps_required(
    *,
    professions: Collection[str] | None = None,
    card_types: Collection[CardType] | None = None,
    max_age: timedelta | None = None,
    card: bool = False,
    exercice: bool = False,
) -> ViewDecorator:
    """Make a decorator for views that need more than a login.

    Args:
        professions: codes of ANS table G15, such as {"10", "60"}; None for all.
        card_types: types of card; None for all.
        max_age: how long ago card and PIN may have been verified; None for the whole session.
        card: the card itself has to have proven the holder, to us: no Pro Santé Connect.
        exercice: whoever has several has to have chosen one; `professions` asks for that, too.

    Returns:
        A decorator. Without a login it answers as `login_required`; to somebody whom the
        application logged in otherwise it asks for their card; with the wrong card 403;
        with a login that is too old it asks for the PIN again (and tells a program 401). A TLS
        client certificate says nothing about when the PIN was typed: with `max_age` such a
        login is always too old; that of Pro Santé Connect counts from the authentication there,
        and is too old unless CPS_PSC_REAUTHENTICATES. Views may be `async`, as Flask's own.
    """

    def decorate(view: Callable[P, Any]) -> Callable[P, Any]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> Any:
            user = cps_user()
            if user is None:
                return _without_card()
            if user.has_to_choose and (exercice or professions is not None):
                return _ask_which(user, professions)
            if not _is_allowed(user, professions, card_types):
                words = explain_missing_right(user.holder.practitioner, professions, card_types)
                return _refuse(user, "profession-or-card", words)
            if card and not user.holder.proof.is_of_card:
                return _ask_for_card(user)
            if max_age is not None and not _is_fresh(user, max_age):
                return _ask_again(user)
            return current_app.ensure_sync(view)(*args, **kwargs)

        return checked

    return decorate


def _without_card() -> ResponseReturnValue:
    """Ask for the card on top of the application's own login; without one, for a login."""
    if not current_user.is_authenticated:
        answer: ResponseReturnValue = current_app.login_manager.unauthorized()  # type: ignore[attr-defined]  # set by Flask-Login
        return answer
    if not opens_a_page(request):
        return answer_program()
    return redirect(url_for("cps.login", next=this_page(), confirm=1), code=303)


def _ask_again(user: CpsUser) -> ResponseReturnValue:
    """Lead a person back through the login, to this page where it can be come back to."""
    if not any(method.can_ask_again for method in current_state().methods.values()):
        return _refuse(user, "no-way-in-asks-for-the-pin")
    return _lead_to_login(again=1)


def _ask_for_card(user: CpsUser) -> ResponseReturnValue:
    """Lead a person who came by Pro Santé Connect to a login with the card."""
    if not any(method.proves_card for method in current_state().methods.values()):
        return _refuse(user, "no-login-method-proves-the-card")
    return _lead_to_login(card=1)


def _ask_which(user: CpsUser, professions: Collection[str] | None) -> ResponseReturnValue:
    """Lead a person of several exercices to the choice, if one of them would do."""
    if professions is not None and not any(
        one.profession_code in professions for one in user.exercices
    ):
        return _refuse(user, "profession-or-card")
    if not opens_a_page(request):
        return answer_program()
    return redirect(url_for("cps.psc_exercice", next=this_page()), code=303)


def _refuse(user: CpsUser, reason: str, words: Explanation | None = None) -> ResponseReturnValue:
    refusal = HolderNotAllowed(reason=reason)
    audit.access_refused(refusal, user.session)
    if opens_a_page(request):
        return answer_refusal(refusal, words)
    return {"error": refusal.code, "reason": reason}, http_status(refusal)


def _lead_to_login(**demand: Any) -> ResponseReturnValue:
    if not opens_a_page(request):
        return answer_program()
    return redirect(url_for("cps.login", next=this_page(), **demand), code=303)


def _is_fresh(user: CpsUser, max_age: timedelta) -> bool:
    state = current_state()
    return state.methods[user.method].is_fresh(user.session, max_age, at=state.clock())


def _is_allowed(
    user: CpsUser,
    professions: Collection[str] | None,
    card_types: Collection[CardType] | None,
) -> bool:
    if professions is not None and user.profession_code not in professions:
        return False
    return card_types is None or user.card_type in card_types
