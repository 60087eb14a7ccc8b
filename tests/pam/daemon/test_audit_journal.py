"""The PC's audit journal: logins, refusals, locks and what happens to sessions, in their order."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cps_auth.audit.entry import AuditEvent
from cps_auth.audit.handler import LOGGER_NAME, JournalHandler
from cps_auth.audit.verify import read_lines, verify_journal
from cps_auth.config import PamSettings, Settings
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.daemon.systemd import JournalHandler as SystemJournalHandler
from pam_helper.journal import keep_journal, note_settings, of_phase
from tests.pam.conftest import READER, CabinetPc


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a journal that this process keeps as the daemon does."""
    folder = tmp_path / "audit"
    keep_journal(folder, 12)
    logging.getLogger("pam_helper").setLevel(logging.INFO)
    yield folder
    for handler in _handlers(folder):
        for name in (LOGGER_NAME, "pam_helper"):
            logging.getLogger(name).removeHandler(handler)
    logging.getLogger("pam_helper").setLevel(logging.NOTSET)


def _handlers(folder: Path) -> list[JournalHandler]:
    return [
        handler
        for name in (LOGGER_NAME, "pam_helper")
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, JournalHandler) and handler.journal.folder == folder
    ]


def test_a_day_at_the_practice(pc: CabinetPc, folder: Path) -> None:
    """A wrong code, the right one, the card pulled: who, which card, which evidence, why."""
    pc.desktop.log_in("root")
    pc.insert("doctor")
    assert pc.ask("verify", pin=b"7351")["result"] != "PAM_SUCCESS"
    assert pc.ask("verify", pin=b"1234")["result"] == "PAM_SUCCESS"
    pc.readers.remove(READER)
    pc.sessions.await_locked(10)
    assert all(handler.journal.flush(10) for handler in _handlers(folder))
    entries = [line.entry for line in read_lines(folder)]
    events = [entry.event.value for entry in entries]
    assert events[0] == "login-refused"
    assert {"login", "locked"} <= set(events)
    refused, login = entries[0], entries[events.index("login")]
    assert (refused.outcome, refused.account) == ("wrong-pin", "root")
    assert login.holder
    assert login.card
    assert [one.source for one in login.evidence] == ["crl", "crl"]
    locked = entries[events.index("locked")]
    assert (locked.account, locked.holder) == ("root", login.holder)
    assert not verify_journal(folder).faults
    content = b"".join(path.read_bytes() for path in folder.glob("*.jsonl"))
    assert b'"7351' not in content
    assert b"7351 " not in content


def test_changed_settings_are_there_by_name(folder: Path) -> None:
    """By hand or by a command: the next start of the daemon says which, from what, to what."""
    strict = Settings(pam=PamSettings(card_required=("gdm-password",)))
    for settings in (Settings(), strict, strict, Settings(language="en")):
        note_settings(folder, settings)
    assert all(handler.journal.flush(10) for handler in _handlers(folder))
    entries = [line.entry for line in read_lines(folder)]
    assert {entry.event for entry in entries} == {AuditEvent.SETTINGS_CHANGED}
    assert [entry.detail for entry in entries] == [
        "pam.card_required: [] -> ['gdm-password']",
        "language: 'fr' -> 'en', pam.card_required: ['gdm-password'] -> []",
    ]


def test_every_entry_has_fields_for_the_systemd_journal(tmp_path: Path) -> None:
    """A lock as much as a login: `journalctl CPS_EVENT=locked CPS_ACCOUNT=camille`."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        extra = of_phase("camille", "899900000011", LockPhase.LOCKED, LockEvent.CARD_OUT)
        with contextlib.closing(SystemJournalHandler(path)) as handler:
            handler.emit(logging.makeLogRecord({"msg": "locked", "levelno": 30, **extra}))
        listening.settimeout(10)
        sent = listening.recv(65536)
    for name, value in (
        ("EVENT", b"locked"),
        ("ACCOUNT", b"camille"),
        ("REASON", LockEvent.CARD_OUT.value.encode()),
    ):
        assert f"CPS_{name}\n".encode() + len(value).to_bytes(8, "little") + value + b"\n" in sent
    assert b"PRIORITY\n" in sent


def test_a_journal_that_cannot_be_kept_locks_nobody_out(
    pc: CabinetPc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shouted about, and the login goes on."""
    (tmp_path / "file").touch()
    keep_journal(tmp_path / "file" / "audit", 12)
    assert "no audit journal is kept" in caplog.text
    pc.desktop.log_in("root")
    pc.insert("doctor")
    assert pc.ask("verify", pin=b"1234")["result"] == "PAM_SUCCESS"
