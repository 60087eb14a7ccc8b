"""What the daemon answers, over its real socket, with a virtual card."""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pam_helper.daemon.protocol import VERIFIED_LINE
from pam_helper.daemon.server import Server, listen
from tests.pin_traces import pin_traces

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import

PIN = b"1234"


def test_the_right_pin_is_verified(pc: CabinetPc) -> None:
    """The one reply that means yes comes byte for byte as the protocol says."""
    pc.insert("doctor")
    reply = pc.ask("verify", pin=PIN)
    assert reply["raw"] == VERIFIED_LINE


def test_the_next_daemon_takes_over_the_socket(pc_folder: Path) -> None:
    """What a service manager handed over works for whoever comes next, its queue included."""

    def serve(word: bytes) -> Server:
        return Server(handed.dup(), lambda connection, _peer: connection.sendall(word))

    with listen(pc_folder / "auth.sock") as handed:
        serve(b"first").stop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.settimeout(10)
            waiting.connect(str(pc_folder / "auth.sock"))
            second = serve(b"second")
            assert waiting.recv(10) == b"second"
            second.stop()


def test_a_probe_tells_the_attempts_and_spends_none(pc: CabinetPc) -> None:
    """The prompt to show carries the attempts left, and the card has compared nothing."""
    card = pc.insert("doctor")
    reply = pc.ask("probe")
    assert (reply["result"], reply["code"], reply["attempts_left"]) == ("PAM_SUCCESS", "usable", 3)
    assert "3 attempts left" in str(reply["lines"])
    assert card.pin_attempts_left == 3


ALIVE_LINE = b"PAM_AUTHINFO_UNAVAIL alive - -\n"


def test_hello_answers_at_once_and_then_as_a_probe(pc: CabinetPc) -> None:
    """The line that says "I am here" comes while the card is still being read."""
    card = pc.insert("doctor")
    is_heard = threading.Event()
    pc.readers.before_transmit = lambda _number, _command: is_heard.wait(10) and None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(pc.socket_path))
        connection.sendall(b"cps1 hello root xsecurelock\n")
        assert connection.recv(len(ALIVE_LINE), socket.MSG_WAITALL) == ALIVE_LINE
        is_heard.set()
        reply = connection.makefile("rb").read()
    pc.readers.before_transmit = None
    assert reply.startswith(b"PAM_SUCCESS usable 3 pin\n")
    assert reply == pc.ask("probe")["raw"]
    assert card.pin_attempts_left == 3


def test_hello_counts_as_a_probe(pc: CabinetPc) -> None:
    """It is checked and limited as one: here who asks, and how often."""
    pc.insert("doctor")
    assert pc.ask("hello", service="sshd")["raw"].startswith(  # type: ignore[attr-defined]
        ALIVE_LINE + b"PAM_PERM_DENIED peer-not-allowed "
    )
    for number in range(30):
        assert "usable" in str(pc.ask(("probe", "hello")[number % 2])["raw"])
    assert "too-many-requests" in str(pc.ask("hello")["raw"])


def test_a_few_threads_serve_all_connections(pc: CabinetPc) -> None:
    """Nobody waits for a thread to start; those of a crowd do not stay."""

    def serving() -> int:
        return sum(thread.name == "requests" for thread in threading.enumerate())

    pc.insert("doctor")
    assert pc.ask("ping")["code"] == "alive"
    before = serving()
    crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(20)]
    for connection in crowd:
        connection.connect(str(pc.socket_path))
    assert pc.ask("ping")["code"] == "alive"  # behind all of these
    assert serving() - before >= 19
    for connection in crowd:
        connection.close()
    deadline_s = time.monotonic() + 10
    while serving() - before > 4 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert serving() - before <= 4
    assert pc.ask("probe")["code"] == "usable"


def test_a_wrong_pin_is_refused_with_the_attempts_left(pc: CabinetPc) -> None:
    """One attempt is spent, and the person is told how many remain."""
    card = pc.insert("doctor")
    reply = pc.ask("verify", pin=b"9999")
    assert (reply["result"], reply["code"]) == ("PAM_AUTH_ERR", "wrong-pin")
    assert reply["attempts_left"] == 2
    assert "2 attempts left" in str(reply["lines"])
    assert card.pin_attempts_left == 2


