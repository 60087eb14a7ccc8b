"""The administrator's one-time codes: few, short-lived, hashed, used once, and heard of."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cps_auth.errors import ConfigurationError
from cps_auth.session_lock import LockPhase
from pam_helper.accounts.one_time_codes import LIFETIME, MAX_PER_ACCOUNT, OneTimeCodes
from pam_helper.daemon.answering import answer
from pam_helper.daemon.protocol import Peer

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture
def codes(tmp_path: Path) -> OneTimeCodes:
    """No codes yet."""
    return OneTimeCodes(tmp_path / "state" / "codes.json")


def _typed(code: str) -> bytearray:
    return bytearray(code.replace("-", ""), "ascii")


def test_a_code_works_once(codes: OneTimeCodes) -> None:
    """The second use of the same code is refused, in a new process too."""
    code = codes.issue("a", LIFETIME, at=AT)
    assert codes.left("a", at=AT) == 1
    assert codes.use("a", _typed(code), at=AT)
    assert not codes.use("a", _typed(code), at=AT)
    assert codes.left("a", at=AT) == 0


def test_a_code_is_its_accounts_own_and_short_lived(codes: OneTimeCodes) -> None:
    """Another account, a moment too late, and a clock set back are all refused."""
    code = codes.issue("a", timedelta(hours=1), at=AT)
    assert not codes.use("b", _typed(code), at=AT)
    assert not codes.use("a", _typed(code), at=AT + timedelta(hours=1))
    assert not codes.use("a", _typed(code), at=AT - timedelta(seconds=1))
    assert codes.use("a", _typed(code), at=AT + timedelta(minutes=59))


def test_codes_are_few_and_not_for_ever(codes: OneTimeCodes) -> None:
    """A fourth live code and a code for two days are refused; an expired one makes room."""
    for _ in range(MAX_PER_ACCOUNT):
        codes.issue("a", LIFETIME, at=AT)
    with pytest.raises(ConfigurationError):
        codes.issue("a", LIFETIME, at=AT)
    with pytest.raises(ConfigurationError):
        codes.issue("b", timedelta(days=2), at=AT)
    codes.issue("a", LIFETIME, at=AT + LIFETIME)
    assert codes.revoke("a") == 1
    assert codes.left("a", at=AT) == 0


def test_no_file_holds_a_code(codes: OneTimeCodes, tmp_path: Path) -> None:
    """Only the salted hash is kept, in a file that root alone can read."""
    code = codes.issue("a", LIFETIME, at=AT)
    path = tmp_path / "state" / "codes.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["codes.json"]
    (stored,) = json.loads(path.read_bytes())
    assert stored["argon2"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    for part in (code, code.replace("-", ""), code[:4]):
        assert part.encode() not in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'[{"account":"a"}]', b"\xff"])
def test_a_file_that_cannot_be_believed_lets_nobody_in(
    codes: OneTimeCodes, tmp_path: Path, content: bytes
) -> None:
    """Rubbish is an error, never an empty list that would be written over."""
    code = codes.issue("a", LIFETIME, at=AT)
    path = tmp_path / "state" / "codes.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        codes.use("a", _typed(code), at=AT)
    assert path.read_bytes() == content


def test_two_uses_at_once_are_one(codes: OneTimeCodes) -> None:
    """However many try the same code at the same time, one gets in."""
    code = codes.issue("a", LIFETIME, at=AT)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(codes.use("a", _typed(code), at=AT)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 5 + [True]


def test_a_forgotten_card_offers_the_code_and_it_lets_in(
    pc: CabinetPc, caplog: pytest.LogCaptureFixture
) -> None:
    """The question says that a code may come; its use is answered, shown and shouted."""
    assert pc.ask("ask")["next"] == "any"
    code = pc.codes.issue("root", LIFETIME, at=datetime.now(UTC))
    assert pc.ask("ask")["next"] == "any+code"
    with caplog.at_level(logging.INFO):
        reply = pc.ask("code", pin=bytes(_typed(code)))
    assert reply["raw"].startswith(b"PAM_SUCCESS code-accepted - -\n")
    assert "0 left" in str(reply["lines"])
    shouted = [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL]
    assert any("ONE-TIME CODE USED for account root" in line for line in shouted)
    assert not any(code.replace("-", "") in r.getMessage() for r in caplog.records)
    assert pc.ask("code", pin=bytes(_typed(code)))["code"] == "code-refused"
    assert pc.ask("ask")["next"] == "any"


def test_wrong_codes_are_rate_limited(pc: CabinetPc) -> None:
    """The sixth try of a minute is refused, the right code or not; at another service it counts."""
    code = pc.codes.issue("root", LIFETIME, at=datetime.now(UTC))
    for _ in range(5):
        assert pc.ask("code", pin=b"A" * 12)["code"] == "code-refused"
    assert pc.ask("code", pin=bytes(_typed(code)))["code"] == "too-many-requests"
    assert pc.ask("code", pin=bytes(_typed(code)), service="login")["code"] == "code-accepted"


@pytest.mark.parametrize("typed", [b"", b"1234", b"A" * 11, b"A" * 13])
def test_what_is_not_a_code_is_refused(pc: CabinetPc, typed: bytes) -> None:
    """Another length is refused before anything is hashed, and no card hears of it."""
    pc.insert("doctor")
    assert pc.ask("code", pin=typed)["code"] == "pin-malformed"
    assert pc.readers.apdu_count == 0


def test_a_full_disk_lets_nobody_in(pc: CabinetPc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that cannot be struck off on disk is not believed."""
    code = pc.codes.issue("root", LIFETIME, at=datetime.now(UTC))

    def no_space(*_: object) -> None:
        raise ConfigurationError("No space left on device")

    monkeypatch.setattr("pam_helper.accounts.one_time_codes.write_protected", no_space)
    assert pc.ask("code", pin=bytes(_typed(code)))["code"] == "configuration-error"
    monkeypatch.undo()
    assert pc.ask("code", pin=bytes(_typed(code)))["code"] == "code-accepted"


