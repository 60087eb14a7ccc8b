"""What the daemon answers, over its real socket, with a virtual card."""

from __future__ import annotations

import logging
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cps_auth.config import PamSettings
from hardware_mocks.igc.fake_igc import FakeIgcSante
from pam_helper.daemon.protocol import VERIFIED, encode_reply
from pam_helper.daemon.server import Server, listen
from tests.pin_traces import pin_traces

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import

PIN = b"1234"


def test_the_right_pin_is_verified(pc: CabinetPc) -> None:
    """The one reply that means yes comes byte for byte as the protocol says."""
    pc.insert("doctor")
    reply = pc.ask("verify", pin=PIN)
    assert reply["raw"] == encode_reply(VERIFIED)


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


ALIVE_LINE = b"PAM_AUTHINFO_UNAVAIL alive - -\n"


def test_a_question_answers_at_once_and_spends_no_attempt(pc: CabinetPc) -> None:
    """The line that says "I am here" comes while the card is still being read."""
    card = pc.insert("doctor")
    is_heard = threading.Event()
    pc.readers.before_transmit = lambda _number, _command: is_heard.wait(10) and None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(pc.socket_path))
        connection.sendall(b"cps1 ask root xsecurelock\n")
        assert connection.recv(len(ALIVE_LINE), socket.MSG_WAITALL) == ALIVE_LINE
        is_heard.set()
        reply = connection.makefile("rb").read()
    pc.readers.before_transmit = None
    assert reply.startswith(b"PAM_SUCCESS question 3 any\n")
    assert card.pin_attempts_left == 3


@pytest.mark.parametrize(("days", "warns"), [(361, False), (363, True)])
def test_lists_that_end_soon_are_told_before_the_question(
    pc: CabinetPc, igc: FakeIgcSante, caplog: pytest.LogCaptureFixture, days: int, warns: bool
) -> None:
    """From three days before the person reads what to do, the log holds it, and the card works."""
    pc.insert("doctor")
    pc.authority.clock = lambda: igc.made_at + timedelta(days=days)
    *told, prompt = pc.ask("ask")["lines"]
    assert told == ["Opposition lists end in 2 days: connect this PC to the Internet."] * warns
    assert prompt == "Card code (3 tries) or password:"
    assert ("Opposition lists end" in caplog.text) is warns
    assert pc.ask("verify", pin=b"1234")["code"] == "verified"


def test_too_many_questions_look_at_no_card(pc: CabinetPc) -> None:
    """A program that loops is asked about the card no more, and its person can still type."""
    pc.insert("doctor")
    for _ in range(60):
        assert pc.ask("ask")["attempts_left"] == 3
    before = pc.readers.apdu_count
    assert (pc.ask("ask")["attempts_left"], pc.ask("ask")["next"]) == (None, "any")
    assert pc.readers.apdu_count == before
    assert pc.ask("verify", pin=PIN)["code"] == "verified", "nor has its person to wait a minute"


def test_no_thread_stays_behind_its_connection(pc: CabinetPc) -> None:
    """Each connection has one; those of a crowd go with it."""

    def serving() -> int:
        return sum(thread.name == "request" for thread in threading.enumerate())

    crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(20)]
    for connection in crowd:
        connection.connect(str(pc.socket_path))
    assert pc.ask("ping")["code"] == "alive"  # behind all of these
    assert serving() >= 20
    for connection in crowd:
        connection.close()
    deadline_s = time.monotonic() + 10
    while serving() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert serving() == 0


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


def test_the_last_attempt_is_used_only_by_its_own_request(pc: CabinetPc) -> None:
    """A PIN alone is not sent, and the person is told what to type instead; that is used."""
    card = pc.insert("last-attempt")
    pc.allow("last-attempt", "root")
    for verb, ask in (("ask", "or password"), ("require", "Last try: !code:")):
        question = pc.ask(verb)
        assert "type ! and then the code" in str(question["lines"])
        assert ask in str(question["lines"][-1])  # type: ignore[index]
    reply = pc.ask("verify", pin=PIN)
    assert (reply["result"], reply["code"]) == ("PAM_MAXTRIES", "last-attempt")
    assert "type ! and then the code" in str(reply["lines"])
    assert card.pin_attempts_left == 1
    assert pc.ask("last", pin=PIN)["raw"] == encode_reply(VERIFIED)
    assert card.pin_attempts_left == 3


@pytest.mark.parametrize(
    ("verb", "card", "attempts", "prompt", "follows"),
    [
        ("ask", "doctor", 3, "Card code (3 tries) or password:", "any"),
        ("require", "doctor", 3, "Card code (3 tries):", "card"),
        ("ask", "", None, "Card code or password:", "any"),
        ("require", "", None, "Card code:", "card"),
        ("ask", "revoked", None, "Card code or password:", "any"),
    ],
)
def test_the_question_is_asked_whatever_the_reader_holds(
    pc: CabinetPc, verb: str, card: str, attempts: int | None, prompt: str, follows: str
) -> None:
    """A card that cannot be used says so after the answer; one that can tells its attempts."""
    if card:
        pc.insert(card)
    reply = pc.send(f"cps1 {verb} root kde\n".encode())
    alive, question = bytes(reply["raw"]).split(b"\n", 1)  # type: ignore[call-overload]
    assert alive + b"\n" == ALIVE_LINE
    left = "-" if attempts is None else attempts
    assert question.decode() == f"PAM_SUCCESS question {left} {follows}\n{prompt}\n"