@pytest.mark.parametrize("pin", [b"", b"123", b"12345", b"abcd", b"12\x004", b"\xd9\xa1\xd9\xa2"])
def test_what_is_not_a_pin_never_reaches_the_card(pc: CabinetPc, pin: bytes) -> None:
    """Not one command is sent to the card for what is not four ASCII digits."""
    pc.insert("doctor")
    reply = pc.ask("verify", pin=pin)
    assert (reply["result"], reply["code"]) == ("PAM_AUTH_ERR", "pin-malformed")
    assert pc.readers.apdu_count == 0


def test_no_request_uses_the_last_attempt(pc: CabinetPc) -> None:
    """With one attempt left the PIN is not sent, and the person is told what to do instead."""
    card = pc.insert("last-attempt")
    pc.allow("last-attempt", "root")
    for reply in (pc.ask("probe"), pc.ask("verify", pin=PIN)):
        assert (reply["result"], reply["code"]) == ("PAM_MAXTRIES", "last-attempt")
        assert "--use-last-attempt" in str(reply["lines"])
    assert card.pin_attempts_left == 1


@pytest.mark.parametrize(
    ("persona", "code"),
    [
        ("revoked", "certificate-revoked"),
        ("expired", "certificate-expired"),
        ("unknown-root", "untrusted-issuer"),
        ("pharmacist", "holder-not-allowed"),
        ("pin-blocked", "pin-blocked"),
    ],
)
@pytest.mark.parametrize("verb", ["probe", "verify"])
def test_a_refused_holder_costs_no_attempt(
    pc: CabinetPc, persona: str, code: str, verb: str
) -> None:
    """What is wrong with the card or its holder is said before any PIN is compared."""
    card = pc.insert(persona)
    if persona != "pharmacist":
        pc.allow(persona, "root")
    before = card.pin_attempts_left
    assert pc.ask(verb, pin=PIN)["code"] == code
    assert card.pin_attempts_left == before


def test_a_card_opens_only_its_own_accounts(pc: CabinetPc) -> None:
    """The doctor's card and PIN do not open an account that is another's."""
    card = pc.insert("doctor")
    reply = pc.ask("verify", account="nobody", pin=PIN)
    assert (reply["result"], reply["code"]) == ("PAM_PERM_DENIED", "holder-not-allowed")
    assert card.pin_attempts_left == 3


def test_no_card_and_no_service(pc: CabinetPc) -> None:
    """An empty reader and a dead PC/SC service are two different refusals."""
    assert pc.ask("probe")["code"] == "no-card"
    pc.readers.stop_service()
    assert pc.ask("verify", pin=PIN)["code"] == "reader-service-lost"


def test_a_card_pulled_on_the_way_refuses(pc: CabinetPc) -> None:
    """Whichever command the card leaves at, the answer is no."""
    pc.insert("doctor")
    pc.readers.before_transmit = lambda number, _command: (
        pc.readers.remove("Reader 0") if number == 20 else None
    )
    reply = pc.ask("verify", pin=PIN)
    assert reply["result"] == "PAM_AUTHINFO_UNAVAIL"
    assert reply["code"] == "card-removed"


@pytest.mark.parametrize(
    "content",
    [
        b"\n",
        b"{}\n",
        b"cps1\n",
        b"\xff\xfe\n",
        b"x" * 5000,
        b"cps1 unlock root x\n",
        b"cps2 probe root x\n",
        b"cps1 probe root\n",
        b"cps1 probe root x last-attempt-allowed\n",
        b"cps1 probe root x \n",
        b"cps1  probe root x\n",
        b"cps1 probe root x\r\n",
        b"cps1 probe root\0 x\n",
        b"cps1 probe ../root x\n",
        b"cps1 probe -root x\n",
        b"cps1 probe root x\nmore",
        b"cps1 hello root x\nmore",
        b"cps1 ping root x\nmore",
    ],
)
def test_whatever_is_not_a_request_is_refused(pc: CabinetPc, content: bytes) -> None:
    """Unknown verbs, fields, names and rubbish get one answer, and the card hears nothing."""
    pc.insert("doctor")
    try:
        reply = pc.send(content)
    except (BrokenPipeError, ConnectionResetError):
        reply = {}  # it hung up on a flood before all was sent
    assert reply.get("code", "request-malformed") == "request-malformed"
    assert reply.get("result") != "PAM_SUCCESS"
    assert pc.readers.apdu_count == 0


