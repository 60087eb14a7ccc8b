"""A module process that a program which stays keeps: for the same card, while nothing changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cps_auth.card.pkcs11 import pool
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import CardRemoved, LastAttempt, NoCard, WrongPin
from cps_auth.model import Challenge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

pytestmark = pytest.mark.system

READER = "Reader 00 00"
REMOVABLE = """
static word info(word slot, unsigned char *info) {{
    word rv = ((word (*)(word, unsigned char *))real->call[5])(slot, info);
    memset(info, ' ', 64); memcpy(info, "{reader}", {length});
    *(word *)(info + 96) |= 2;
    return rv;
}}
{more}
static void override(void) {{
    FILE *log = fopen("{log}", "a");
    if (!log || fprintf(log, "%d\\n", getpid()) < 0) abort();
    fclose(log);
    ours.call[5] = info; {install}
}}
"""
"""A module whose every slot is the one reader; C_GetSlotInfo is number 5 of the list."""


class Bench:
    """SoftHSM2 behind a reader, and a source that keeps a process."""

    def __init__(self, compile_shim, igc, log: Path, *, more: str = "", install: str = "") -> None:
        self.readers = VirtualReaders(READER)
        self.card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), "cps3")
        self.readers.insert(READER, self.card)
        self._log = log
        parts = {"reader": READER, "length": len(READER), "more": more, "install": install}
        module = compile_shim(REMOVABLE.format(log=log, **parts))
        self.cards = Pkcs11Cards(module, self.readers.service, keeps=True)

    @property
    def started(self) -> list[int]:
        """The processes that loaded the module, in their order."""
        return [int(line) for line in self._log.read_text().split()]

    def look(self) -> None:
        """Do what precedes a PIN."""
        with self.cards.open_card() as card:
            card.read_authentication_certificate()
            card.pin_attempts_left()

    def log_in(self, challenge: Challenge, pin: bytes = b"1234") -> None:
        """Do what follows it."""
        with self.cards.open_card() as card:
            card.verify_pin_and_sign(bytearray(pin), challenge)


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(compile_shim, igc, tmp_path) -> MakeBench:
    """Makes a bench with a bug, or none."""
    return lambda **bug: Bench(compile_shim, igc, tmp_path / "loaded", **bug)


def test_one_process_looks_and_logs_in(bench: MakeBench, challenge) -> None:
    """The process that saw the card without a PIN serves the PIN, and none after it."""
    one = bench()
    one.look()
    one.look()
    one.log_in(challenge)
    assert len(one.started) == 1
    assert not _lives(one.started[0])
    one.look()
    assert len(one.started) == 2


def test_a_refusal_ends_it(bench: MakeBench, challenge) -> None:
    """What saw a wrong PIN is not kept."""
    one = bench()
    one.look()
    with pytest.raises(WrongPin):
        one.log_in(challenge, b"4321")
    assert not _lives(one.started[0])
    one.log_in(challenge)
    assert len(one.started) == 2


LAST_AFTER_REFUSAL = """
static int refused;
static word login(word session, word user, unsigned char *pin, word length) {{
    word rv = ((word (*)(word, word, unsigned char *, word))real->call[LOGIN])(
        session, user, pin, length);
    refused = rv == 0xA0;
    return rv;
}}
static word token(word slot, unsigned char *info) {{
    word rv = ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info);
    if (refused) *(word *)(info + 96) |= {flag};
    return rv;
}}
"""


@pytest.mark.parametrize(("flag", "left"), [("0x20000", 1), ("0x40000", 0), ("0", None)])
def test_a_refusal_tells_what_it_has_left(bench: MakeBench, challenge, flag, left) -> None:
    """As the token's flags are just after it, CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED."""
    install = "ours.call[GET_TOKEN_INFO] = token; ours.call[LOGIN] = login;"
    one = bench(more=LAST_AFTER_REFUSAL.format(flag=flag), install=install)
    one.look()
    with pytest.raises(WrongPin) as refused:
        one.log_in(challenge, b"4321")
    assert refused.value.attempts_left == left


def test_a_change_at_the_readers_ends_it(bench: MakeBench, challenge) -> None:
    """The same card taken out and put back is looked at by a module initialised since."""
    one = bench()
    one.look()
    one.readers.remove(READER)
    with pytest.raises(NoCard):
        one.look()
    assert len(one.started) == 2
    one.readers.insert(READER, one.card)
    one.look()
    one.readers.remove(READER)
    one.readers.insert(READER, one.card)
    one.log_in(challenge)
    assert len(one.started) == 4
    assert not any(map(_lives, one.started))


