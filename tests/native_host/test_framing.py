"""Messages between browser and host, and who may send them: hostile input."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cps_auth.errors import PeerNotAllowed, RequestMalformed
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.login.challenge import challenge_of_site
from cps_auth.native_host.callers import (
    OURS_CHROMIUM,
    OURS_FIREFOX,
    WEB_EID_CHROMIUM,
    WEB_EID_FIREFOX,
    identify,
)
from cps_auth.native_host.framing import REPLY_MAX_BYTES, read_message, write_message
from cps_auth.native_host.program import run, split_arguments
from cps_auth.native_host.requests import Authenticate, Quit, Sign, Watch, parse_request

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NONCE = "A" * 44


@contextmanager
def _pipe(content: bytes, *, ends: bool = True) -> Iterator[int]:
    read, write = os.pipe()
    os.write(write, content)
    if ends:
        os.close(write)
    try:
        yield read
    finally:
        os.close(read)
        if not ends:
            os.close(write)


@given(st.binary(min_size=5, max_size=8192))
def test_a_message_comes_out_as_it_went_in(text: bytes) -> None:
    """Whatever its bytes; two in a row are told apart."""
    framed = struct.pack("=I", len(text)) + text
    with _pipe(framed + framed) as descriptor:
        assert read_message(descriptor) == text
        assert read_message(descriptor) == text
        assert read_message(descriptor) is None


@given(st.binary(max_size=300))
@example(struct.pack("=I", 8193) + b"x" * 200)
@example(struct.pack("=I", 0xFFFFFFFF))
def test_t57_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    """T57: too long, lying lengths, ends in the middle: our own error, or what was framed."""
    with _pipe(content) as descriptor:
        text: bytes | None = content[4:]
        with contextlib.suppress(RequestMalformed):
            text = read_message(descriptor)
    assert content == b"" if text is None else content[4:].startswith(text)


def test_t57_a_message_that_stops_is_not_waited_for() -> None:
    """T57: a length that promises more than comes, on a pipe that stays open, ends by itself."""
    with (
        _pipe(struct.pack("=I", 50) + b"{", ends=False) as descriptor,
        pytest.raises(RequestMalformed, match="message-cut-off"),
    ):
        read_message(descriptor, within_s=0.05)


def test_a_reply_is_framed_and_bounded() -> None:
    """Native order, UTF-8 JSON; longer than a browser takes is never begun."""
    read, write = os.pipe()
    try:
        write_message(write, {"holder": "Chloé"})
        head = os.read(read, 4)
        assert json.loads(os.read(read, 1000)) == {"holder": "Chloé"}
        assert struct.unpack("=I", head)[0] > 0
        with pytest.raises(RequestMalformed, match="reply-length"):
            write_message(write, {"a": "x" * REPLY_MAX_BYTES})
    finally:
        os.close(read)
        os.close(write)


def test_a_long_reply_is_written_in_whole() -> None:
    """A pipe holds less than the longest reply: the rest follows as the browser reads."""
    read, write = os.pipe()
    got = bytearray()

    def drain() -> None:
        while part := os.read(read, 65536):
            got.extend(part)

    thread = threading.Thread(target=drain)
    thread.start()
    write_message(write, {"a": "x" * 900_000})
    os.close(write)
    thread.join()
    os.close(read)
    assert len(got) == 4 + struct.unpack("=I", got[:4])[0]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"command":"quit","arguments":{},"command":"sign"}')
@example(b'{"command":"authenticate","arguments":[]}')
@example(b'{"command":["quit"],"arguments":{}}')
@example(b"[" * 8192)
def test_any_text_is_a_request_or_refused(text: bytes) -> None:
    """Nothing but our own error leaves the parser."""
    request: object = Quit()
    with contextlib.suppress(RequestMalformed):
        request = parse_request(text)
    assert isinstance(request, Authenticate | Sign | Watch | Quit)


def test_arguments_that_nobody_knows_are_ignored() -> None:
    """A newer extension may say more."""
    arguments = {"origin": "o", "challengeNonce": "n", "lang": "fr", "watch": 1, "new": [1]}
    text = json.dumps({"command": "authenticate", "arguments": arguments, "also": None})
    assert parse_request(text.encode()) == Authenticate("o", "n", "fr", watch=False)


@pytest.mark.parametrize("known", [*WEB_EID_CHROMIUM, *OURS_CHROMIUM])
def test_known_extensions_of_chromium(known: str) -> None:
    """Chromium gives the origin first, and may give more."""
    assert identify([f"chrome-extension://{known}/"]) == known
    assert identify([f"chrome-extension://{known}/", "--parent-window=0"]) == known


@pytest.mark.parametrize("known", [*WEB_EID_FIREFOX, *OURS_FIREFOX])
def test_known_addons_of_firefox(known: str) -> None:
    """Firefox gives the manifest's path, then the identifier."""
    assert identify(["/usr/lib/mozilla/native-messaging-hosts/eu.webeid.json", known]) == known


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["chrome-extension://" + "a" * 32 + "/"],
        [f"chrome-extension://{OURS_CHROMIUM[0]}"],
        [f"chrome-extension://{OURS_CHROMIUM[0].upper()}/"],
        [f"https://{OURS_CHROMIUM[0]}/"],
        [f" chrome-extension://{OURS_CHROMIUM[0]}/"],
        [f"chrome-extension://{OURS_CHROMIUM[0]}/\n"],
        ["/path.json", "stranger@example"],
        ["/path.json", OURS_CHROMIUM[0]],
        ["/path.json", WEB_EID_FIREFOX[0], "more"],
        [OURS_FIREFOX[0]],
    ],
)
def test_t56_anybody_else_is_refused(arguments: list[str]) -> None:
    """T56: an extension that is not on the list, or no browser at all."""
    with pytest.raises(PeerNotAllowed):
        identify(arguments)


