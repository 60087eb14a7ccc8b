"""Who may ask at all: this machine, this origin, this form, this method."""

from __future__ import annotations

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from cps_auth.errors import PeerNotAllowed, RequestMalformed
from cps_auth.flask.guards.addresses import is_safe_next, next_or
from cps_auth.flask.guards.requests import check_same_machine
from cps_auth.flask.methods.login_form import MAX_BODY_BYTES, hold_login_form, login_form
from webdemo.desk import VirtualDesk

PAGES = ["/cps/login", "/cps/closed", "/cps/login?lang=en"]


def _refused_everywhere(visitor, desk: VirtualDesk, **headers: str) -> None:
    desk.insert("doctor")
    form = {"token": "any", "pin": "1234", "next": "/"}
    shown = visitor.get("/cps/login", **headers)
    assert shown.status_code == 403
    assert "LAVERGNE" not in shown.text
    assert visitor.post("/cps/login", form, **headers).status_code == 403


def test_another_machine_is_refused(visitor, desk: VirtualDesk) -> None:
    """A peer that is not loopback sees no holder and may send no PIN."""
    visitor.peer = "192.0.2.7"
    _refused_everywhere(visitor, desk)


@pytest.mark.parametrize("name", ["X_Forwarded_For", "Forwarded", "X_Real_IP"])
def test_a_forwarding_header_makes_nobody_local(visitor, desk: VirtualDesk, name: str) -> None:
    """A forged header is no passport: from outside it changes nothing."""
    visitor.peer = "192.0.2.7"
    _refused_everywhere(visitor, desk, **{name: "127.0.0.1"})


def test_a_forwarding_header_makes_a_local_peer_foreign(visitor, desk: VirtualDesk) -> None:
    """What came through a proxy on this machine may come from anywhere."""
    _refused_everywhere(visitor, desk, X_Forwarded_For="127.0.0.1")


def test_proxy_fix_does_not_make_anybody_local(app, visitor, desk: VirtualDesk) -> None:
    """The peer is judged below Werkzeug's ProxyFix, which believes headers."""
    app.wsgi_app = ProxyFix(app.wsgi_app)
    visitor.peer = "192.0.2.7"
    _refused_everywhere(visitor, desk, X_Forwarded_For="127.0.0.1")


def test_the_peer_is_the_one_below_proxy_fix(app) -> None:
    """Even without a header in sight, what ProxyFix put aside is what counts."""
    settings = app.extensions["cps_login"].settings
    local = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:5000"}
    check_same_machine(local, settings)
    for key, foreign in (("REMOTE_ADDR", "192.0.2.7"), ("HTTP_HOST", "evil.test")):
        with pytest.raises(PeerNotAllowed):
            check_same_machine(
                {**local, "werkzeug.proxy_fix.orig": {**local, key: foreign}}, settings
            )


