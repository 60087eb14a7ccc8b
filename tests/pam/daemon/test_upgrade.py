"""An upgrade of the package: the daemon gives way to its next version when no session is open."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from cps_auth.main_thread import MainThreadQueue
from cps_auth.session_lock import LockEvent
from pam_helper.daemon import run as daemon
from pam_helper.daemon import systemd

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import


def test_the_daemon_waits_for_the_last_open_session(pc: CabinetPc) -> None:
    """A session that a card has opened keeps it; one that is locked does not."""
    upgraded = pc.folder / daemon.UPGRADED_FILE
    pc.insert("doctor")
    pc.desktop.log_in("root")
    assert pc.ask("verify", pin=b"1234")["code"] == "verified"
    assert not daemon.may_give_way(upgraded, pc.sessions), "nobody upgraded"
    upgraded.touch()
    assert not daemon.may_give_way(upgraded, pc.sessions)
    pc.sessions.feed("root", LockEvent.CARD_OUT)
    pc.sessions.await_locked(10)
    assert daemon.may_give_way(upgraded, pc.sessions)
    assert pc.ask("verify", pin=b"1234")["code"] == "card-busy", "the next one lets in"


def test_without_a_session_it_gives_way_at_once(pc: CabinetPc) -> None:
    """Nothing is locked by it: there is nothing that it follows."""
    upgraded = pc.folder / daemon.UPGRADED_FILE
    upgraded.touch()
    assert daemon.may_give_way(upgraded, pc.sessions)


def test_it_ends_in_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Between two words to the watchdog it looks whether it may go, and says why it went."""
    told: list[str] = []
    answers = iter((False, False, True))
    monkeypatch.setattr(systemd, "watchdog_s", lambda: 0.02)
    monkeypatch.setattr(systemd, "notify", told.append)
    with MainThreadQueue[str]() as stop, caplog.at_level(logging.INFO):
        daemon.run_until(stop, lambda: True, lambda: next(answers))
    assert told == ["WATCHDOG=1"] * 2
    assert "upgraded" in caplog.text


def test_the_package_leaves_the_word_that_the_daemon_looks_for() -> None:
    """The file's name stands in both, by necessity."""
    root = Path(__file__).parents[3]
    postinst = (root / "packaging/debian/cps-auth.postinst").read_text()
    assert f": >{daemon.STATE_FOLDER}/{daemon.UPGRADED_FILE}\n" in postinst