@pytest.mark.parametrize(
    "asked", [{"service": "sshd"}, {"account": "no-such-account"}], ids=["from afar", "nobody"]
)
def test_a_code_is_for_who_is_here(pc: CabinetPc, asked: dict[str, str]) -> None:
    """What would not be asked for a PIN is not asked for a code, and strikes none off."""
    code = bytes(_typed(pc.codes.issue("root", LIFETIME, at=datetime.now(UTC))))
    assert pc.ask("code", pin=code, **asked)["code"] == "peer-not-allowed"
    assert pc.ask("code", pin=code)["code"] == "code-accepted"


def test_an_asker_who_has_gone_keeps_the_code(pc: CabinetPc) -> None:
    """Nobody hears the answer, so there is none, and the code is good for another try."""
    code = bytes(_typed(pc.codes.issue("root", LIFETIME, at=datetime.now(UTC))))
    asker, daemon = socket.socketpair()
    with asker:
        asker.sendall(b"cps1 code root login\n\x0c" + code)
        asker.shutdown(socket.SHUT_WR)
        with daemon:
            answer(daemon, Peer(os.getpid(), 0), pc.authority, "en")
        assert b" pin-entry-cancelled " in asker.makefile("rb").read()
    assert pc.ask("code", pin=code)["code"] == "code-accepted"


@pytest.mark.parametrize(("service", "is_followed"), [("sudo", True), ("xsecurelock", False)])
def test_which_codes_release_the_session_from_its_card(
    pc: CabinetPc, service: str, is_followed: bool
) -> None:
    """One that opens the session does; one that a command inside it asked for does not."""
    pc.insert("doctor")
    pc.desktop.log_in("root")
    assert pc.ask("verify", pin=b"1234")["code"] == "verified"
    code = bytes(_typed(pc.codes.issue("root", LIFETIME, at=datetime.now(UTC))))
    assert pc.ask("code", pin=code, service=service)["code"] == "code-accepted"
    assert (pc.sessions._bound["root"].phase is not LockPhase.ENDED) is is_followed
    owner = pc.owners.owner_of("root")
    assert owner is not None
    assert owner.is_followed is is_followed, "it stays its holder's own"
