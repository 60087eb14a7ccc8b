"""The login form comes back once, from the browser that got it, in time, or not at all."""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cps_auth.errors import ChallengeExpired, ChallengeUnknown
from cps_auth.flask.stores import sqlite_stores as stores
from cps_auth.flask.stores.database import Database
from cps_auth.flask.stores.sqlite_stores import SqliteFormTokens
from webdemo.desk import VirtualDesk

NOW = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
LIFETIME = timedelta(minutes=5)


def _store(path: Path) -> SqliteFormTokens:
    return SqliteFormTokens(Database(path, stores.SCHEMA), lifetime=LIFETIME)


def test_a_form_works_once(visitor, desk: VirtualDesk) -> None:
    """T01: the same form sent twice is refused the second time, and costs no attempt."""
    desk.insert("doctor")
    form = visitor.form()
    assert visitor.post("/cps/login", {**form, "pin": "0000"}).status_code == 401
    assert visitor.post("/cps/login", {**form, "pin": "0000"}).status_code == 403
    assert desk.card("doctor").pin_attempts_left == 2


def test_a_form_of_another_browser_is_refused(app, visitor, visit, desk: VirtualDesk) -> None:
    """T02: a token is bound to the browser that got it, and is gone afterwards."""
    desk.insert("doctor")
    stolen = visitor.form()
    other = visit(app)
    other.get("/cps/login")
    assert other.post("/cps/login", {**stolen, "pin": "1234"}).status_code == 403
    assert visitor.post("/cps/login", {**stolen, "pin": "1234"}).status_code == 403
    assert desk.card("doctor").pin_attempts_left == 3


def test_a_form_that_is_too_old_is_refused(visitor, desk: VirtualDesk, clock) -> None:
    """T03: one second after its life the form is dead."""
    desk.insert("doctor")
    form = visitor.form()
    clock.ahead = LIFETIME + timedelta(seconds=1)
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).status_code == 403
    assert not visitor.is_in()


@pytest.mark.parametrize("token", ["", "made-up", "\udcff", "x" * 5000])
def test_a_token_that_was_never_issued_is_refused(visitor, desk: VirtualDesk, token) -> None:
    """T03, T06: empty, invented or endless tokens open nothing."""
    desk.insert("doctor")
    form = {**visitor.form(), "token": token.encode("utf-8", "surrogateescape")}
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).status_code in (400, 403)
    assert not visitor.is_in()


def test_a_form_is_spent_even_when_the_login_fails(visitor, desk: VirtualDesk) -> None:
    """T05: whatever went wrong, the token is gone."""
    desk.insert("doctor")
    form = visitor.form()
    desk.pull()
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).status_code == 409
    desk.insert("doctor")
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).status_code == 403


def test_suspect_requests_all_hear_the_same(app, visitor, visit, desk: VirtualDesk, clock) -> None:
    """T54: unknown, foreign and expired tokens cannot be told apart from outside."""
    desk.insert("doctor")
    old = visitor.form()
    foreign = visit(app).form()
    unknown = {**old, "token": "made-up"}
    answers = [visitor.post("/cps/login", {**f, "pin": "1234"}) for f in (unknown, foreign)]
    clock.ahead = 2 * LIFETIME
    answers.append(visitor.post("/cps/login", {**old, "pin": "1234"}))
    answers.append(visitor.post("/cps/login", {**old, "pin": "1234"}, Origin="https://evil.test"))
    assert {answer.status_code for answer in answers} == {403}
    *of_our_page, hostile = (re.sub(r'name="token" value="[^"]+"', "", a.text) for a in answers)
    assert len(set(of_our_page)) == 1
    assert "Demande refusée" in hostile
    assert 'name="pin"' not in hostile


def test_a_store_gives_the_card_of_the_form(tmp_path: Path) -> None:
    """What was issued comes back, once."""
    store = _store(tmp_path / "t.sqlite3")
    token = store.issue("browser", "card", at=NOW)
    assert store.take(token, "browser", at=NOW + LIFETIME) == "card"
    with pytest.raises(ChallengeUnknown):
        store.take(token, "browser", at=NOW)


def test_a_token_from_the_future_is_refused(tmp_path: Path) -> None:
    """A clock that went back makes no form last longer."""
    store = _store(tmp_path / "t.sqlite3")
    token = store.issue("browser", "card", at=NOW)
    with pytest.raises(ChallengeExpired):
        store.take(token, "browser", at=NOW - timedelta(seconds=6))


def test_the_store_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T50: a flood of page views pushes the oldest forms out, and dead ones go by themselves."""
    monkeypatch.setattr(stores, "CAPACITY", 3)
    path = tmp_path / "t.sqlite3"
    store = _store(path)
    tokens = [store.issue("b", "c", at=NOW + timedelta(seconds=i)) for i in range(5)]
    with Database(path).connect() as connection:
        assert connection.execute("SELECT count(*) FROM form_token").fetchone()[0] == 3
    with pytest.raises(ChallengeUnknown):
        store.take(tokens[1], "b", at=NOW)
    store.issue("b", "c", at=NOW + timedelta(hours=1))
    with Database(path).connect() as connection:
        assert connection.execute("SELECT count(*) FROM form_token").fetchone()[0] == 1


def _take_all(path: Path, tokens: list[str], wins) -> None:
    store = _store(path)
    for token in tokens:
        try:
            store.take(token, "browser", at=NOW)
        except ChallengeUnknown:
            continue
        wins.put(token)
    wins.put(None)


def test_of_many_processes_exactly_one_gets_a_token(tmp_path: Path) -> None:
    """T04: four processes racing for two hundred tokens take each of them once."""
    path = tmp_path / "t.sqlite3"
    store = _store(path)
    tokens = [store.issue("browser", "card", at=NOW) for _ in range(200)]
    spawn = multiprocessing.get_context("spawn")
    wins = spawn.Queue()
    racers = [spawn.Process(target=_take_all, args=(path, tokens, wins)) for _ in range(4)]
    for racer in racers:
        racer.start()
    won: Counter[str] = Counter()
    finished = 0
    while finished < len(racers):
        token = wins.get(timeout=60)
        finished += token is None
        won.update([token] if token else [])
    for racer in racers:
        racer.join()
    assert won == Counter(tokens)
