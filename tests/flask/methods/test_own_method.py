"""A login method that an application brings: one object, and no other file of the product."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from flask import Blueprint, Flask, redirect, request
from flask.typing import ResponseReturnValue
from jinja2 import DictLoader

from cps_auth.errors import CpsAuthError, HolderNotAllowed, PinEntryCancelled
from cps_auth.flask import LoginMethod, NewSession, let_in, refuse_login
from cps_auth.flask.state import current_state
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.verify import verify_proof
from cps_auth.model import (
    CardSignature,
    Challenge,
    SignatureAlgorithm,
    UnverifiedProof,
    VerifiedHolder,
)
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.flask.conftest import cookie_name


class Messenger(LoginMethod):
    """Signs with a card that a messenger carries."""

    name = "messenger"
    settings: ClassVar[dict[str, object]] = {"CPS_MESSENGER_AGE": timedelta(seconds=30)}
    asks_pin = False
    template = "messenger.html"

    def __init__(self, igc: FakeIgcSante) -> None:
        self._card = igc.credentials("doctor")
        self.policy = {"form-action": ("https://messenger.test",), "img-src": ("data:",)}

    def add_routes(self, blueprint: Blueprint) -> None:
        """Add the one address."""
        blueprint.add_url_rule("/messenger", "messenger", self.arrive, methods=["POST"])

    def may_explain(self, error: CpsAuthError) -> bool:
        """Tell who gave up."""
        return isinstance(error, PinEntryCancelled)

    def arrive(self) -> ResponseReturnValue:
        """Log in, or refuse as asked."""
        state = current_state()
        try:
            if request.form.get("say") == "cancel":
                raise PinEntryCancelled
            if request.form.get("say") == "refuse":
                raise HolderNotAllowed
            holder, der = self._verify(state)
            let_in(state, NewSession(holder, der, self.name))
        except CpsAuthError as refusal:
            return refuse_login(self, refusal)
        return redirect("/me", code=303)

    def _verify(self, state: Any) -> tuple[VerifiedHolder, bytes]:
        at = state.clock()
        challenge = issue_challenge(state.settings.origin, at=at)
        der = self._card.authentication_certificate_der
        proof = UnverifiedProof(der, _sign(self._card, challenge))
        holder = verify_proof(proof, challenge, judge=state.judge, allow=state.allow, at=at)
        return holder, der


@pytest.fixture
def own(make_app: Any, igc: FakeIgcSante, remote_config: dict[str, Any]) -> Flask:
    """An application with the method."""
    app: Flask = make_app("own", remote_config, cards=None, methods=[Messenger(igc)])
    page = "<p>{{ _('Log in') }} {{ method.name }} {{ next }}"
    app.jinja_loader = DictLoader({"messenger.html": page})  # beside the blueprint's own
    return app


def test_it_is_on_the_login_page(own: Flask, remote_visit: Any) -> None:
    """Its part of the page is rendered with what every method gets, and so is its policy."""
    answer = remote_visit(own).open("GET", "/cps/login?lang=fr&next=/me")
    assert "<p>Se connecter messenger /me" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'self' https://messenger.test;" in policy
    assert "img-src 'self' data:;" in policy


def test_it_logs_in(own: Flask, remote_visit: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The session is one like every other, under the method's name; its login is never fresh."""
    caplog.set_level("INFO", "cps_auth.audit")
    visitor = remote_visit(own)
    assert visitor.open("POST", "/cps/messenger").status_code == 303
    assert visitor.open("GET", "/me").json["method"] == "messenger"
    assert "method=messenger" in caplog.text
    again = visitor.open("GET", "/fresh")
    assert (again.status_code, "again=1" in again.headers["Location"]) == (303, True)
    page = visitor.open("GET", again.headers["Location"]).text
    assert "cps-web-eid" in page
    assert "messenger /" not in page  # it cannot ask for the PIN


def test_its_refusals_are_explained_as_it_says(own: Flask, remote_visit: Any) -> None:
    """One error is told, the other is the one public page."""
    visitor = remote_visit(own)
    told = visitor.open("POST", "/cps/messenger", data={"say": "cancel"}).text
    assert "cps-note-happened" in told
    silent = visitor.open("POST", "/cps/messenger", data={"say": "refuse"})
    assert silent.status_code == 403
    assert "cps-note-happened" not in silent.text


def test_a_session_whose_method_is_gone_is_over(
    own: Flask, make_app: Any, remote_config: dict[str, Any], remote_visit: Any, tmp_path: Any
) -> None:
    """A worker without the method cannot judge its sessions: it ends them, and goes on."""
    visitor = remote_visit(own)
    visitor.open("POST", "/cps/messenger")
    other = make_app(
        "other", {**remote_config, "CPS_DATABASE": tmp_path / "own.sqlite3"}, cards=None
    )
    cookie = visitor.client.get_cookie(cookie_name(visitor.client), domain="practice.test")
    elsewhere = remote_visit(other)
    elsewhere.client.set_cookie(cookie_name(elsewhere.client), cookie.value, domain="practice.test")
    assert not elsewhere.is_in()
    assert not visitor.is_in()


def _sign(card: Any, challenge: Challenge) -> CardSignature:
    message = challenge.message("sha256")
    value = card.authentication_key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return CardSignature(SignatureAlgorithm.RS256, value)
