"""What people and programs are told where nothing hostile happened."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_babel import Babel

from cps_auth.flask import error_pages
from tests.flask.conftest import ORIGIN, Visitor
from webdemo.desk import VirtualDesk


def test_a_program_is_told_where_the_login_is(visitor: Visitor) -> None:
    """JSON for every program, and the header that HTMX follows, to a page of ours only."""
    answer = visitor.get("/me", Sec_Fetch_Dest="empty", Accept="application/json")
    assert answer.status_code == 401
    assert answer.json == {"error": "login-required", "login": "/cps/login?next=/"}
    assert "HX-Redirect" not in answer.headers
    htmx = {"Sec_Fetch_Dest": "empty", "HX_Request": "true", "Accept": "*/*"}
    led = visitor.get("/me", **htmx, HX_Current_URL=f"{ORIGIN}/patients/3")
    assert (led.status_code, led.headers["HX-Redirect"]) == (401, "/cps/login?next=/patients/3")
    hostile = visitor.get("/doctors", **htmx, HX_Current_URL="https://evil.test//evil.test/")
    assert hostile.headers["HX-Redirect"] == "/cps/login?next=/"


def test_the_other_name_of_this_computer(app: Flask) -> None:
    """localhost for 127.0.0.1 gets the right address; a name of somebody else's gets nothing."""
    client = app.test_client()
    for host, is_helped in (("localhost:5000", True), ("evil.test", False)):
        page = client.get("/cps/login?lang=fr", base_url=f"http://{host}")
        assert page.status_code == 403
        assert ("une autre adresse" in page.text) is is_helped
        assert f'href="{ORIGIN}/cps/login"' in page.text


def test_a_proxy_before_the_local_reader_is_named(visitor: Visitor) -> None:
    """Whoever set it up sees it on the page, not only in the log."""
    page = visitor.get("/cps/login?lang=fr", X_Forwarded_For="192.0.2.1")
    assert (page.status_code, "proxy" in page.text) == (403, True)
    form = visitor.post("/cps/login", {"pin": "1234"}, X_Forwarded_For="192.0.2.1")
    assert "proxy" not in form.text


def test_a_second_tab_goes_on(visitor: Visitor, desk: VirtualDesk) -> None:
    """Its form is older than the login of the first: the person goes where they asked."""
    desk.insert("doctor")
    second = visitor.form("/cps/login?next=/me")
    visitor.log_in()
    answer = visitor.post("/cps/login", {**second, "pin": "1234"})
    assert (answer.status_code, answer.location) == (303, "/me")


def test_a_form_sent_twice_asks_again(visitor: Visitor, desk: VirtualDesk) -> None:
    """Reload after a wrong code: no attempt is spent, and the form is there again."""
    desk.insert("doctor")
    form = visitor.form()
    assert visitor.post("/cps/login", {**form, "pin": "0000"}).status_code == 401
    again = visitor.post("/cps/login", {**form, "pin": "0000"})
    assert (again.status_code, 'name="pin"' in again.text) == (403, True)
    assert desk.card("doctor").pin_attempts_left == 2


def test_a_logout_is_confirmed_once(visitor: Visitor, desk: VirtualDesk) -> None:
    """With the card still in, the next page says that the session is closed."""
    desk.insert("doctor")
    visitor.log_in()
    token = visitor.get("/form").text.split('value="')[1].split('"')[0]
    visitor.post("/cps/logout", {"cps_token": token})
    assert "Vous avez fermé la session" in visitor.get("/cps/login?lang=fr").text
    assert "Vous avez fermé la session" not in visitor.get("/cps/login").text


def test_a_refused_profession_has_a_way_back(visitor: Visitor, desk: VirtualDesk) -> None:
    """Back to the application, or in with another card, in either language."""
    desk.insert("nurse")
    visitor.log_in()
    page = visitor.get("/doctors?lang=fr")
    assert page.status_code == 403
    assert ">Revenir</a>" in page.text
    assert "réservée à\N{NO-BREAK SPACE}: Médecin." in page.text
    assert "Votre carte indique\N{NO-BREAK SPACE}: Infirmier." in page.text
    told = visitor.get("/doctors", Accept="application/json")
    assert told.json == {"error": "holder-not-allowed", "reason": "profession-or-card"}
    assert told.status_code == 403
    assert 'href="?lang=en"' in page.text


def test_the_application_s_language_counts(make_app: Any, visit: Any) -> None:
    """Flask-Babel's locale goes before what the browser prefers; `?lang=` before both."""
    app = make_app()
    Babel(app, locale_selector=lambda: "en")
    visitor = visit(app)
    assert '<html lang="en">' in visitor.get("/cps/login", Accept_Language="fr").text
    assert '<html lang="fr">' in visitor.get("/cps/login?lang=fr").text


def test_an_application_may_have_its_errors_in_the_same_style(make_app: Any, visit: Any) -> None:
    """404 and 500 of its own views: a page for a person, a word for a program."""
    app = make_app()
    app.register_blueprint(error_pages())
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/broken", "broken", lambda: 1 // 0)
    visitor = visit(app)
    for path, status, said in (("/none", 404, "pas de page"), ("/broken", 500, "Une erreur")):
        page = visitor.get(f"{path}?lang=fr")
        assert (page.status_code, said in page.text) == (status, True)
        assert 'href="/"' in page.text
        assert visitor.get(path, Accept="application/json").json["error"]
    assert visitor.get("/none", Sec_Fetch_Dest="empty").json == {"error": "not-found"}
