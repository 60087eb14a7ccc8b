"""A session lives exactly as long as login, card, reader, watcher and clock all allow it."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.sessions import SecureCookieSession, SessionInterface

from cps_auth.errors import ConfigurationError
from cps_auth.flask import EndReason, session_ended
from cps_auth.flask.stores.sqlite_stores import versioned
from tests.flask.conftest import cookie_name
from webdemo.desk import READER, VirtualDesk


def _cookie(visitor) -> str:
    cookie = visitor.client.get_cookie(cookie_name(visitor.client), domain="127.0.0.1")
    return "" if cookie is None else cookie.value


def _logged_in(visitor, desk: VirtualDesk, persona: str = "doctor") -> None:
    desk.insert(persona)
    assert visitor.log_in().status_code == 303
    assert visitor.is_in()


def _pull(desk: VirtualDesk) -> None:
    desk.pull()


def _swap(desk: VirtualDesk) -> None:
    desk.insert("pharmacist")


def _swap_for_itself(desk: VirtualDesk) -> None:
    desk.insert("doctor")


def _unplug(desk: VirtualDesk) -> None:
    desk.readers.drop_reader(READER)


def _kill_service(desk: VirtualDesk) -> None:
    desk.stop_service()


@pytest.mark.parametrize("what", [_pull, _swap, _swap_for_itself, _unplug, _kill_service])
def test_the_session_ends_when_the_card_or_the_reader_goes(
    visitor, desk: VirtualDesk, what: Callable[[VirtualDesk], None], until
) -> None:
    """T44: pulled, swapped, unplugged or unknowable: the session is over within moments."""
    _logged_in(visitor, desk)
    what(desk)
    until(lambda: visitor.get("/cps/status").json["session"] == "closed")
    assert not visitor.is_in()
    assert visitor.get("/me").location.startswith("/cps/closed?next=/me")
    assert "session fermée" in visitor.get("/cps/closed").text


def test_the_cards_return_brings_no_session_back(visitor, desk: VirtualDesk, until) -> None:
    """Only a new PIN does."""
    _logged_in(visitor, desk)
    desk.pull()
    until(lambda: not visitor.is_in())
    desk.insert("doctor")
    assert not visitor.is_in()
    visitor.log_in()
    assert visitor.is_in()


def test_a_closed_page_knows_the_readers_as_they_were_when_it_was_made(
    visitor, desk: VirtualDesk, until
) -> None:
    """A card that is back before the page's script first looks is news to it all the same."""
    desk.insert("doctor")
    visitor.log_in()
    desk.pull()
    until(lambda: visitor.get("/cps/status").json["session"] == "closed")
    when_made = visitor.get("/cps/status").json["presence"]
    assert f'data-presence="{when_made}"' in visitor.get("/cps/closed").text
    desk.insert("nurse")
    until(lambda: visitor.get("/cps/status").json["presence"] != when_made)


def test_a_service_that_comes_back_opens_nothing(visitor, desk: VirtualDesk, until) -> None:
    """While it was away nobody watched."""
    _logged_in(visitor, desk)
    desk.stop_service()
    until(lambda: not visitor.is_in())
    desk.start_service()
    assert not visitor.is_in()
    until(lambda: visitor.log_in().status_code == 303)


def test_another_readers_card_is_another_matter(make_app, visit, desk: VirtualDesk, until) -> None:
    """A session is bound to the reader of its card, and survives what happens elsewhere."""
    desk.readers.add_reader("Second reader")
    app = make_app(config={"CPS_READER": READER})
    ended: list[object] = []
    visitor = visit(app)
    _logged_in(visitor, desk)
    desk.readers.insert("Second reader", desk.card("nurse"))
    with session_ended.connected_to(lambda _, **told: ended.append(told), app):
        desk.readers.remove("Second reader")
        desk.readers.insert("Second reader", desk.card("nurse"))
        desk.pull()
        until(lambda: bool(ended))
    assert [told["reason"] for told in ended] == [EndReason.CARD_REMOVED]


def test_a_card_pulled_during_the_login_opens_nothing(app, visitor, desk: VirtualDesk) -> None:
    """Presence is read again after the row is made: a card that has left ends it at once."""
    desk.insert("doctor")
    form = visitor.form()
    state = app.extensions["cps_login"]
    create = state.stores.sessions.create

    def create_then_pull(*args: Any, **kwargs: Any) -> str:
        opened = create(*args, **kwargs)
        desk.pull()
        return opened

    state.stores.sessions.create = create_then_pull
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).status_code == 409
    assert not visitor.is_in()