def test_a_card_pulled_before_the_pin_is_noticed(bench: MakeBench, challenge) -> None:
    """Kept or not, PC/SC has the last word."""
    one = bench()
    one.look()
    with one.cards.open_card() as card:
        one.readers.remove(READER)
        with pytest.raises(CardRemoved):
            card.read_authentication_certificate()
        with pytest.raises(CardRemoved):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert not card.has_stayed()


def test_attempts_spent_meanwhile_are_read_before_the_pin(bench, challenge, tmp_path) -> None:
    """The flags of the token are those of now, not of when the process was kept."""
    spent = tmp_path / "spent"
    token = (
        "static word token(word slot, unsigned char *info) {"
        " word rv = ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info);"
        f' if (access("{spent}", F_OK) == 0) *(word *)(info + 96) |= 0x20000; return rv; }}'
    )
    one = bench(more=token, install="ours.call[GET_TOKEN_INFO] = token;")
    one.look()
    spent.touch()
    with pytest.raises(LastAttempt):
        one.log_in(challenge)
    assert len(one.started) == 1


def test_a_program_ends_in_peace_while_one_is_kept(softhsm) -> None:
    """Its exit ends the kept process, and says nothing of it."""
    softhsm.add_token("doctor")
    program = (
        "import sys; from cps_auth.card.open import open_cards\n"
        "cards = open_cards(sys.argv[1], stays=True)\n"
        "with cards.open_card() as card: card.read_authentication_certificate()\n"
        "(kept,) = cards._pool._kept; print(kept.process.is_alive())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(softhsm.module)],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip()
    assert done.stderr == b""


COUNTED = """
static word search(word session, void *template, word count) {{
    int fd = open("{seen}", O_CREAT | O_APPEND | O_WRONLY, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1) abort();
    close(fd);
    return ((word (*)(word, void *, word))real->call[26])(session, template, count);
}}
"""
"""Writes a letter for each C_FindObjectsInit, which is number 26 of the list."""


def test_certificates_are_read_once_while_nothing_changes(bench, challenge, tmp_path) -> None:
    """Looks and the login share what was read; a card put back is read anew."""
    seen = tmp_path / "seen"
    one = bench(more=COUNTED.format(seen=seen), install="ours.call[26] = search;")
    one.look()
    searches = len(seen.read_text())
    one.look()
    assert len(seen.read_text()) == searches
    one.log_in(challenge)
    assert len(seen.read_text()) == searches + 1, "for the private key"
    one.look()
    one.readers.remove(READER)
    one.readers.insert(READER, one.card)
    before = len(seen.read_text())
    one.look()
    assert len(seen.read_text()) == before + searches


OTHER_SERIAL = """
static word token(word slot, unsigned char *info) {{
    word rv = ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info);
    if (access("{swapped}", F_OK) == 0) info[80] ^= 1;  /* serialNumber */
    return rv;
}}
static word login(word session, word user, unsigned char *pin, word length) {{
    first_time("{asked}");
    return ((word (*)(word, word, unsigned char *, word))real->call[LOGIN])(
        session, user, pin, length);
}}
"""


def test_another_token_sees_no_pin(bench: MakeBench, challenge, tmp_path) -> None:
    """Although PC/SC saw no swap: the token's serial is read in the breath of the PIN."""
    swapped, asked = tmp_path / "swapped", tmp_path / "asked"
    install = "ours.call[GET_TOKEN_INFO] = token; ours.call[LOGIN] = login;"
    one = bench(more=OTHER_SERIAL.format(swapped=swapped, asked=asked), install=install)
    one.look()
    with one.cards.open_card() as card:
        card.read_authentication_certificate()
        swapped.touch()
        with pytest.raises(CardRemoved):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert not asked.exists()
    swapped.unlink()
    one.log_in(challenge)
    assert asked.exists()


def test_a_spare_is_ready_before_it_is_needed(softhsm, challenge) -> None:
    """Started with the source and after each PIN; it loads the module for who comes next."""
    softhsm.add_token("doctor")
    before = _children()
    cards = Pkcs11Cards(softhsm.module, keeps=True)
    (spare,) = _children() - before
    with cards.open_card() as card:
        assert _children() - before == {spare}
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert spare not in _children()
    (following,) = _children() - before
    with cards.open_card() as card:
        assert _children() - before == {following}
        card.read_authentication_certificate()
    assert following in _children() - before
    assert len(_children() - before) == 2, "the one that is kept, and its spare"


def test_a_spare_that_died_is_no_harm(softhsm, challenge) -> None:
    """Another one is started when it is needed."""
    softhsm.add_token("doctor")
    before = _children()
    cards = Pkcs11Cards(softhsm.module, keeps=True)
    (spare,) = _children() - before
    os.kill(spare, signal.SIGKILL)
    os.waitid(os.P_PID, spare, os.WEXITED | os.WNOWAIT)
    with cards.open_card() as card:
        assert card.verify_pin_and_sign(bytearray(b"1234"), challenge).value


def test_no_process_is_left_by_who_keeps_none(softhsm) -> None:
    """A command that ends soon starts one process, and no spare."""
    softhsm.add_token("doctor")
    before = _children()
    cards = Pkcs11Cards(softhsm.module)
    assert _children() <= before
    with cards.open_card() as card:
        card.read_authentication_certificate()
        assert len(_children() - before) == 1
    assert _children() <= before


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGALRM])
def test_one_that_died_meanwhile_is_replaced(bench: MakeBench, challenge, fault) -> None:
    """Killed, or ended by itself after its time: the next login finds no fault."""
    one = bench()
    one.look()
    os.kill(one.started[0], fault)
    os.waitid(os.P_PID, one.started[0], os.WEXITED | os.WNOWAIT)
    one.log_in(challenge)
    assert len(one.started) == 2


