"""Clocks that go back, and hosts whose clocks differ a little."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cps_auth.errors import ChallengeExpired
from cps_auth.flask.stores.sqlite_stores import open_sqlite_stores
from cps_auth.login.verify import accept_tls_proof
from cps_auth.model import TlsProof
from webdemo.desk import VirtualDesk

A_LITTLE = timedelta(seconds=4)
TOO_MUCH = timedelta(seconds=6)


def test_a_clock_that_was_set_back_makes_no_session_younger(
    visitor, desk: VirtualDesk, clock
) -> None:
    """Nobody knows its age any more: it is over."""
    clock.ahead = timedelta(hours=10)
    desk.insert("doctor")
    visitor.log_in()
    assert visitor.is_in()
    clock.ahead = timedelta(hours=10) - A_LITTLE
    assert visitor.is_in()
    clock.ahead = timedelta(0)
    assert not visitor.is_in()


def test_a_clock_that_was_set_back_makes_no_login_fresh(
    make_app, visit, desk: VirtualDesk, clock
) -> None:
    """With `max_age` a PIN typed in the future is none that was typed just now."""
    visitor = visit(make_app())
    desk.insert("doctor")
    visitor.log_in()
    assert visitor.get("/fresh").status_code == 200
    clock.ahead = -TOO_MUCH
    assert visitor.get("/fresh").status_code == 302


def test_a_heartbeat_from_the_future_is_none(remote, clock) -> None:
    """A guarded session whose clock was set back does not live on without its guard."""
    assert remote.log_in(path="/cps/web-eid/login?guard=1").status_code == 200
    assert remote.is_in()
    clock.ahead = -TOO_MUCH
    assert not remote.is_in()


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_hosts_may_differ_by_a_few_seconds(store: str, tmp_path, clock, request) -> None:
    """One host issued the code, another one takes it a moment earlier by its own clock."""
    if store == "redis":
        from cps_auth.flask.stores.redis_stores import open_redis_stores

        url = request.getfixturevalue("redis_server").url
        forms = open_redis_stores(url, form_lifetime=timedelta(minutes=5)).forms
    else:
        path = tmp_path / "s.sqlite3"
        forms = open_sqlite_stores(path, form_lifetime=timedelta(minutes=5)).forms
    now = clock()
    token = forms.issue("browser", "content", at=now)
    assert forms.take(token, "browser", at=now - A_LITTLE) == "content"
    token = forms.issue("browser", "content", at=now)
    with pytest.raises(ChallengeExpired):
        forms.take(token, "browser", at=now - TOO_MUCH)


def test_a_handshake_may_be_reported_by_a_host_a_few_seconds_ahead(judge, igc, clock) -> None:
    """`finish` is served by another host than `prove`."""
    now = clock()
    der = igc.credentials("doctor").authentication_certificate_der
    for ahead in (A_LITTLE, TOO_MUCH):
        proof = TlsProof(
            unverified_certificate_der=der, reported_by="a test", reported_at=now + ahead
        )
        if ahead is TOO_MUCH:
            with pytest.raises(ChallengeExpired):
                accept_tls_proof(proof, judge=judge, allow=lambda _: None, at=now)
        else:
            accept_tls_proof(proof, judge=judge, allow=lambda _: None, at=now)