def test_an_asker_who_has_gone_spends_no_attempt(
    pc: CabinetPc, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that closed its side before the PIN went to the card is not answered with it."""
    card = pc.insert("doctor")
    has_gone = threading.Event()
    pc.readers.before_transmit = lambda _number, _command: has_gone.wait(10) and None
    with (
        caplog.at_level(logging.INFO),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
    ):
        connection.connect(str(pc.socket_path))
        connection.sendall(b"cps1 verify root x\n\x049999")
        connection.shutdown(socket.SHUT_WR)
        has_gone.set()
        assert b" pin-entry-cancelled " in connection.makefile("rb").read()
    assert card.pin_attempts_left == 3


def test_a_remote_service_is_refused(pc: CabinetPc) -> None:
    """A card in this PC's reader does not let somebody in from afar."""
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN, service="sshd")["code"] == "peer-not-allowed"
    assert pc.readers.apdu_count == 0


def test_an_account_that_does_not_exist_is_refused(pc: CabinetPc) -> None:
    """Even root cannot ask for nobody's account."""
    pc.insert("doctor")
    assert pc.ask("verify", account="no-such-account", pin=PIN)["code"] == "peer-not-allowed"


def test_verifying_is_rate_limited_before_the_pin_is_read(pc: CabinetPc) -> None:
    """The sixth request of a minute is refused, right PIN or not, and says when to come back."""
    card = pc.insert("doctor")
    for _ in range(5):
        assert pc.ask("verify", pin=PIN)["code"] == "verified"
    before = pc.readers.apdu_count
    reply = pc.ask("verify", pin=PIN)
    assert reply["code"] == "too-many-requests"
    assert pc.readers.apdu_count == before
    assert card.pin_attempts_left == 3


def test_a_flood_of_wrong_pins_cannot_block_the_card(pc: CabinetPc) -> None:
    """However often a program asks, one attempt always remains."""
    card = pc.insert("doctor")
    codes = [pc.ask("verify", pin=b"9999")["code"] for _ in range(12)]
    assert codes[:3] == ["wrong-pin", "wrong-pin", "last-attempt"]
    assert card.pin_attempts_left == 1


def test_silent_clients_do_not_keep_others_waiting(pc: CabinetPc) -> None:
    """Connections that say nothing leave room for one that does."""
    pc.insert("doctor")
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(10)]
    try:
        for connection in idle:
            connection.connect(str(pc.socket_path))
        assert pc.ask("probe")["code"] == "usable"
    finally:
        for connection in idle:
            connection.close()


def test_no_log_line_carries_the_pin(pc: CabinetPc, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, through yes, no and not-a-PIN, no record holds what was typed."""
    pc.insert("doctor")
    pins = (b"1234", b"8642", b"97531")
    with caplog.at_level(logging.DEBUG):
        for pin in pins:
            pc.ask("verify", pin=pin)
    audit = [record for record in caplog.records if record.name == "cps_auth.audit"]
    assert [record.args is not None and "verify" in record.getMessage() for record in audit] == [
        True,
        True,
        True,
    ]
    for record in caplog.records:
        text = record.getMessage() + str(record.args)
        assert [pin_traces(pin, text) for pin in pins] == [[], [], []]


def test_the_audit_line_names_who_asked_and_the_evidence(
    pc: CabinetPc, caplog: pytest.LogCaptureFixture
) -> None:
    """One line per request: uid, account, service, holder, outcome, trust, age of evidence."""
    pc.insert("doctor")
    with caplog.at_level(logging.INFO):
        pc.ask("verify", pin=PIN)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "cps_auth.audit"]
    for part in ("uid=0", "account=root", "service=xsecurelock", "ps_idnat=899900000011"):
        assert part in line
    assert "outcome=verified result=PAM_SUCCESS" in line
    assert "evidence_age_s=None" not in line
    assert "trust=None" not in line
