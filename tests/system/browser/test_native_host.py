"""The card program: what the official extension says to it, and what a person sees and types."""

from __future__ import annotations

import base64
import json
import select
import struct
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509

from cps_auth.errors import PeerNotAllowed, RequestMalformed
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.login.challenge import challenge_of_site
from cps_auth.login.proof import check_signature
from cps_auth.login.web_eid import parse_token
from cps_auth.native_host.callers import WEB_EID_CHROMIUM, WEB_EID_FIREFOX
from tests.pin_traces import pin_traces

pytestmark = pytest.mark.system

NONCE = base64.b64encode(bytes(range(32))).decode()
ORIGIN = "https://practice.test:8443"
OFFICIAL = f"chrome-extension://{WEB_EID_CHROMIUM[0]}/"


def _ask(origin: str = ORIGIN, nonce: str = NONCE, **more: object) -> dict[str, Any]:
    arguments = {"challengeNonce": nonce, "origin": origin, "lang": "fr", **more}
    return {"command": "authenticate", "arguments": arguments}


def _verify(token: dict[str, Any]) -> None:
    proof = parse_token(json.dumps(token).encode())
    key = x509.load_der_x509_certificate(proof.unverified_certificate_der).public_key()
    challenge = challenge_of_site(ORIGIN, NONCE, at=datetime.now(UTC))
    check_signature(key, challenge, proof.signature)


def test_the_official_extension_gets_a_token(private_pcscd, start_host, hands) -> None:
    """Greeting, window, four digits, token; then the program ends, as its protocol wants."""
    inserted = private_pcscd.insert()
    host = start_host(OFFICIAL)
    assert host.read()["version"].startswith("2.")
    host.send(_ask())
    hands.type("1234")
    hands.press("Return")
    token = host.read()
    assert token["format"] == "web-eid:1.0"
    _verify(token)
    assert host.read() is None
    assert host.close() == 0
    hands.wait_for_no_window()
    assert inserted.card.pin_attempts_left == 3


def test_a_wrong_pin_is_asked_again_by_the_person_only(private_pcscd, start_host, hands) -> None:
    """The window stays, with the attempts left; nothing is sent until four digits are typed."""
    inserted = private_pcscd.insert()
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.type("0000")
    hands.press("Return")
    hands.until(lambda: inserted.card.pin_attempts_left == 2)
    hands.type("12")
    hands.press("Return")  # not four digits: nothing happens
    hands.type("34")
    hands.until(lambda: _typed(host, hands))
    assert inserted.card.pin_attempts_left == 3


def _typed(host, hands) -> bool:
    """Press Return until the window has taken the digits: it may still be redrawing itself."""
    hands.press("Return")
    return bool(select.select([host.process.stdout], [], [], 0.2)[0])


def test_cancelling_says_so(private_pcscd, start_host, hands) -> None:
    """Escape: the extension's own code, no attempt spent."""
    inserted = private_pcscd.insert()
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.wait_for_window()
    hands.press("Escape")
    assert host.read()["error"]["code"] == "ERR_WEBEID_USER_CANCELLED"
    assert inserted.card.pin_attempts_left == 3


def test_without_a_card_the_window_waits_for_one(private_pcscd, start_host, hands) -> None:
    """Nothing to click: the question comes with the card, and goes with it."""
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.wait_for_window()
    inserted = private_pcscd.insert()
    hands.until(lambda: _digits_are_taken(hands, host))
    _verify(host.read())
    assert inserted.card.pin_attempts_left == 3


def _digits_are_taken(hands, host) -> bool:
    """Clear and type the PIN: digits that come before the question are dropped."""
    hands.press("BackSpace", "BackSpace", "BackSpace", "BackSpace")
    hands.type("1234")
    hands.press("Return")
    return bool(select.select([host.process.stdout], [], [], 0.5)[0])


def test_the_last_attempt_has_to_be_agreed_to(private_pcscd, start_host, hands) -> None:
    """Four digits and Return are not enough; the box has to be ticked, by keyboard too."""
    inserted = private_pcscd.insert(persona="last-attempt")
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.type("1234")
    hands.press("Return")
    hands.press("Tab", "space", "Return")
    assert "signature" in host.read()
    assert inserted.card.pin_attempts_left == 3


