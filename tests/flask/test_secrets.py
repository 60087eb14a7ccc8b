"""What must be written down nowhere, searched for everywhere."""

from __future__ import annotations

import base64
import logging
import re
from pathlib import Path

import pytest

from cps_auth.errors import leaves
from cps_auth.flask.http_errors import http_status, may_be_explained
from hardware_mocks.igc.fake_igc import FakeIgcSante
from webdemo.desk import VirtualDesk

PIN, WRONG = "1234", "7391"
ALONE = re.compile(f"(?<![0-9A-Za-z]){WRONG}(?![0-9A-Za-z])")  # not by chance inside a nonce


def test_nothing_secret_is_logged_stored_or_shown(
    app, visitor, desk: VirtualDesk, igc: FakeIgcSante, tmp_path: Path, caplog
) -> None:
    """T55: at DEBUG level, PIN, certificate, form token and session identifier occur nowhere."""
    app.config["PROPAGATE_EXCEPTIONS"] = True
    caplog.set_level(logging.DEBUG)
    desk.insert("doctor")
    form = visitor.form()
    shown = [visitor.post("/cps/login", {**form, "pin": WRONG}).text]
    shown.append(visitor.log_in(PIN).text)
    shown.append(visitor.get("/me").text)
    with visitor.cookie() as cookie:
        session_id = cookie["cps_session"]
    desk.pull()
    der = igc.credentials("doctor").authentication_certificate_der
    secrets = [
        session_id,
        form["token"],
        base64.b64encode(der)[:40].decode(),
        der.hex()[:40],
    ]
    stored = b"".join(map(_bytes, tmp_path.glob("practice-*.sqlite3*")))
    assert "login refused code=wrong-pin" in caplog.text
    assert "login accepted holder=899900000011" in caplog.text
    for secret in secrets:
        assert secret not in caplog.text
        assert secret.encode() not in stored
    for text in (caplog.text, stored.decode("latin-1"), *shown):
        assert not ALONE.search(text)
    assert f"={PIN}" not in caplog.text
    assert f"'{PIN}'" not in caplog.text


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # SQLite's -wal and -shm go with the last connection
        return b""


def test_an_audit_line_is_one_line(visitor, caplog) -> None:
    """What came from outside cannot forge a second line."""
    visitor.peer = "1.2.3.4\nlogin accepted"
    visitor.get("/cps/login")
    lines = [record.getMessage() for record in caplog.records if record.name == "cps_auth.audit"]
    assert lines
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.code)
def test_only_what_the_person_can_hold_is_explained(leaf) -> None:
    """Card, PIN, certificate and account are explained; a suspect request hears one sentence."""
    error = leaf.__new__(leaf)
    suspect = leaf.code in {
        "challenge-unknown",
        "challenge-expired",
        "provider-token-refused",
        "provider-identity-refused",
        "peer-not-allowed",
        "too-many-requests",
        "request-malformed",
        "configuration-error",
    }
    assert may_be_explained(error) is not suspect
    assert 400 <= http_status(error) < 600
