"""One contract, two stores: SQLite on a file, Redis on a real server that may be killed."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from cps_auth.errors import (
    ChallengeExpired,
    ChallengeUnknown,
    ConfigurationError,
    StoreUnavailable,
)
from cps_auth.flask.sessions.model import EndReason, NewSession
from cps_auth.flask.stores.ports import Stores
from cps_auth.flask.stores.redis_stores import open_redis_stores
from cps_auth.flask.stores.sqlite_stores import open_sqlite_stores, versioned
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.verify import accept_tls_proof
from cps_auth.model import TlsProof
from cps_auth.pki.judge import Judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.flask.conftest import cookie_name

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROCESSES, SHOTS = 4, 200


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """Either kind, empty."""
    if request.param == "sqlite":
        yield open_sqlite_stores(tmp_path / "s.sqlite3", form_lifetime=5 * MINUTE)
    else:
        server = request.getfixturevalue("redis_server")
        yield open_redis_stores(server.url, form_lifetime=5 * MINUTE)


@pytest.fixture
def new_session(igc: FakeIgcSante, judge: Judge) -> Callable[..., NewSession]:
    """Makes sessions of the doctor, as a way in would."""
    der = igc.credentials("doctor").authentication_certificate_der
    at = igc.made_at
    proof = TlsProof(der, reported_by="a test", reported_at=at)
    holder = accept_tls_proof(proof, judge=judge, allow=lambda _: None, at=at)

    def make(**more: object) -> NewSession:
        return NewSession(holder, der, "web-eid", **more)

    return make


def test_a_challenge_is_taken_once_by_its_browser(stores: Stores) -> None:
    """Another browser gets nothing; the right one gets it whole, and once."""
    challenge = issue_challenge("https://practice.test", at=AT)
    stores.challenges.put("browser", challenge)
    with pytest.raises(ChallengeUnknown):
        stores.challenges.take("another browser")
    assert stores.challenges.take("browser") == challenge
    with pytest.raises(ChallengeUnknown):
        stores.challenges.take("browser")


def test_a_new_challenge_replaces_the_old_one(stores: Stores) -> None:
    """One per browser: the newest."""
    first, second = (issue_challenge("https://practice.test", at=AT) for _ in range(2))
    stores.challenges.put("browser", first)
    stores.challenges.put("browser", second)
    assert stores.challenges.take("browser") == second


def test_a_form_token_is_bound_and_single_use(stores: Stores) -> None:
    """The wrong browser uses it up; too late is too late."""
    token = stores.forms.issue("browser", "content", at=AT)
    with pytest.raises(ChallengeUnknown):
        stores.forms.take(token, "another browser", at=AT)
    with pytest.raises(ChallengeUnknown):
        stores.forms.take(token, "browser", at=AT)
    token = stores.forms.issue("browser", "content", at=AT)
    assert stores.forms.take(token, "browser", at=AT + 5 * MINUTE) == "content"
    token = stores.forms.issue("browser", "content", at=AT)
    with pytest.raises(ChallengeExpired):
        stores.forms.take(token, "browser", at=AT + 5 * MINUTE + timedelta(seconds=0.5))


def test_what_waits_is_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """T50: a flood pushes out the oldest, and takes no more room."""
    for module in ("redis_stores", "sqlite_stores"):
        monkeypatch.setattr(f"cps_auth.flask.stores.{module}.CAPACITY", 3)
    for number in range(5):
        at = AT + timedelta(seconds=number)
        stores.challenges.put(f"browser {number}", issue_challenge("https://a.test", at=at))
    kept = []
    for number in range(5):
        try:
            stores.challenges.take(f"browser {number}")
        except ChallengeUnknown:
            continue
        kept.append(number)
    assert kept == [2, 3, 4]


def test_counts_are_by_kind_by_address_and_by_window(stores: Stores) -> None:
    """A new window begins at nothing."""

    def add(what: str = "login", who: str = "192.0.2.7", at: datetime = AT) -> int:
        return stores.rates.add(what, who, window=MINUTE, at=at)

    assert [add(), add(), add(what="other"), add(who="192.0.2.8")] == [1, 2, 1, 1]
    assert stores.rates.count("login", "192.0.2.7", window=MINUTE, at=AT) == 2
    assert stores.rates.count("login", "192.0.2.9", window=MINUTE, at=AT) == 0
    assert add(at=AT + MINUTE) == 1


def test_a_session_is_kept_as_it_was_opened(stores: Stores, new_session) -> None:
    """Holder, certificate, watcher and times come back; the identifier is not kept."""
    at = datetime.now(UTC)
    new = new_session(reader="Reader é", watch_id="w", is_guarded_by_browser=True)
    opened = stores.sessions.create(new, at=at, lifetime=timedelta(hours=1))
    row = stores.sessions.find(opened)
    assert row is not None
    assert row.holder.practitioner == new.holder.practitioner
    assert (row.certificate_der, row.reader, row.watch_id) == (new.certificate_der, "Reader é", "w")
    assert abs(row.expires_at - at - timedelta(hours=1)) < timedelta(milliseconds=1)
    stores.sessions.record_activity(opened, at=at + MINUTE)
    stores.sessions.record_heartbeat(opened, at=at + 2 * MINUTE)
    row = stores.sessions.find(opened)
    assert row is not None
    assert abs(row.last_seen_at - at - MINUTE) < timedelta(milliseconds=1)
    assert row.heartbeat_at is not None
    assert abs(row.heartbeat_at - at - 2 * MINUTE) < timedelta(milliseconds=1)
    assert stores.sessions.find("another identifier") is None


@pytest.mark.parametrize("year", [1969, 1970, 2038, 2106])
def test_a_clock_that_is_decades_off(tmp_path: Path, new_session, year: int) -> None:
    """A row of SQLite keeps the time that the computer had, before 1970 and after 32 bits too."""
    at = datetime(year, 2, 7, 6, 28, 15, tzinfo=UTC)
    stores = open_sqlite_stores(tmp_path / "s.sqlite3", form_lifetime=5 * MINUTE)
    opened = stores.sessions.create(new_session(), at=at, lifetime=timedelta(hours=1))
    row = stores.sessions.find(opened)
    assert row is not None
    assert (row.created_at, row.last_seen_at) == (at, at)
    token = stores.forms.issue("browser", "content", at=at)
    assert stores.forms.take(token, "browser", at=at) == "content"


def test_the_first_reason_of_an_end_stays(stores: Stores, new_session) -> None:
    """Ended once, by whoever was first; later ends find nothing to do."""
    at = datetime.now(UTC)
    opened = stores.sessions.create(new_session(), at=at, lifetime=MINUTE)
    ended = stores.sessions.end(opened, EndReason.LOGOUT, at=at)
    assert [row.end_reason for row in ended] == [EndReason.LOGOUT]
    assert stores.sessions.end(opened, EndReason.CARD_REMOVED, at=at) == ()
    row = stores.sessions.find(opened)
    assert row is not None
    assert row.end_reason is EndReason.LOGOUT


def test_sessions_end_by_reader_by_watcher_and_by_handle(stores: Stores, new_session) -> None:
    """Each end takes exactly those that it names."""
    at = datetime.now(UTC)
    bound = [("a", "w1"), ("b", "w1"), ("a", "w2"), (None, None)]
    for reader, watch in bound:
        new = new_session(reader=reader, watch_id=watch)
        stores.sessions.create(new, at=at, lifetime=timedelta(hours=1))
    sessions = stores.sessions
    assert len(sessions.live(at=at)) == 4
    ended = sessions.end_reader("w1", "a", EndReason.CARD_REMOVED, at=at)
    assert [(row.reader, row.watch_id) for row in ended] == [("a", "w1")]
    ended = sessions.end_watch("w1", EndReason.SERVICE_LOST, at=at)
    assert [(row.reader, row.watch_id) for row in ended] == [("b", "w1")]
    remote = next(row for row in sessions.live(at=at) if row.reader is None)
    ended = sessions.end_handle(remote.handle, EndReason.ADMINISTRATOR, at=at)
    assert [row.handle for row in ended] == [remote.handle]
    assert [row.watch_id for row in sessions.live(at=at)] == ["w2"]


@pytest.mark.system
def test_a_redis_that_is_gone_is_our_error(redis_server) -> None:
    """Nobody is logged in by a store that does not answer."""
    stores = open_redis_stores(redis_server.url, form_lifetime=MINUTE)
    stores.challenges.put("browser", issue_challenge("https://a.test", at=AT))
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        stores.challenges.take("browser")
    with pytest.raises(StoreUnavailable):
        stores.sessions.find("anything")


@pytest.mark.system
def test_nothing_outlives_a_restart_of_redis(redis_server, new_session) -> None:
    """A server that forgot its last moments must not bring back what was used up."""
    stores = open_redis_stores(redis_server.url, form_lifetime=MINUTE)
    at = datetime.now(UTC)
    stores.challenges.put("browser", issue_challenge("https://a.test", at=at))
    opened = stores.sessions.create(new_session(), at=at, lifetime=timedelta(hours=1))
    redis_server.kill()
    redis_server.start()
    with pytest.raises(ChallengeUnknown):
        stores.challenges.take("browser")
    assert stores.sessions.find(opened) is None


@pytest.mark.system
def test_a_redis_short_of_memory_leaves_no_session_that_nothing_could_end(
    redis_server, new_session
) -> None:
    """T44: without the set of open sessions a pulled card finds none, so none goes on."""
    stores = open_redis_stores(redis_server.url, form_lifetime=MINUTE)
    at = datetime.now(UTC)
    new = new_session(reader="a", watch_id="w")
    opened, closed = (stores.sessions.create(new, at=at, lifetime=MINUTE) for _ in range(2))
    stores.sessions.end(closed, EndReason.LOGOUT, at=at)
    with redis.Redis.from_url(redis_server.url) as client:
        (dropped,) = client.keys("*:open")
        client.delete(dropped)
    assert stores.sessions.end_watch("w", EndReason.CARD_REMOVED, at=at) == ()
    assert stores.sessions.find(opened) is None
    told = stores.sessions.find(closed)
    assert told is not None
    assert told.end_reason is EndReason.LOGOUT


@pytest.mark.system
def test_redis_forgets_everything_in_the_end(redis_server, new_session) -> None:
    """T50: no key is without an end, not even of a run of the server that is over."""
    stores = open_redis_stores(redis_server.url, form_lifetime=MINUTE)
    at = datetime.now(UTC)
    for lifetime in (timedelta(hours=2), MINUTE):
        stores.sessions.create(new_session(), at=at, lifetime=lifetime)
    stores.challenges.put("browser", issue_challenge("https://a.test", at=at))
    stores.forms.issue("browser", "content", at=at)
    stores.rates.add("refusals", "192.0.2.7", window=MINUTE, at=at)
    with redis.Redis.from_url(redis_server.url) as client:
        lives = {key: client.pttl(key) for key in client.keys("*")}
        (of_the_set,) = client.keys("*:open")
    assert min(lives.values()) > 0, lives
    assert lives[of_the_set] > 2 * 3600 * 1000


@pytest.mark.system
def test_an_expired_session_of_redis_still_tells_why(redis_server, new_session) -> None:
    """The next login tidies up, and does not take the reason away."""
    stores = open_redis_stores(redis_server.url, form_lifetime=MINUTE)
    at = datetime.now(UTC)
    expired = stores.sessions.create(new_session(), at=at, lifetime=MINUTE)
    later = at + 2 * MINUTE
    stores.sessions.create(new_session(), at=later, lifetime=MINUTE)
    assert stores.sessions.find(expired) is not None
    assert len(stores.sessions.live(at=later)) == 1


def test_counts_of_past_windows_are_not_kept(tmp_path: Path) -> None:
    """T50: the file holds the addresses of this window, however many there ever were."""
    path = tmp_path / "s.sqlite3"
    rates = open_sqlite_stores(path, form_lifetime=MINUTE).rates
    for number in range(5):
        rates.add("challenge", f"192.0.2.{number}", window=MINUTE, at=AT)
    rates.add("challenge", "192.0.2.9", window=MINUTE, at=AT + 2 * MINUTE)
    with closing(sqlite3.connect(versioned(path))) as connection:
        assert connection.execute("SELECT count(*) FROM rate").fetchone() == (1,)


def test_ended_sessions_are_forgotten_after_a_day(tmp_path: Path, new_session) -> None:
    """T50: long enough to tell the browser why, and no longer."""
    sessions = open_sqlite_stores(tmp_path / "s.sqlite3", form_lifetime=MINUTE).sessions
    at = datetime.now(UTC)
    first = sessions.create(new_session(), at=at, lifetime=MINUTE)
    day = timedelta(days=1)
    sessions.create(new_session(), at=at + day, lifetime=MINUTE)
    assert sessions.find(first) is not None
    sessions.create(new_session(), at=at + day + 2 * MINUTE, lifetime=MINUTE)
    assert sessions.find(first) is None


def test_a_spoiled_file_is_our_error(tmp_path: Path) -> None:
    """Tables gone, file gone: the store says so in our words."""
    path = tmp_path / "s.sqlite3"
    stores = open_sqlite_stores(path, form_lifetime=MINUTE)
    with closing(sqlite3.connect(versioned(path))) as connection, connection:
        connection.execute("DROP TABLE challenge")
    connection.close()
    with pytest.raises(StoreUnavailable):
        stores.challenges.take("browser")
    versioned(path).unlink()
    with pytest.raises(StoreUnavailable):
        stores.sessions.find("anything")


@pytest.mark.parametrize("address", ["redis://host:port/0", "redis://[::1"])
def test_an_address_that_cannot_be_read_is_a_configuration_error(address: str) -> None:
    """At start, not at the first login."""
    with pytest.raises(ConfigurationError):
        open_redis_stores(address, form_lifetime=MINUTE)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def test_t04_of_many_processes_exactly_one_is_let_in(
    kind: str, tmp_path: Path, remote_config, igc_dir: Path, request: pytest.FixtureRequest
) -> None:
    """T04: four processes fire one token 200 times each: one login, on either store."""
    config = _config(kind, tmp_path, remote_config, request)
    cookie, page_token, body = _prepare(config, igc_dir)
    shots = (config, igc_dir, cookie, page_token, body, SHOTS)
    codes = _fire(shots)
    assert codes[200] == 1
    assert codes[403] == PROCESSES * SHOTS - 1


@pytest.mark.system
def test_t04_a_redis_killed_in_between_lets_nobody_in_twice(
    tmp_path: Path, remote_config, igc_dir: Path, request: pytest.FixtureRequest
) -> None:
    """T04: fire, kill Redis without warning, start it on what it had saved, fire again."""
    config = _config("redis", tmp_path, remote_config, request)
    server = request.getfixturevalue("redis_server")
    cookie, page_token, body = _prepare(config, igc_dir)
    shots = (config, igc_dir, cookie, page_token, body, SHOTS // 2)
    first = _fire(shots)
    server.kill()
    refused = _fire((*shots[:-1], 5))
    server.start()
    second = _fire(shots)
    assert (first[200], refused[200], second[200]) == (1, 0, 0)
    assert set(refused) == {503}


def _config(kind: str, tmp_path: Path, remote_config, request) -> dict[str, object]:
    store = {"CPS_DATABASE": tmp_path / "shared.sqlite3"}
    if kind == "redis":
        store["CPS_STORE"] = request.getfixturevalue("redis_server").url
    return {**remote_config, "SECRET_KEY": "shared", "CPS_REQUESTS_PER_MINUTE": 10**6,
            "CPS_REFUSALS_BEFORE_LOCKOUT": 10**6, **store}  # fmt: skip


def _application(config: dict[str, object], igc_dir: Path):
    from flask import Flask

    from cps_auth.flask import CpsLogin
    from cps_auth.pki.judge import folder_judge

    app = Flask("shared")
    app.config.update(config)
    CpsLogin(app, judge=folder_judge(igc_dir))
    return app


def _prepare(config: dict[str, object], igc_dir: Path) -> tuple[str, str, bytes]:
    """Return cookie, page token and login body of one browser that has signed."""
    import hashlib
    import json
    import re
    from base64 import b64encode

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    origin = str(config["CPS_ORIGIN"])
    client = _application(config, igc_dir).test_client()
    page = client.get("/cps/login", base_url=origin)
    found = re.search(r'data-token="(\w+)"', page.text)
    assert found is not None
    headers = {"Origin": origin, "X-CPS-Token": found.group(1)}
    nonce = client.post("/cps/web-eid/challenge", base_url=origin, headers=headers).json["nonce"]
    card = FakeIgcSante.load(igc_dir).credentials("doctor")
    message = b"".join(hashlib.sha256(part.encode()).digest() for part in (origin, nonce))
    value = card.authentication_key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    token = {
        "unverifiedCertificate": b64encode(card.authentication_certificate_der).decode(),
        "algorithm": "RS256",
        "signature": b64encode(value).decode(),
        "format": "web-eid:1.0",
        "appVersion": "https://cps-auth.test/1.0",
    }
    cookie = client.get_cookie(cookie_name(client), domain="practice.test")
    assert cookie is not None
    return cookie.value, found.group(1), json.dumps(token).encode()


def _fire(shots: tuple[object, ...]) -> Counter[int]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES) as pool:
        return sum(pool.map(_shoot, [shots] * PROCESSES), Counter())


def _shoot(shots) -> Counter[int]:
    config, igc_dir, cookie, page_token, body, count = shots
    app = _application(config, igc_dir)
    origin = config["CPS_ORIGIN"]
    headers = {"Origin": origin, "X-CPS-Token": page_token, "Content-Type": "application/json"}
    codes: Counter[int] = Counter()
    for _ in range(count):
        client = app.test_client()
        client.set_cookie(cookie_name(client), cookie, domain="practice.test", secure=True)
        answer = client.post("/cps/web-eid/login", base_url=origin, data=body, headers=headers)
        codes[answer.status_code] += 1
    return codes