def test_a_blocked_card_is_never_asked(private_pcscd, start_host, hands) -> None:
    """The window says what to do; there is nothing to type."""
    inserted = private_pcscd.insert(persona="pin-blocked")
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.type("1234")
    hands.press("Return", "Escape")
    assert host.read()["error"]["code"] == "ERR_WEBEID_NATIVE_FATAL"
    assert inserted.card.pin_attempts_left == 0


def test_our_extension_hears_that_the_card_was_pulled(private_pcscd, start_host, hands) -> None:
    """`watch` after a login: quiet while the card is in, one word within a second of its end."""
    inserted = private_pcscd.insert()
    host = start_host()
    host.read()
    host.send(_ask(watch=True))
    hands.type("1234")
    hands.press("Return")
    assert "signature" in host.read()
    host.send({"command": "watch", "arguments": {}})
    assert host.read() == {"event": "card-present"}
    inserted.remove()
    private_pcscd.await_empty(inserted.reader)
    seen_at = time.monotonic()
    assert host.read() == {"event": "card-removed"}
    assert time.monotonic() - seen_at < 1.0
    assert host.read() is None


def test_a_card_pulled_between_login_and_watch_is_noticed(private_pcscd, start_host, hands) -> None:
    """There is no moment in which a removal gets lost."""
    inserted = private_pcscd.insert()
    host = start_host()
    host.read()
    host.send(_ask(watch=True))
    hands.type("1234")
    hands.press("Return")
    assert "signature" in host.read()
    inserted.remove()
    private_pcscd.await_empty(inserted.reader)
    private_pcscd.insert()
    assert host.read() == {"event": "card-removed"}
    assert host.read() is None


def test_a_browser_that_goes_closes_the_window(private_pcscd, start_host, hands) -> None:
    """A page that was closed or lost its patience leaves no window that asks for a PIN."""
    inserted = private_pcscd.insert()
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.wait_for_window()
    host.close()
    hands.wait_for_no_window()
    assert inserted.card.pin_attempts_left == 3


def test_a_card_that_is_pulled_closes_the_window(private_pcscd, start_host, hands) -> None:
    """No window stays open for a card that is not there."""
    inserted = private_pcscd.insert()
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.type("12")
    inserted.remove()
    assert host.read()["error"]["code"] == "ERR_WEBEID_USER_CANCELLED"
    hands.wait_for_no_window()


def test_digits_meant_for_another_window_are_dropped(private_pcscd, start_host, hands) -> None:
    """Whoever types while the window comes up sends nothing to the card."""
    inserted = private_pcscd.insert()
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask())
    hands.until(lambda: "carte" in hands.xdotool("getwindowfocus", "getwindowname").lower())
    hands.xdotool("type", "--delay", "1", "9999\n")
    hands.wait_for_window()
    hands.type("1234")
    hands.press("Return")
    _verify(host.read())
    assert inserted.card.pin_attempts_left == 3


def test_only_digits_are_taken(private_pcscd, start_host, hands) -> None:
    """Keys of a French keyboard without Shift, letters and arrows are said to be none."""
    private_pcscd.insert()
    host = start_host(OFFICIAL)
    host.read()
    host.send(_ask(origin="https://xn--bcher-kva.example"))
    hands.type("1")
    hands.press("eacute", "quotedbl", "KP_End", "Left", "space", "a")
    hands.type("234")
    hands.press("Return")
    assert "signature" in host.read()
    host.process.stdin.close()
    assert host.process.stderr.read() == b""


def test_no_pin_on_standard_error_at_debug(private_pcscd, start_host, hands) -> None:
    """T55: everything that the program and the window say, with a wrong and a right PIN."""
    private_pcscd.insert()
    host = start_host("--debug", OFFICIAL)
    host.read()
    host.send(_ask())
    hands.type("9731")
    hands.press("Return")
    hands.until(lambda: _digits_are_taken(hands, host))
    host.read()
    host.process.stdin.close()
    said = host.process.stderr.read().decode()
    assert "asked by extension" in said
    assert NONCE not in said
    assert pin_traces(b"9731", said) == pin_traces(b"1234", said) == []