def test_t56_a_refused_caller_hears_one_error_and_no_greeting() -> None:
    """T56: not even the version is told, and the exit code says why."""
    read, write = os.pipe()
    with _pipe(b"") as browser_in:
        code = run(["chrome-extension://" + "a" * 32 + "/"], frozenset(), browser_in, write)
    os.close(write)
    (length,) = struct.unpack("=I", os.read(read, 4))
    reply = json.loads(os.read(read, 4096))
    os.close(read)
    assert length > 0
    assert reply["error"]["code"] == "ERR_WEBEID_NATIVE_FATAL"
    assert reply["error"]["message"] == "peer-not-allowed: unknown-extension"
    assert code == EXIT_CODES[PeerNotAllowed]


def test_the_administrator_may_allow_one_more() -> None:
    """The launcher names it before what the browser says; the browser cannot."""
    other = "b" * 32
    said = f"chrome-extension://{other}/"
    options, by_browser = split_arguments(["--debug", "--allow", other, said, "--allow", "c" * 32])
    assert options == ["--debug", "--allow", other]
    assert identify(by_browser, also_allowed=frozenset({other})) == other


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example",
        "wss://a.example:8443",
        "https://localhost:1",
        "https://xn--bcher-kva.example",
        "https://127.0.0.1:65535",
        "https://[::1]:8443",
        "https://a_b.example",
    ],
)
def test_the_challenge_of_a_site_is_signed_as_the_browser_says(origin: str) -> None:
    """Origin and nonce are taken to the letter: the site hashes the same ones."""
    challenge = challenge_of_site(origin, NONCE, at=NOW)
    assert (challenge.origin, challenge.nonce, challenge.issued_at) == (origin, NONCE, NOW)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://a.example",
        "https://",
        "https://a.example/",
        "https://A.example",
        "https://a.example:443",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:08443",
        "https://a@b.example",
        "https://a..example",
        "https://.example",
        "https://-a.example",
        "https://bücher.example",
        "https://a.example\n",
        "https://a.example?x",
        "https://a b.example",
        "file://a.example",
        "chrome-extension://" + "a" * 32,
        "https://" + ".".join(["a" * 60] * 5),
        "cps-auth:command-line",
    ],
)
def test_what_is_no_secure_websites_origin_is_not_signed(origin: str) -> None:
    """T07: also no other spelling of one, and none of the names that we sign under ourselves."""
    with pytest.raises(RequestMalformed, match="site-origin"):
        challenge_of_site(origin, NONCE, at=NOW)


@pytest.mark.parametrize("nonce", ["", "A" * 43, "A" * 129, "A" * 43 + " ", "A" * 43 + "é"])
def test_a_nonce_outside_of_web_eid_is_not_signed(nonce: str) -> None:
    """T06: 44 to 128 visible ASCII characters."""
    with pytest.raises(RequestMalformed, match="site-nonce"):
        challenge_of_site("https://a.example", nonce, at=NOW)
