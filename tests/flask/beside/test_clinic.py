"""The card beside a password login, in an application that has everything. Read it as a story."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, session
from flask_login import LoginManager, login_user

from cps_auth.errors import ConfigurationError
from cps_auth.flask import CpsLogin, EndReason, session_ended
from cps_auth.pki.judge import Judge
from tests.flask.beside.clinic import User, db
from tests.flask.beside.conftest import Colleague
from webdemo.desk import VirtualDesk

# Flask-Session asks for the time in a way that Python 3.12 calls deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utc:DeprecationWarning")


def test_one_day(colleague: Colleague, desk: VirtualDesk, until: Callable[..., None]) -> None:
    """Password, link the card, log in with it, pull it."""
    assert colleague.home().startswith("-> /password")
    assert colleague.by_password().status_code == 302
    assert colleague.home() == "lavergne by password"

    desk.insert("doctor")
    linked = colleague.by_card("/cps/login?link=1&next=/ward/")
    assert (linked.status_code, linked.location) == (303, "/ward/")
    assert colleague.home() == "lavergne by password"  # linking is no login

    colleague.post("/logout", {"csrf_token": _csrf(colleague)})
    assert colleague.home().startswith("-> /password")
    assert colleague.by_card().location == "/ward/"
    assert colleague.home() == "lavergne by local-reader"
    assert colleague.get("/ward/keys").text == "keys"  # a login with the card is a fresh one
    assert colleague.get("/ward/prescriptions").text.startswith("lavergne prescribes <script")

    desk.pull()
    until(lambda: colleague.home().startswith("-> /password"))


def test_a_card_that_nobody_linked_opens_nothing(colleague: Colleague, desk: VirtualDesk) -> None:
    """`load_account` knows no such holder."""
    desk.insert("doctor")
    assert colleague.by_card().status_code == 403
    assert colleague.home().startswith("-> /password")


def test_step_up(colleague: Colleague, desk: VirtualDesk, until: Callable[..., None]) -> None:
    """A view demands the card on top of the password; the card's end leaves the password login."""
    colleague.by_password()
    desk.insert("doctor")
    colleague.by_card("/cps/login?link=1")
    asked = colleague.get("/ward/prescriptions")
    assert "/cps/login" in asked.location
    assert "confirm=1" in asked.location
    answer = colleague.by_card(asked.location)
    assert (answer.status_code, answer.location) == (303, "/ward/prescriptions")
    assert "lavergne prescribes" in colleague.get("/ward/prescriptions").text
    assert colleague.home() == "lavergne by local-reader"

    desk.pull()
    until(lambda: colleague.get("/ward/prescriptions").status_code == 303)
    assert colleague.home() == "lavergne by password"


def test_step_up_takes_the_own_card_only(
    colleague: Colleague, another: Callable[[], Colleague], desk: VirtualDesk
) -> None:
    """The card of somebody else confirms nothing, and logs nobody in."""
    first = another()
    first.by_password()
    desk.insert("doctor")
    first.by_card("/cps/login?link=1")
    colleague.by_password("petit")
    assert colleague.by_card("/cps/login?confirm=1&next=/ward/prescriptions").status_code == 403
    assert colleague.home() == "petit by password"


def test_a_linked_card_is_linked_once(
    colleague: Colleague, another: Callable[[], Colleague], desk: VirtualDesk
) -> None:
    """The application refuses, and the person is told."""
    first = another()
    first.by_password()
    desk.insert("doctor")
    first.by_card("/cps/login?link=1")
    colleague.by_password("petit")
    assert colleague.by_card("/cps/login?link=1").status_code == 403


def test_a_page_for_one_person_is_none_for_the_next(
    colleague: Colleague, desk: VirtualDesk
) -> None:
    """A form to link a card, opened by one and sent by another, links nothing."""
    colleague.by_password()
    desk.insert("doctor")
    page = colleague.form("/cps/login?link=1")
    colleague.by_password("petit")
    assert colleague.post("/cps/login?link=1", {**page, "pin": "1234"}).status_code == 400
    assert colleague.home() == "petit by password"