@pytest.mark.parametrize("command", ["sign", "get-signing-certificate"])
def test_nothing_but_challenges_is_signed(start_host, command: str) -> None:
    """The official extension's other commands are refused with its own error."""
    host = start_host(OFFICIAL)
    host.read()
    arguments = {"certificate": "AA==", "hash": "AA==", "hashFunction": "SHA-256",
                 "origin": ORIGIN, "lang": "fr"}  # fmt: skip
    host.send({"command": command, "arguments": arguments})
    reply = host.read()
    assert reply["error"]["code"] == "ERR_WEBEID_NATIVE_FATAL"
    assert "authenticates only" in reply["error"]["message"]


def test_quit_is_answered(start_host) -> None:
    """The extension asks for it to learn the version."""
    host = start_host(OFFICIAL)
    host.read()
    host.send({"command": "quit", "arguments": {}})
    assert host.read() == {}
    assert host.close() == 0


@pytest.mark.parametrize(
    "request_",
    [
        _ask(origin="http://practice.test"),
        _ask(origin="https://practice.test/"),
        _ask(origin="https://PRACTICE.test"),
        _ask(origin="https://a:b@practice.test"),
        _ask(origin="https://" + "a" * 250 + ".test"),
        _ask(origin=""),
        _ask(nonce="A" * 43),
        _ask(nonce="A" * 129),
        _ask(nonce="A" * 43 + "\n"),
        _ask(nonce=""),
        {"command": "authenticate"},
        {"command": "authenticate", "arguments": {"challengeNonce": 1, "origin": ORIGIN}},
        {"command": "watch", "arguments": {}},
        {"command": "Authenticate", "arguments": {}},
        {},
    ],
)
def test_arguments_outside_the_protocol_are_refused(start_host, request_) -> None:
    """No window opens for an origin or a nonce that Web eID does not allow."""
    host = start_host(OFFICIAL)
    host.read()
    host.send(request_)
    assert host.read()["error"]["code"] == "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "arguments",
    [
        ("chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/",),
        ("https://practice.test/",),
        (OFFICIAL.rstrip("/"),),
        ("/usr/lib/mozilla/native-messaging-hosts/eu.webeid.json", "stranger@example.test"),
        ("--help",),
    ],
)
def test_t56_an_unknown_caller_is_refused(start_host, arguments: tuple[str, ...]) -> None:
    """T56: an extension that is not on the list gets an error and no greeting."""
    host = start_host(*arguments)
    assert host.read()["error"]["code"] == "ERR_WEBEID_NATIVE_FATAL"
    assert host.read() is None
    assert host.close() == EXIT_CODES[PeerNotAllowed]


def test_firefox_names_its_extension_second(start_host) -> None:
    """Path of the manifest, then the identifier."""
    host = start_host("/usr/lib/mozilla/native-messaging-hosts/eu.webeid.json", WEB_EID_FIREFOX[0])
    assert "version" in host.read()


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("=I", 8193) + b"x" * 8193,
        struct.pack("=I", 4) + b"null",
        struct.pack("=I", 0xFFFFFFFF),
        struct.pack("=I", 7) + b'{"a":1}'[:7] + b"\x00\x00",
        struct.pack("=I", 10) + b"[1,2,3,45]",
        struct.pack("=I", 13) + b'{"a":1,"a":2}',
        struct.pack("=I", 9) + b'{"a":NaN}',
        struct.pack("=I", 8000) + b"[" * 8000,
    ],
    ids=["8193", "4", "4GB", "cut off", "array", "duplicate", "NaN", "deep"],
)
def test_t57_a_message_that_lies_is_refused(start_host, raw: bytes) -> None:
    """T57: too long, too short, a length that lies, an end in the middle, JSON read two ways."""
    host = start_host(OFFICIAL)
    host.read()
    host.send_raw(raw)
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.read()["error"]["code"] == "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"
    assert host.process.wait(30) == EXIT_CODES[RequestMalformed]