def test_a_question_offers_the_code_that_the_account_has(pc: CabinetPc) -> None:
    """The client learns that what looks like one may be one."""
    pc.codes.issue("root", timedelta(hours=1), at=datetime.now(UTC))
    assert pc.ask("ask")["next"] == "any+code"
    assert pc.ask("require")["next"] == "card+code"


def test_a_question_waits_for_no_card(pc: CabinetPc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that is slow to say anything is asked about no more."""
    monkeypatch.setattr("pam_helper.daemon.answering.QUESTION_WITHIN_S", 0.05)
    pc.insert("doctor")
    go_on = threading.Event()
    pc.readers.before_transmit = lambda _number, _command: go_on.wait(10) and None
    assert pc.ask("ask")["lines"] == ["Card code or password:"]
    go_on.set()
    pc.readers.before_transmit = None


def test_the_question_of_an_account_without_a_card_is_not_ours(pc: CabinetPc) -> None:
    """Unless no password counts: then there is something to ask all the same."""
    assert pc.ask("ask", account="nobody")["next"] == "-"
    assert pc.ask("require", account="nobody")["next"] == "card"


@pytest.mark.parametrize("service", ["smtp", "sshd", "cron", "xrdp-sesman", "cups", "passwd"])
def test_a_service_that_nobody_named_is_refused(pc: CabinetPc, service: str) -> None:
    """The card answers an allow-list; what is four digits stays away from the password, too."""
    pc.insert("doctor")
    for verb in ("verify", "last"):
        assert pc.ask(verb, pin=PIN, service=service)["code"] == "peer-not-allowed"
    assert pc.ask("ask", service=service)["next"] == "password"
    assert pc.readers.apdu_count == 0


def test_the_administrator_names_services(pc: CabinetPc) -> None:
    """One at the screen opens what is there; one away from it is answered, and opens nothing."""
    pc.insert("doctor")
    pc.desktop.log_in("root")
    pc.authority._services = PamSettings(lockers=("my-locker",), others=("smtp",))
    assert pc.ask("verify", pin=PIN, service="smtp")["code"] == "verified"
    assert pc.owners.all() == {}
    assert pc.ask("verify", pin=PIN, service="my-locker")["code"] == "verified"
    assert "root" in pc.owners.all()


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
def test_a_refused_holder_costs_no_attempt(pc: CabinetPc, persona: str, code: str) -> None:
    """What is wrong with the card or its holder is said before any PIN is compared."""
    card = pc.insert(persona)
    if persona != "pharmacist":
        pc.allow(persona, "root")
    before = card.pin_attempts_left
    assert pc.ask("ask")["attempts_left"] in (None, 0)
    assert pc.ask("verify", pin=PIN)["code"] == code
    assert card.pin_attempts_left == before


def test_a_card_opens_only_its_own_accounts(pc: CabinetPc) -> None:
    """The doctor's card and PIN do not open an account that is another's."""
    card = pc.insert("doctor")
    reply = pc.ask("verify", account="nobody", pin=PIN)
    assert (reply["result"], reply["code"]) == ("PAM_PERM_DENIED", "holder-not-allowed")
    assert card.pin_attempts_left == 3


def test_no_card_and_no_service(pc: CabinetPc) -> None:
    """An empty reader and a dead PC/SC service are two different refusals."""
    assert pc.ask("verify", pin=PIN)["code"] == "no-card"
    pc.readers.stop_service()
    assert pc.ask("verify", pin=PIN)["code"] == "reader-service-lost"


def test_a_card_pulled_on_the_way_refuses(pc: CabinetPc) -> None:
    """Whichever command the card leaves at, the answer is no."""
    pc.insert("doctor")
    pc.readers.before_transmit = lambda number, _command: (
        pc.readers.remove("Reader 0") if number == 20 else None
    )
    reply = pc.ask("verify", pin=PIN)
    assert reply["result"] == "PAM_AUTH_ERR"
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
        b"cps2 ask root x\n",
        b"cps1 ask root\n",
        b"cps1 ask root x last-attempt-allowed\n",
        b"cps1 ask root x \n",
        b"cps1  ask root x\n",
        b"cps1 ask root x\r\n",
        b"cps1 ask root\0 x\n",
        b"cps1 ask ../root x\n",
        b"cps1 ask -root x\n",
        b"cps1 ask root x\nmore",
        b"cps1 require root x\nmore",
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
        connection.sendall(b"cps1 verify root login\n\x049999")
        connection.shutdown(socket.SHUT_WR)
        has_gone.set()
        assert b" pin-entry-cancelled " in connection.makefile("rb").read()
    assert card.pin_attempts_left == 3


def test_an_account_that_does_not_exist_is_refused(pc: CabinetPc) -> None:
    """Even root cannot ask for nobody's account."""
    pc.insert("doctor")
    assert pc.ask("verify", account="no-such-account", pin=PIN)["code"] == "peer-not-allowed"


def test_wrong_pins_are_rate_limited_by_program(pc: CabinetPc) -> None:
    """What was right does not count; one program's wrong ones do not close another's door."""
    card = pc.insert("doctor")
    for _ in range(7):
        assert pc.ask("verify", pin=PIN)["code"] == "verified"
    for _ in range(5):
        assert pc.ask("verify", pin=b"9999")["code"] == "wrong-pin"
        assert card.pin_attempts_left == 2
        assert pc.ask("verify", pin=PIN, service="login")["code"] == "verified"
    before = pc.readers.apdu_count
    assert pc.ask("verify", pin=PIN)["code"] == "too-many-requests"
    assert pc.readers.apdu_count == before
    assert pc.ask("verify", pin=PIN, service="login")["code"] == "verified"
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
        assert pc.ask("ask")["code"] == "question"
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