def test_the_card_replaces_a_password_login(colleague: Colleague, desk: VirtualDesk) -> None:
    """The login page as such is a login: whoever was in is out, remembered or not."""
    colleague.by_password()
    desk.insert("doctor")
    colleague.by_card("/cps/login?link=1")
    colleague.by_password("petit", remember="yes")
    assert colleague.client.get_cookie("remember_token", domain="127.0.0.1") is not None
    assert colleague.by_card("/cps/login").status_code == 303
    assert colleague.home() == "lavergne by local-reader"
    assert colleague.client.get_cookie("remember_token", domain="127.0.0.1") is None


@pytest.mark.parametrize("act", ["logout", "password"])
def test_what_the_application_does_ends_the_row(
    clinic: Flask, colleague: Colleague, desk: VirtualDesk, act: str
) -> None:
    """`logout_user` and `login_user` end the card's session on the server, cookie copies too."""
    ended: list[EndReason] = []
    session_ended.connect(lambda _, **about: ended.append(about["reason"]), clinic, weak=False)
    colleague.by_password()
    desk.insert("doctor")
    colleague.by_card("/cps/login?link=1")
    colleague.by_card()
    if act == "logout":
        colleague.post("/logout", {"csrf_token": _csrf(colleague)})
        assert ended == [EndReason.LOGOUT]
    else:
        colleague.by_password("petit")
        assert ended == [EndReason.REPLACED]
        assert colleague.home() == "petit by password"


def test_our_headers_are_set_last(colleague: Colleague) -> None:
    """Talisman's hook does not loosen the login's pages, nor ours its own."""
    ours, theirs = colleague.get("/cps/login").headers, colleague.get("/password").headers
    assert ours["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in ours["Content-Security-Policy"]
    assert theirs["X-Frame-Options"] == "SAMEORIGIN"
    assert theirs["Content-Security-Policy"] == "default-src 'self'; object-src 'none'"


def test_their_pages_keep_their_guards(colleague: Colleague, desk: VirtualDesk) -> None:
    """CSRFProtect is off for the login's own forms and for nothing else."""
    desk.insert("doctor")
    colleague.get("/password")
    assert (
        colleague.post("/password", {"name": "petit", "password": "petit" * 2}).status_code == 400
    )
    assert colleague.by_card(pin="4071").status_code == 401


def test_a_hook_that_reads_the_form_never_sees_the_pin(
    clinic: Flask, colleague: Colleague, desk: VirtualDesk
) -> None:
    """The method override of this application looked; what it saw was empty."""
    seen: list[dict[str, str]] = []
    clinic.before_request_funcs[None].insert(0, lambda: seen.append(_form()))
    desk.insert("doctor")
    assert colleague.by_card(pin="4071").status_code == 401
    assert {} in seen
    assert not any("pin" in form for form in seen)


def test_an_identifier_of_theirs_is_theirs(clinic: Flask) -> None:
    """A cookie that names a card's session which does not exist logs nobody in."""
    with clinic.test_request_context(base_url="http://127.0.0.1:5000"):
        clinic.preprocess_request()
        loader = clinic.login_manager._user_callback  # type: ignore[attr-defined]
        assert loader("cps:made-up") is None
        assert loader("1").name == "lavergne"
        session["_user_id"] = "1"
        login_user(db.session.get(User, 2))
        assert session["_user_id"] == "2"


def test_what_cannot_be_joined_is_refused_at_start(judge: Judge, desk: VirtualDesk) -> None:
    """A login manager that is none of Flask-Login, with the cure."""
    app = Flask("odd")
    app.config.update(SECRET_KEY="k", CPS_ORIGIN="http://127.0.0.1:5000")
    app.login_manager = object()  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="Flask-Login"):
        CpsLogin(app, judge=judge, cards=desk.cards)


def test_an_application_without_a_login_of_its_own(app: Flask, visitor: Any) -> None:
    """With a LoginManager of ours, a page leads to the card's login."""
    assert isinstance(app.login_manager, LoginManager)  # type: ignore[attr-defined]
    assert visitor.get("/me").location.startswith("/cps/login")


def _csrf(colleague: Colleague) -> str:
    page = colleague.get("/password").text
    return page.split('name="csrf_token" value="')[1].split('"')[0]


def _form() -> dict[str, str]:
    from flask import request

    return dict(request.form) if request.endpoint == "cps.submit" else {"another": "page"}