@pytest.mark.parametrize("is_looked_at", [True, False])
def test_one_that_went_blind_is_replaced(
    bench: MakeBench, challenge, tmp_path, is_looked_at
) -> None:
    """A kept process that sees no card where PC/SC sees one is asked no more."""
    blind = tmp_path / "blind"
    token = (
        "static word token(word slot, unsigned char *info) {"
        f' FILE *file = fopen("{blind}", "r"); int pid = 0;'
        ' if (file) { if (fscanf(file, "%d", &pid) != 1) abort(); fclose(file); }'
        " if (pid == getpid()) return 0xE0;"
        " return ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info); }"
    )
    one = bench(more=token, install="ours.call[GET_TOKEN_INFO] = token;")
    one.look()
    blind.write_text(str(one.started[0]))
    if is_looked_at:
        one.look()
    one.log_in(challenge)
    assert len(one.started) == 2
    assert not any(map(_lives, one.started))


LOST_AT_LOGIN = """
static word login(word session, word user, unsigned char *pin, word length) {{
    int fd = open("{seen}", O_CREAT | O_APPEND | O_WRONLY, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1) abort();
    close(fd);
    return 0xE0;  /* CKR_TOKEN_NOT_PRESENT */
}}
"""


def test_what_has_seen_the_pin_is_not_tried_again(bench, challenge, tmp_path) -> None:
    """A kept process that fails with the PIN, not before it, is no reason to show it twice."""
    seen = tmp_path / "seen"
    one = bench(more=LOST_AT_LOGIN.format(seen=seen), install="ours.call[LOGIN] = login;")
    one.look()
    with pytest.raises(CardRemoved):
        one.log_in(challenge)
    assert seen.read_text() == "x"


def test_it_is_not_kept_for_ever(bench: MakeBench, monkeypatch) -> None:
    """After its time another one is started, and it has ended."""
    monkeypatch.setattr(pool, "_KEPT_FOR_S", -1.0)
    one = bench()
    one.look()
    one.look()
    assert len(one.started) == 2
    assert not _lives(one.started[0])


def test_a_suspend_ends_it(bench: MakeBench, challenge, monkeypatch) -> None:
    """While the computer slept cards may have been swapped, and nobody counted."""
    one = bench()
    one.look()
    monkeypatch.setattr(pool, "asleep_s", lambda: 10**9)
    one.log_in(challenge)
    assert len(one.started) == 2


def test_a_forked_process_leaves_it_alone(bench: MakeBench, challenge) -> None:
    """A worker that was forked starts its own, and does not end its parent's."""
    one = bench()
    one.look()
    worker = os.fork()
    if worker == 0:
        status = 1
        try:
            one.log_in(challenge)
            status = 0 if len(one.started) == 2 and _lives(one.started[0]) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    one.log_in(challenge)
    assert len(one.started) == 2, "the worker's and the one that was kept here"


def _children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