def test_a_card_that_left_and_came_back_during_the_login_opens_nothing(
    app, visitor, desk: VirtualDesk, until
) -> None:
    """It is in the reader again, but this is another visit: the PIN was typed for the first."""
    desk.insert("doctor")
    form = visitor.form()
    state = app.extensions["cps_login"]
    create, removal = state.stores.sessions.create, state.methods["local-reader"].removal

    def create_after_another_visit(*args: Any, **kwargs: Any) -> str:
        (visit,) = removal._visits.values()
        desk.pull()
        desk.insert("doctor")
        until(lambda: any(later > visit for later in removal._visits.values()))
        return create(*args, **kwargs)

    state.stores.sessions.create = create_after_another_visit
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).status_code == 409
    assert not visitor.is_in()


def test_a_forked_process_guards_nothing(
    visitor, desk: VirtualDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads stay behind in a fork: what the parent watched, the child cannot vouch for."""
    _logged_in(visitor, desk)
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert not visitor.is_in()


def test_a_watcher_that_stops_ends_what_it_guarded(app, visitor, desk: VirtualDesk) -> None:
    """Silence never means that the card is still there; the next login watches anew."""
    _logged_in(visitor, desk)
    app.extensions["cps_login"].methods["local-reader"].removal.stop()
    assert not visitor.is_in()
    visitor.log_in()
    assert visitor.is_in()


def test_a_store_that_fails_leaves_nobody_logged_in(
    app, visitor, desk: VirtualDesk, caplog: pytest.LogCaptureFixture, until
) -> None:
    """If the end cannot be written down, nothing counts as guarded any more."""
    _logged_in(visitor, desk)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    app.extensions["cps_login"].stores.sessions.end_reader = fail
    with caplog.at_level(logging.CRITICAL):
        desk.pull()
        until(lambda: not visitor.is_in())


def test_a_session_does_not_survive_a_restart(make_app, visit, desk: VirtualDesk) -> None:
    """A new process did not watch the card in between: the row of the old one is over."""
    first = visit(make_app())
    _logged_in(first, desk)
    second = visit(make_app("practice"))
    second.client.set_cookie(cookie_name(second.client), _cookie(first), domain="127.0.0.1")
    assert not second.is_in()


def test_logout_kills_a_copied_cookie(app, visitor, visit, desk: VirtualDesk) -> None:
    """T43: what was copied before the logout opens nothing after it."""
    _logged_in(visitor, desk)
    thief = visit(app)
    thief.client.set_cookie(cookie_name(thief.client), _cookie(visitor), domain="127.0.0.1")
    assert thief.is_in()
    _log_out(app, visitor)
    assert not visitor.is_in()
    assert not thief.is_in()
    assert desk.card("doctor").pin_attempts_left == 3


def _logout_token(app, visitor) -> str:
    with visitor.cookie() as cookie:
        known = dict(cookie)
    with app.test_request_context("/"):
        from flask import session

        from cps_auth.flask.sessions.browser import form_token

        session.update(known)
        return form_token("logout")


def _log_out(app, visitor) -> None:
    answer = visitor.post("/cps/logout", {"cps_token": _logout_token(app, visitor)})
    assert (answer.status_code, answer.location) == (303, "/")


@pytest.mark.parametrize(
    ("method", "headers", "good_token"),
    [
        ("GET", {}, True),
        ("POST", {}, False),
        ("POST", {"Sec_Fetch_Site": "cross-site"}, True),
        ("POST", {"Origin": "https://evil.test"}, True),
    ],
)
def test_nobody_else_can_log_a_person_out(
    app, visitor, desk: VirtualDesk, method: str, headers: dict[str, str], good_token: bool
) -> None:
    """T47: logout takes a POST with the session's own token from a page of this origin."""
    _logged_in(visitor, desk)
    token = _logout_token(app, visitor) if good_token else "made-up"
    if method == "GET":
        assert visitor.get(f"/cps/logout?cps_token={token}").status_code == 405
    else:
        answer = visitor.post("/cps/logout", {"cps_token": token}, **headers)
        assert answer.status_code in (400, 403)
    assert visitor.is_in()


def test_a_planted_cookie_is_worth_nothing_after_the_login(
    app, visitor, visit, desk: VirtualDesk
) -> None:
    """T42: nothing of the browser session from before the login outlives it."""
    attacker = visit(app)
    attacker.get("/cps/login")
    visitor.client.set_cookie(cookie_name(visitor.client), _cookie(attacker), domain="127.0.0.1")
    with visitor.cookie() as cookie:
        cookie["planted"] = "yes"
    _logged_in(visitor, desk)
    assert not attacker.is_in()
    with visitor.cookie() as cookie:
        assert "planted" not in cookie
        assert "cps_browser" not in cookie


class _ServerSide(SessionInterface):
    """Keeps sessions by the identifier in the cookie, as Flask-Session does."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.count = 0

    def open_session(self, app, request):
        sid = request.cookies.get(self.get_cookie_name(app)) or self._fresh()
        session = SecureCookieSession(self.kept.get(sid, {}))
        session.sid = sid
        return session

    def save_session(self, app, session, response) -> None:
        self.kept[session.sid] = dict(session)
        response.set_cookie(self.get_cookie_name(app), session.sid)

    def regenerate(self, session) -> None:
        if session:  # as Flask-Session 0.8: nothing happens to an empty one
            self.kept.pop(session.sid, None)
            session.sid = self._fresh()

    def _fresh(self) -> str:
        self.count += 1
        return f"sid-{self.count}"


def test_server_side_sessions_get_a_new_identifier(make_app, visit, desk: VirtualDesk) -> None:
    """T42: with sessions kept on the server, the identifier from before the login is dead."""
    app = make_app()
    app.session_interface = _ServerSide()
    visitor, attacker = visit(app), visit(app)
    attacker.get("/cps/login")
    visitor.client.set_cookie(cookie_name(visitor.client), _cookie(attacker), domain="127.0.0.1")
    desk.insert("doctor")
    assert visitor.log_in().status_code == 303
    assert visitor.is_in()
    assert not attacker.is_in()


def test_the_next_login_of_a_browser_replaces_the_last(app, visitor, desk: VirtualDesk) -> None:
    """One browser has one session; the one before ends with its reason."""
    reasons: list[EndReason] = []
    _logged_in(visitor, desk)
    old = _cookie(visitor)
    with session_ended.connected_to(lambda _, reason, **__: reasons.append(reason), app):
        form = visitor.form("/cps/login?again=1")
        visitor.post("/cps/login", {**form, "pin": "1234"})
    assert reasons == [EndReason.REPLACED]
    assert visitor.is_in()
    visitor.client.set_cookie(cookie_name(visitor.client), old, domain="127.0.0.1")
    assert not visitor.is_in()


def test_an_idle_session_ends(visitor, desk: VirtualDesk, clock) -> None:
    """An hour without a page is the end; a page that only polls keeps nothing alive."""
    _logged_in(visitor, desk)
    clock.ahead = timedelta(minutes=50)
    assert visitor.is_in()
    clock.ahead = timedelta(minutes=100)
    assert visitor.get("/cps/status").json["session"] == "open"
    clock.ahead = timedelta(minutes=111)
    assert visitor.get("/cps/status").json["session"] == "closed"
    assert not visitor.is_in()


def test_a_session_ends_with_its_lifetime(make_app, visit, desk: VirtualDesk, clock) -> None:
    """However busy, after its time the PIN is asked for again."""
    app = make_app(config={"CPS_SESSION_LIFETIME": timedelta(hours=2)})
    visitor = visit(app)
    _logged_in(visitor, desk)
    for minutes in (30, 60, 90, 119):
        clock.ahead = timedelta(minutes=minutes)
        assert visitor.is_in()
    clock.ahead = timedelta(hours=2, seconds=5)
    with visitor.cookie() as cookie:
        session = cookie["cps_session"]
    assert not visitor.is_in()
    assert app.extensions["cps_login"].stores.sessions.find(session).end_reason is EndReason.EXPIRED


def test_a_session_lasts_twelve_hours_unless_told(app, visitor, desk: VirtualDesk) -> None:
    """The default."""
    _logged_in(visitor, desk)
    with visitor.cookie() as cookie:
        row = app.extensions["cps_login"].stores.sessions.find(cookie["cps_session"])
    assert row.expires_at - row.created_at == timedelta(hours=12)


def test_a_session_ends_with_its_certificate(make_app, visit, desk: VirtualDesk) -> None:
    """No configuration lets a session outlive the certificate that opened it."""
    year = timedelta(days=5 * 365)
    app = make_app(config={"CPS_SESSION_LIFETIME": year})
    visitor = visit(app)
    _logged_in(visitor, desk)
    with visitor.cookie() as cookie:
        row = app.extensions["cps_login"].stores.sessions.find(cookie["cps_session"])
    assert row.expires_at == row.holder.certificate_not_after


def test_the_database_is_private_and_holds_no_identifier(
    visitor, desk: VirtualDesk, tmp_path: Path
) -> None:
    """Mode 0600 on every file, and only hashes of what opens a session."""
    _logged_in(visitor, desk)
    with visitor.cookie() as cookie:
        session_id = cookie["cps_session"]
    files = list(tmp_path.glob("practice-*.sqlite3*"))
    assert files
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert session_id.encode() not in file.read_bytes()


def test_a_database_that_others_can_read_is_refused(make_app, tmp_path: Path) -> None:
    """Somebody else's eyes on the sessions are a reason not to start."""
    path = tmp_path / "open.sqlite3"
    versioned(path).touch(mode=0o644)
    with pytest.raises(ConfigurationError):
        make_app(config={"CPS_DATABASE": path})


def test_a_logged_in_page_is_not_cached(visitor, desk: VirtualDesk) -> None:
    """Health data do not stay behind the Back button."""
    _logged_in(visitor, desk)
    assert visitor.get("/me").headers["Cache-Control"] == "no-store"
