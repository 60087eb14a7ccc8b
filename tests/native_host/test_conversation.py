"""The host's side of the conversation: what it signs, what it refuses, when it ends."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cps_auth.card.native.source import NativeCards
from cps_auth.errors import (
    CardRemoved,
    PinBlocked,
    PinEntryCancelled,
    RequestMalformed,
)
from cps_auth.exit_codes import UNFORESEEN
from cps_auth.login.challenge import challenge_of_site
from cps_auth.login.proof import check_signature
from cps_auth.login.verify import verify_proof
from cps_auth.login.web_eid import parse_token
from cps_auth.model import CardEvent, CardEventKind
from cps_auth.native_host import program
from cps_auth.native_host.callers import OURS_CHROMIUM
from cps_auth.pki.judge import Judge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.personas import PERSONAS
from tests.pin_traces import pin_traces

Bench = Any  # the fixtures' classes live in conftest.py, which is no module to import

ORIGIN = "https://dossiers.example"
NONCE = base64.b64encode(bytes(range(32))).decode()
NOTICED_WITHIN_S = 5.0


def _ask(**arguments: object) -> dict[str, object]:
    given = {"challengeNonce": NONCE, "origin": ORIGIN, "lang": "en", **arguments}
    return {"command": "authenticate", "arguments": given}


def _verified(token: dict[str, str], judge: Judge) -> str:
    challenge = challenge_of_site(ORIGIN, NONCE, at=datetime.now(UTC))
    proof = parse_token(json.dumps(token).encode())
    now = datetime.now(UTC)
    holder = verify_proof(proof, challenge, judge=judge, allow=lambda _: None, at=now)
    return holder.practitioner.ps_idnat


def _code(answer: dict[str, Any]) -> str:
    code: str = answer["error"]["code"]
    return code


def _until(bench: Bench, kind: str, count: int = 1) -> None:
    deadline = time.monotonic() + NOTICED_WITHIN_S
    while sum(view["kind"] == kind for view in bench.seen) < count:
        assert time.monotonic() < deadline, bench.seen
        time.sleep(0.005)


def test_a_token_that_the_server_side_accepts(bench: Bench) -> None:
    """Greeting, one request, one token of the holder's card, end: as Web eID's application."""
    bench.insert("doctor")
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    assert browser.receive()["version"].startswith("2.")
    browser.send(_ask())
    token = browser.receive()
    assert browser.receive() is None
    assert set(token) == {
        "unverifiedCertificate",
        "algorithm",
        "signature",
        "format",
        "appVersion",
    }
    assert token["format"] == "web-eid:1.0"
    assert _verified(token, bench.judge) == PERSONAS["doctor"].ps_idnat


def test_the_window_shows_the_origin_the_holder_and_the_attempts(bench: Bench) -> None:
    """What a person needs before typing: who asks, whose card it is, how many attempts."""
    bench.insert("doctor")
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask(origin="https://xn--bcher-kva.example:8443", lang="fr-FR"))
    assert browser.receive()
    assert browser.receive()["format"] == "web-eid:1.0"
    (view,) = bench.seen
    assert view["origin"] == "https://xn--bcher-kva.example:8443"
    assert view["heading"] == "Camille LAVERGNE"
    assert view["attempts"] == "3 essais restants."
    assert "xn--" in view["caution"]
    assert view["note"] == ""
    assert view["confirm"] == ""


@pytest.mark.parametrize(("persona", "note"), [("doctor", "not verified"), ("expired", "expired")])
def test_a_certificate_that_this_computer_does_not_vouch_for_is_marked(
    bench: Bench, persona: str, note: str
) -> None:
    """Without authorities, or with a reason to doubt, the name is shown as unverified."""
    bench.insert(persona)
    if persona == "doctor":
        bench.judge = None
    bench.person_will(("pin", "C00000"))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    assert browser.receive()["error"]["code"] == "ERR_WEBEID_USER_CANCELLED"
    assert note in bench.seen[0]["note"].lower()


def test_a_person_may_correct_a_wrong_pin(bench: Bench) -> None:
    """The same window asks again, says what is left, and each entry costs one attempt only."""
    card = bench.insert()
    bench.person_will(("pin", "P00000"), ("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    assert _verified(browser.receive(), bench.judge) == PERSONAS["doctor"].ps_idnat
    assert "2 attempts left" in bench.seen[1]["alert"]
    assert card.pin_attempts_left == 3


def test_the_last_attempt_is_used_only_when_confirmed(bench: Bench) -> None:
    """With one attempt left an unconfirmed entry is not sent; a confirmed wrong one blocks."""
    card = bench.insert()
    wrong, unconfirmed, confirmed = ("pin", "P00000"), ("pin", "P12340"), ("pin", "P00001")
    bench.person_will(wrong, wrong, unconfirmed, confirmed, ("message", "C00000"))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    assert _code(browser.receive()) == "ERR_WEBEID_NATIVE_FATAL"
    views = bench.seen
    assert [bool(view["confirm"]) for view in views] == [False, False, True, True, False]
    assert "Nothing was sent" in views[3]["alert"]
    assert "blocked" in views[4]["heading"]
    assert card.pin_attempts_left == 0
    browser.close()
    assert isinstance(browser.error, PinBlocked)


def test_what_is_not_four_digits_never_reaches_the_card(bench: Bench) -> None:
    """A window that returns something else spends no attempt."""
    card = bench.insert()
    bench.person_will(("pin", "P12x40"), ("pin", "C00000"))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    assert _code(browser.receive()) == "ERR_WEBEID_USER_CANCELLED"
    assert "Nothing was sent" in bench.seen[1]["alert"]
    assert card.pin_attempts_left == 3


class _CardOnPad:
    """A card in a reader with a keypad, on which its holder types the right PIN."""

    def __init__(self, card: Any) -> None:
        self._card = card
        self.has_pin_pad = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._card, name)

    def __enter__(self) -> _CardOnPad:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._card.close()

    def verify_pin_and_sign(
        self, pin: object, challenge: Any, *, last_attempt_allowed: bool
    ) -> Any:
        assert pin is None
        typed = bytearray(b"1234")
        return self._card.verify_pin_and_sign(
            typed, challenge, last_attempt_allowed=last_attempt_allowed
        )


class _CardsOnPad(NativeCards):
    def open_card(self, reader: str | None = None) -> Any:
        return _CardOnPad(super().open_card(reader))


def test_where_there_is_a_keypad_no_digit_enters_this_computer(bench: Bench) -> None:
    """The window asks for an agreement to this website; the PIN is typed on the reader."""
    bench.insert()
    bench.person_will(("pad", "P00000"))
    browser = bench.connect(cards=lambda: _CardsOnPad(bench.readers.service))
    browser.send(_ask())
    assert browser.receive()
    assert _verified(browser.receive(), bench.judge) == PERSONAS["doctor"].ps_idnat
    (view,) = bench.seen
    assert view["kind"] == "pad"
    assert view["origin"] == ORIGIN
    assert "reader" in view["entry"]
    assert "keys of the reader" in view["busy"]


class _CardWithoutReader(_CardOnPad):
    """A soft token, or a card in a reader that PC/SC has two of: the module knows no reader."""

    def __init__(self, card: Any) -> None:
        super().__init__(card)
        self.has_pin_pad = False
        self.description = dataclasses.replace(card.description, reader="slot 0", atr_hex="")

    def verify_pin_and_sign(self, pin: Any, challenge: Any, *, last_attempt_allowed: bool) -> Any:
        return self._card.verify_pin_and_sign(
            pin, challenge, last_attempt_allowed=last_attempt_allowed
        )


class _CardsWithoutReader(NativeCards):
    """PC/SC ends, or another card leaves, as soon as the token is open."""

    def __init__(self, services: Any, *events: CardEvent) -> None:
        super().__init__(services)
        self._happen = events

    def watch(self, listener: Any) -> Any:
        self._listener = listener
        return super().watch(listener)

    def open_card(self, reader: str | None = None) -> Any:
        card = super().open_card(reader)
        for event in self._happen:
            self._listener(event)
        return _CardWithoutReader(card)


@pytest.mark.parametrize(
    "event",
    [CardEvent(CardEventKind.SERVICE_LOST), CardEvent(CardEventKind.CARD_REMOVED, "another")],
    ids=["service-lost", "card-removed"],
)
def test_a_token_without_a_reader_logs_in_and_is_not_watched_over(
    bench: Bench, event: CardEvent
) -> None:
    """SoftHSM2 needs no pcscd to sign; but who cannot tell that it stays does not say so."""
    bench.insert()
    bench.person_will(("pin", "P12340"))
    browser = bench.connect(cards=lambda: _CardsWithoutReader(bench.readers.service, event))
    browser.send(_ask(watch=True))
    assert browser.receive()
    assert browser.receive()["format"] == "web-eid:1.0"
    assert browser.receive() == {"event": event.kind.value}


def test_the_window_waits_for_a_card(bench: Bench) -> None:
    """Without a card it says what to do, and goes on by itself once there is one."""
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    _until(bench, "message")
    assert bench.seen[0]["detail"] == "Insert your CPS card, chip first."
    bench.insert()
    assert browser.receive()["format"] == "web-eid:1.0"


def test_pulling_the_card_closes_the_window(bench: Bench) -> None:
    """The card leaves while the PIN is asked for: nothing is signed, nobody types into nothing."""
    bench.insert()
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    _until(bench, "pin")
    bench.readers.remove("Reader")
    assert _code(browser.receive()) == "ERR_WEBEID_USER_CANCELLED"
    browser.close()
    assert isinstance(browser.error, CardRemoved)


def test_a_browser_that_goes_takes_the_window_with_it(bench: Bench) -> None:
    """A closed tab or a timeout of the page ends the wait, and no PIN is asked for any more."""
    bench.insert()
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    _until(bench, "pin")
    browser.close()
    assert isinstance(browser.error, PinEntryCancelled)


def test_a_window_that_dies_is_a_cancel(bench: Bench) -> None:
    """Whatever ends the window, nothing is signed."""
    bench.insert()
    bench.person_will(("pin", "P12"), ("die", ""))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    assert _code(browser.receive()) == "ERR_WEBEID_USER_CANCELLED"


def test_a_card_that_is_no_longer_there_is_told_while_watching(bench: Bench) -> None:
    """After a login the connection stays on request, and says at once that it left."""
    bench.insert()
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask(watch=True))
    assert browser.receive()
    assert browser.receive()["format"] == "web-eid:1.0"
    for _ in range(2):
        browser.send({"command": "watch", "arguments": {}})
        assert browser.receive() == {"event": "card-present"}
    bench.readers.remove("Reader")
    assert browser.receive() == {"event": "card-removed"}  # in less time than between two looks
    assert browser.receive() is None


def test_nobody_knows_is_told_too(bench: Bench) -> None:
    """A smart card service that dies ends the watch: silence never means "still there"."""
    bench.insert()
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask(watch=True))
    assert browser.receive()
    assert browser.receive()["format"] == "web-eid:1.0"
    bench.readers.stop_service()
    assert browser.receive() == {"event": "service-lost"}
    assert browser.receive() is None


def test_a_card_that_left_before_the_watch_began_is_told(bench: Bench) -> None:
    """The watch covers the time since the card was opened, not since somebody asked."""
    bench.insert()
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask(watch=True))
    assert browser.receive()
    assert browser.receive()["format"] == "web-eid:1.0"
    bench.readers.swap("Reader", bench.make_card("nurse"))
    browser.send({"command": "watch", "arguments": {}})
    events = [browser.receive()]
    while events[-1] == {"event": "card-present"}:
        events.append(browser.receive())
    assert events[-1] == {"event": "card-swapped"}


def test_a_watching_host_answers_nothing_else(bench: Bench) -> None:
    """One connection, one login: a second request on it ends it."""
    bench.insert()
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask(watch=True))
    assert browser.receive()
    assert browser.receive()["format"] == "web-eid:1.0"
    browser.send(_ask())
    assert _code(browser.receive()) == "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"
    assert browser.receive() is None


@pytest.mark.parametrize("command", ["sign", "get-signing-certificate"])
def test_nothing_is_signed_but_challenges(bench: Bench, command: str) -> None:
    """A hash that a caller chose never reaches the key, and no window is opened for it."""
    card = bench.insert()
    browser = bench.connect()
    arguments = {"hash": base64.b64encode(bytes(32)).decode(), "hashFunction": "SHA-256"}
    browser.send({"command": command, "arguments": {**arguments, "origin": ORIGIN}})
    assert browser.receive()
    answer = browser.receive()
    assert _code(answer) == "ERR_WEBEID_NATIVE_FATAL"
    assert "authenticates only" in answer["error"]["message"]
    assert bench.seen == []
    assert card.pin_attempts_left == 3


def test_quit_is_answered(bench: Bench) -> None:
    """The extension asks for the status this way."""
    browser = bench.connect()
    browser.send({"command": "quit", "arguments": {}})
    assert browser.receive()["version"]
    assert browser.receive() == {}
    assert browser.receive() is None


def test_a_browser_that_asks_nothing_is_no_error(bench: Bench) -> None:
    """It connects and closes: the host ends."""
    browser = bench.connect()
    assert browser.receive()
    browser.close()
    assert browser.error is None


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("=I", 8193),
        struct.pack("=I", 0xFFFFFFFF) + b"{}",
        struct.pack("=I", 4) + b"null",
        struct.pack("=I", 100) + b'{"command":"quit"',
        b"\x05\x00",
        struct.pack("=I", 12) + b"\xff" * 12,
        struct.pack("=I", 20) + b'["command","quit", 1]'[:20],
    ],
    ids=["too-long", "lie-4GB", "too-short", "cut-off", "length-cut-off", "not-utf8", "no-object"],
)
def test_t57_a_message_that_breaks_the_rules(bench: Bench, content: bytes) -> None:
    """T57: too long, a lying length, an end in the middle: one error, no window, the end."""
    bench.insert()
    browser = bench.connect()
    browser.send_raw(content)
    browser.hang_up()
    assert browser.receive()["version"]
    assert _code(browser.receive()) == "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"
    assert browser.receive() is None
    browser.close()
    assert isinstance(browser.error, RequestMalformed)
    assert bench.seen == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://dossiers.example"},
        {"origin": "https://dossiers.example/"},
        {"origin": "https://Dossiers.example"},
        {"origin": "https://dossiers.example:443"},
        {"origin": "https://" + "a." * 124 + "example"},
        {"origin": None},
        {"challengeNonce": "A" * 43},
        {"challengeNonce": "A" * 129},
        {"challengeNonce": 1},
        {"lang": "x" * 36},
    ],
)
def test_arguments_that_break_the_rules(bench: Bench, wrong: dict[str, object]) -> None:
    """Only a secure website's origin and a nonce of Web eID's size are signed."""
    bench.insert()
    browser = bench.connect()
    browser.send(_ask(**wrong))
    assert browser.receive()
    assert _code(browser.receive()) == "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"
    assert bench.seen == []


def test_a_service_that_does_not_run_is_explained(bench: Bench) -> None:
    """The window says that pcscd does not answer, and goes on once it does."""
    bench.insert()
    bench.readers.stop_service()
    bench.person_will(("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask())
    assert browser.receive()
    _until(bench, "message")
    assert "smart card service" in bench.seen[0]["heading"]
    bench.readers.start_service()
    assert browser.receive()["format"] == "web-eid:1.0"


def test_no_pin_in_any_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """T55: at DEBUG, with a wrong and a right PIN, neither is in a log, a view or a message."""
    caplog.set_level(logging.DEBUG)
    bench.insert()
    bench.person_will(("pin", "P97310"), ("pin", "P12340"))
    browser = bench.connect()
    browser.send(_ask())
    said = [browser.receive(), browser.receive()]
    browser.close()
    log = caplog.text
    for secret in (b"9731", b"1234"):
        assert pin_traces(secret, log) == []
        assert pin_traces(secret, json.dumps(bench.seen)) == []
    assert "9731" not in json.dumps(said[0])


def test_a_card_of_another_scheme_is_shown_and_left_to_the_site(bench: Bench) -> None:
    """Its certificate names nobody of the IGC-Santé: doubted here, judged by the website."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Alex Martin, 42")])
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, begin, end)
        .add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    theirs = dataclasses.replace(
        bench.igc.credentials("doctor"), authentication_certificate_der=der, authentication_key=key
    )
    bench.readers.insert("Reader", VirtualCard(PERSONAS["doctor"], theirs))
    for judge in (None, bench.judge):
        bench.person_will(("pin", "P12340"))
        browser = bench.connect(judge=lambda judge=judge: judge)
        browser.send(_ask())
        assert browser.receive()
        proof = parse_token(json.dumps(browser.receive()).encode())
        challenge = challenge_of_site(ORIGIN, NONCE, at=datetime.now(UTC))
        check_signature(key.public_key(), challenge, proof.signature)
        assert proof.unverified_certificate_der == der
    assert [view["heading"] for view in bench.seen] == ["Alex Martin, 42"] * 2
    assert all("not verified" in view["note"].lower() for view in bench.seen)


def test_what_nobody_foresaw_is_answered_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A page is told that it failed, and nothing more; it does not wait for its own deadline."""
    monkeypatch.setattr(program, "_host", lambda *_: 1 / 0)
    reply = tmp_path / "reply"
    with reply.open("wb") as out:
        code = program.run(
            [f"chrome-extension://{OURS_CHROMIUM[0]}/"], frozenset(), 0, out.fileno()
        )
    assert code == UNFORESEEN
    assert json.loads(reply.read_bytes()[4:]) == {
        "error": {"code": "ERR_WEBEID_NATIVE_FATAL", "message": "unforeseen"}
    }