def test_another_host_name_is_refused(visitor, desk: VirtualDesk) -> None:
    """DNS rebinding: the Host header must be the configured one."""
    _refused_everywhere(visitor, desk, Host="evil.test:5000")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:5001"},
        {"Origin": "http://localhost:5000"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_a_form_from_another_site_is_refused(visitor, desk: VirtualDesk, headers) -> None:
    """T46: login CSRF fails even with a good token, and spends no attempt."""
    desk.insert("doctor")
    form = visitor.form()
    assert visitor.post("/cps/login", {**form, "pin": "0000"}, **headers).status_code == 403
    assert desk.card("doctor").pin_attempts_left == 3


def test_a_form_without_an_origin_is_refused(visitor, desk: VirtualDesk) -> None:
    """Every browser sends it with a form; what does not is not one."""
    desk.insert("doctor")
    form = {**visitor.form(), "pin": "1234"}
    answer = visitor.client.post("/cps/login", data=form, base_url="http://127.0.0.1:5000")
    assert answer.status_code == 403


@pytest.mark.parametrize("dest", ["iframe", "image", "script", "empty"])
def test_the_login_page_is_only_opened_as_a_page(visitor, desk: VirtualDesk, dest: str) -> None:
    """T49: a frame or a picture of it does not touch the card."""
    desk.insert("doctor")
    assert visitor.get("/cps/login", Sec_Fetch_Dest=dest).status_code == 403
    assert desk.readers.apdu_count == 0


@pytest.mark.parametrize("page", PAGES)
def test_pages_forbid_framing_caching_and_foreign_content(visitor, page: str) -> None:
    """T48, T49: the headers are there, and no page carries a script or a style of its own."""
    answer = visitor.get(page)
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "style=" not in answer.text
    assert "<script>" not in answer.text
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_another_site_cannot_read_the_status(visitor) -> None:
    """T48: no CORS, and a cross-site fetch is refused outright."""
    assert visitor.get("/cps/status").json["session"] == "closed"
    assert visitor.get("/cps/status", Sec_Fetch_Site="cross-site").status_code == 403
    assert visitor.get("/cps/status", Origin="https://evil.test").status_code == 403
    assert visitor.get("/cps/status").headers["Cache-Control"] == "no-store"


def test_a_remote_page_learns_nothing_of_the_readers(visitor) -> None:
    """The status tells of the session only, unless the browser is on this machine."""
    assert set(visitor.get("/cps/status").json) == {"session", "again_ms", "presence", "card"}
    visitor.peer = "192.0.2.7"
    assert set(visitor.get("/cps/status").json) == {"session", "again_ms"}


def test_a_program_gets_401_and_a_person_the_login_page(visitor) -> None:
    """Only what a person opens is led anywhere."""
    assert visitor.get("/me", Accept="application/json").status_code == 401
    assert visitor.get("/me", Sec_Fetch_Dest="empty").status_code == 401
    assert visitor.get("/me").location.startswith("/cps/login?next=/me")


SAFE = ["/", "/patients/12?tab=notes", "/a//b", "/caf%C3%A9", "/?next=https://x.test/"]
UNSAFE = [
    "",
    "patients",
    "//evil.test",
    "///evil.test",
    "/\\evil.test",
    "/a\\b",
    "/\t/evil.test",
    "/\n/evil.test",
    "/\r\nSet-Cookie: a=b",
    "/\x00",
    "/\u2028/evil.test",
    "https://evil.test",
    "http:evil.test",
    "javascript:alert(1)",
    " /evil",
    "/" + "a" * 3000,
]


@pytest.mark.parametrize("asked", SAFE)
def test_a_path_of_this_application_is_a_good_next(asked: str) -> None:
    """T45: ordinary paths pass unchanged."""
    assert next_or(asked, "/home") == asked


@pytest.mark.parametrize("asked", UNSAFE)
def test_anything_else_leads_to_the_default(asked: str) -> None:
    """T45: schemes, hosts, backslashes and control characters lead home."""
    assert not is_safe_next(asked)
    assert next_or(asked, "/home") == "/home"


@pytest.mark.parametrize("asked", ["//evil.test", "/\t/evil.test", "https://evil.test/"])
def test_a_login_never_leads_to_another_site(visitor, desk: VirtualDesk, asked: str) -> None:
    """T45, end to end: the redirect after the login goes home."""
    desk.insert("doctor")
    form = visitor.form()
    done = visitor.post("/cps/login", {**form, "next": asked, "pin": "1234"})
    assert (done.status_code, done.location) == (303, "/")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"token=a&next=/", FORM),
        (b"pin=1234&token=a&pin=1234", FORM),
        (b"pin=1234&token=a&token=b", FORM),
        (b"pin=1234&token=%ff", FORM),
        (b"pin=1234&t=\xff", FORM),
        (
            b"pin=1234&" + b"&".join(b"f%d=1" % i for i in range(20)),
            FORM,
        ),
        (b"pin=1234&token=" + b"a" * MAX_BODY_BYTES, FORM),
        (b"pin=1234&token=a", "multipart/form-data; boundary=x"),
        (b'{"pin": "1234"}', "application/json"),
        (b"", FORM),
    ],
)
def test_what_is_not_the_form_is_malformed(app, body: bytes, content_type: str) -> None:
    """T39, T40: anything but one clean form is refused before the card is looked at."""
    with app.test_request_context("/", method="POST", data=body, content_type=content_type):
        hold_login_form()
        with pytest.raises(RequestMalformed), login_form("pin"):
            raise AssertionError("the form was read")


def test_the_pin_is_wiped_and_never_in_the_parsed_form(app) -> None:
    """The only copy of ours is zeroed when the block ends; Flask's parser never sees it."""
    body = b"token=t&pin=1234&next=%2Fa"
    with app.test_request_context("/", method="POST", data=body, content_type=FORM):
        from flask import request

        hold_login_form()
        with login_form("pin") as form:
            assert bytes(form.codes["pin"]) == b"1234"
            assert (form.unverified_token, form.unverified_next) == ("t", "/a")
            assert "1234" not in repr(form)
        assert bytes(form.codes["pin"]) == b"\0\0\0\0"
        assert not request.form
        assert request.get_data() == b""
