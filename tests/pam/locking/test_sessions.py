"""What happens to the session when the card, the readers or the daemon go."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from cps_auth.errors import CardBusy, CpsAuthError, HolderNotAllowed
from cps_auth.model import CardEvent, CardEventKind
from cps_auth.session_lock import LockPhase
from pam_helper.daemon import authority
from pam_helper.daemon import run as daemon
from pam_helper.daemon.authority import Asker
from pam_helper.daemon.protocol import Peer, Request
from pam_helper.locking import lock_round
from pam_helper.locking.lockers import (
    DesktopSession,
    LockerExit,
    Locking,
    LockProof,
)
from pam_helper.locking.running_lockers import FOLDER, RunningLockers
from pam_helper.locking.session_owners import Login, SessionOwner, SessionOwners
from pam_helper.locking.sessions import BoundSessions

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import

PIN = b"1234"
READER = "Reader 0"
LOGIN = Login(os.getpid(), "xsecurelock")


def _await(condition: Any) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.005)


def _lock_with(pc: CabinetPc, *lockers: Any, **how: Any) -> None:
    """Give the PC and its open session another way to lock."""
    locking = pc.sessions._locking = Locking(pc.desktop, lockers or (pc.desktop,), **how)
    if bound := pc.sessions._bound.get("root"):
        bound.settle(10)
        bound._locking = bound._round._locking = bound._round.attempts._locking = locking


def _phase(pc: CabinetPc, account: str = "root") -> LockPhase:
    phase = pc.sessions._bound[account].phase
    assert isinstance(phase, LockPhase)
    return phase


@pytest.fixture
def session(pc: CabinetPc) -> DesktopSession:
    """The doctor's session on root, opened by card and PIN."""
    pc.insert("doctor")
    session: DesktopSession = pc.desktop.log_in("root")
    assert pc.ask("verify", pin=PIN)["code"] == "verified"
    return session


def test_pulling_the_card_locks(pc: CabinetPc, session: DesktopSession) -> None:
    """The session of the card that left is locked and confirmed."""
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert pc.desktop.locked == {session}


@pytest.mark.parametrize("fault", ["remove", "drop_reader", "stop_service"])
def test_a_watcher_that_is_late_locks_all_the_same(
    pc: CabinetPc, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Inserted, verified and gone while the watcher was busy: it saw no card, and one has left."""
    is_busy, go_on = threading.Event(), threading.Event()
    bound = pc.sessions._all

    def busy() -> Any:
        if threading.current_thread().name == "cps-auth-cards" and not go_on.is_set():
            is_busy.set()
            go_on.wait(10)
        return bound()

    monkeypatch.setattr(pc.sessions, "_all", busy)
    pc.readers.add_reader("Another reader")
    assert is_busy.wait(10)
    pc.insert("doctor")
    session = pc.desktop.log_in("root")
    assert pc.ask("verify", pin=PIN)["code"] == "verified"
    if fault == "stop_service":
        pc.readers.stop_service()
    else:
        getattr(pc.readers, fault)(READER)
    go_on.set()
    _await(lambda: pc.desktop.locked == {session})


@pytest.mark.parametrize("fault", ["stop_service", "drop_reader", "swap"])
def test_whatever_hides_the_card_locks(pc: CabinetPc, session: DesktopSession, fault: str) -> None:
    """A dead service, a reader unplugged and a card exchanged all lock."""
    if fault == "swap":
        pc.readers.remove(READER)
        pc.insert("pharmacist")
    elif fault == "drop_reader":
        pc.readers.drop_reader(READER)
    else:
        pc.readers.stop_service()
    _await(lambda: pc.desktop.locked == {session})


def test_the_return_of_the_card_changes_nothing(pc: CabinetPc, session: DesktopSession) -> None:
    """Only card and PIN unlock."""
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.insert("doctor")
    assert pc.ask("ask")["attempts_left"] == 3
    assert _phase(pc) is LockPhase.LOCKED
    assert pc.ask("verify", pin=b"9999")["code"] == "wrong-pin"
    assert _phase(pc) is LockPhase.LOCKED
    assert pc.ask("verify", pin=PIN)["code"] == "verified"
    assert _phase(pc) is LockPhase.OPENING
    pc.desktop.fall(session, ended_well=True)
    _await(lambda: _phase(pc) is LockPhase.OPEN)


def test_sudo_neither_opens_nor_unlocks(pc: CabinetPc, session: DesktopSession) -> None:
    """A step-up inside a session says yes to its caller and leaves the screen as it is."""
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN, service="sudo")["code"] == "verified"
    assert _phase(pc) is LockPhase.LOCKED
    assert pc.desktop.locked == {session}


def test_another_holder_cannot_take_a_session_over(pc: CabinetPc, session: DesktopSession) -> None:
    """A colleague who shares the account does not get into the doctor's open session."""
    pc.allow("pharmacist", "root")
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    card = pc.insert("pharmacist")
    reply = pc.ask("verify", pin=PIN)
    assert reply["code"] == "holder-not-allowed"
    assert card.pin_attempts_left == 3
    assert pc.desktop.locked == {session}


def test_after_the_session_the_account_is_free(pc: CabinetPc, session: DesktopSession) -> None:
    """Once the doctor's session is over, a colleague opens the shared account."""
    pc.allow("pharmacist", "root")
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.desktop.there["root"] -= {session}
    pc.insert("pharmacist")
    assert pc.ask("verify", pin=PIN)["code"] == "verified"
    assert _phase(pc) is LockPhase.OPENING
    assert pc.sessions._owners.owner_of("root").ps_idnat == "899900000029"


def test_opening_by_card_ends_the_belief_in_what_covered(
    pc: CabinetPc, session: DesktopSession
) -> None:
    """A locker's process that goes on running then is no cover to the next daemon."""
    running = RunningLockers(pc.folder)
    _lock_with(pc, running=running)
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    running.put(session.session_id, "command", os.getpid(), is_confirmed=True)
    assert len(list((pc.folder / FOLDER).iterdir())) == 1
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN)["result"] == "PAM_SUCCESS"
    assert list((pc.folder / FOLDER).iterdir()) == []


def test_a_one_time_code_ends_the_belief_in_what_covered(
    pc: CabinetPc, session: DesktopSession
) -> None:
    """As the card does."""
    running = RunningLockers(pc.folder)
    _lock_with(pc, running=running)
    running.put(session.session_id, "command", os.getpid(), is_confirmed=True)
    pc.sessions.release("root")
    assert list((pc.folder / FOLDER).iterdir()) == []


@pytest.mark.usefixtures("session")
def test_while_logind_is_silent_another_holder_is_refused(pc: CabinetPc) -> None:
    """Whether the doctor's session is over cannot be told, so it is not."""
    pc.allow("pharmacist", "root")
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.desktop.answers = False
    pc.insert("pharmacist")
    assert pc.ask("verify", pin=PIN)["code"] == "holder-not-allowed"


def test_a_lock_that_nobody_confirms_hides_the_screen(
    pc: CabinetPc, session: DesktopSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: the screen is hidden, and lockers are asked until one does."""
    monkeypatch.setattr(lock_round, "HIDE_AFTER_S", 0.0)
    monkeypatch.setattr(lock_round, "AGAIN_S", 0.01)
    _lock_with(pc, next_after_s=0.01)
    pc.desktop.locks = False
    pc.readers.remove(READER)
    _await(lambda: pc.desktop.hidden == {session})
    assert _phase(pc) is LockPhase.LOCKING
    pc.desktop.locks = True
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert (pc.desktop.locked, pc.desktop.hidden) == ({session}, set())
    assert "terminate" not in pc.desktop.done


def test_where_the_settings_say_so_what_nobody_locks_is_ended(
    pc: CabinetPc, session: DesktopSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time of the settings, and not while something says that it covers the screen.

    Nor is it hidden then: nobody could type a code at a lock screen that is out of sight.
    """
    monkeypatch.setattr(lock_round, "AGAIN_S", 0.01)
    monkeypatch.setattr(lock_round, "HIDE_AFTER_S", 0.0)
    _lock_with(pc, next_after_s=0.01, end_after_s=0.05)
    pc.desktop.locks = False
    pc.desktop.locked.add(session)  # by somebody else, before
    pc.readers.remove(READER)
    time.sleep(0.2)
    assert (_phase(pc), pc.desktop.hidden) == (LockPhase.LOCKING, set())
    pc.desktop.locked.clear()
    _await(lambda: _phase(pc) is LockPhase.ENDED)
    assert pc.desktop.there["root"] == frozenset()


@pytest.mark.usefixtures("session")
def test_a_session_that_does_not_end_is_tried_again(
    pc: CabinetPc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ending goes on until it has worked, and nobody gets the session back meanwhile."""
    monkeypatch.setattr(lock_round, "AGAIN_S", 0.01)
    _lock_with(pc, next_after_s=0.01, end_after_s=0.01)
    pc.desktop.locks = pc.desktop.ends = False
    pc.readers.remove(READER)
    _await(lambda: pc.desktop.done.count("terminate") > 2)
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN)["result"] != "PAM_SUCCESS"
    pc.desktop.ends = True
    _await(lambda: _phase(pc) is LockPhase.ENDED)


@pytest.mark.usefixtures("session")
def test_what_is_opened_while_another_session_is_being_ended_stays(
    pc: CabinetPc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new session of the account is not taken for the one that no locker could lock."""
    monkeypatch.setattr(lock_round, "AGAIN_S", 0.01)
    _lock_with(pc, next_after_s=0.01, end_after_s=0.01)
    pc.desktop.locks = pc.desktop.ends = False
    pc.readers.remove(READER)
    _await(lambda: pc.desktop.done.count("terminate") > 2)
    new = pc.desktop.log_in("root", name="c9", leader_pid=1)
    pc.desktop.ends = True
    _await(lambda: _phase(pc) is LockPhase.ENDED)
    assert pc.desktop.there["root"] == {new}


def test_the_second_locker_is_asked_for_what_the_first_left(pc: CabinetPc) -> None:
    """A screen that one locker confirmed is not asked of the next; a text console is ended."""
    asked: list[tuple[str, str]] = []

    class Partial:
        needs_logind = False

        def __init__(self, name: str, kind: str) -> None:
            self.name, self._kind = name, kind

        def lock(self, session: DesktopSession, _exited: LockerExit, *, opening: bool) -> LockProof:
            asked.append((self.name, session.session_id))
            assert not opening
            return LockProof.SEEN if session.kind == self._kind else LockProof.NONE

    _lock_with(pc, Partial("first", "x11"), Partial("second", "wayland"))
    x11 = pc.desktop.log_in("root", name="c1")
    wayland = pc.desktop.log_in("root", name="c3", kind="wayland")
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN)["code"] == "verified"
    assert pc.ask("verify", pin=PIN, service="login")["code"] == "verified"
    console = pc.desktop.log_in("root", name="c2", kind="tty")
    pc.sessions.look_again()
    pc.sessions._bound["root"].settle(10)
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert sorted(asked) == [("first", "c1"), ("first", "c3"), ("second", "c3")]
    assert pc.desktop.there["root"] == {x11, wayland}
    assert console not in pc.desktop.there["root"]


def test_a_locker_that_crashes_is_not_a_lock(
    pc: CabinetPc, session: DesktopSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an exception nobody foresaw, locking starts over until it is confirmed."""
    monkeypatch.setattr(lock_round, "AGAIN_S", 0.01)
    _lock_with(pc, next_after_s=0.01)
    real, crashes = pc.desktop.lock, [RuntimeError("first"), RuntimeError("second")]

    def crash(session: DesktopSession, exited: LockerExit, *, opening: bool) -> LockProof:
        if crashes:
            raise crashes.pop()
        return real(session, exited, opening=opening)

    pc.desktop.lock = crash
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert pc.desktop.locked == {session}


@pytest.mark.parametrize("policy", ["lock-again", "accept"])
@pytest.mark.parametrize("ended_well", [True, False])
def test_a_locker_that_goes(
    pc: CabinetPc, session: DesktopSession, policy: str, ended_well: bool
) -> None:
    """One that died is put back; one that a password has ended only if no password counts."""
    _lock_with(pc, locks_again=policy == "lock-again")
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.desktop.fall(session, ended_well=ended_well)
    pc.sessions._bound["root"].settle(10)
    if policy == "accept" and ended_well:
        assert (_phase(pc), pc.desktop.locked) == (LockPhase.ENDED, set())
    else:
        assert (_phase(pc), pc.desktop.locked) == (LockPhase.LOCKED, {session})


def test_a_screen_that_opens_after_the_pull_is_covered_again(
    pc: CabinetPc, session: DesktopSession
) -> None:
    """The login opened it, though late: it is never taken for a password."""
    _lock_with(pc, locks_again=False)
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN)["result"] == "PAM_SUCCESS"
    pc.desktop.locks = False  # a second locker cannot take the screen while the first covers it
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKING)
    pc.desktop.locks = True
    pc.desktop.fall(session, ended_well=True)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert pc.desktop.locked == {session}
    pc.desktop.fall(session, ended_well=True)
    _await(lambda: _phase(pc) is LockPhase.ENDED)  # now a password has opened it
    assert "terminate" not in pc.desktop.done


@pytest.mark.usefixtures("session")
def test_while_logind_is_silent_nobody_waits_for_those_who_need_it(pc: CabinetPc) -> None:
    """A locker that talks to logind is left out of the round; the next one is asked at once."""
    asked: list[str] = []

    class AsksLogind:
        name, needs_logind = "logind", True

        def lock(
            self, _session: DesktopSession, _exited: LockerExit, *, opening: bool
        ) -> LockProof:
            del opening
            asked.append(self.name)
            return LockProof.NONE

    _lock_with(pc, AsksLogind(), pc.desktop)
    pc.desktop.answers = False
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert (asked, pc.desktop.done) == ([], ["lock"])


def test_a_card_pulled_before_the_session_is_there_locks_it_when_it_comes(
    pc: CabinetPc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that a login opens after the card has left is locked as it appears."""
    monkeypatch.setattr(lock_round, "AGAIN_S", 0.01)
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN, service="login")["code"] == "verified"
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKING)
    session = pc.desktop.log_in("root")
    _await(lambda: pc.desktop.locked == {session})


def test_a_session_that_appears_late_is_followed_as_any_other(pc: CabinetPc) -> None:
    """However long the login program takes; a password's session beside it follows no card."""
    pc.insert("doctor")
    assert pc.ask("verify", pin=PIN, service="gdm-password")["code"] == "verified"
    other = pc.desktop.log_in("root", name="c1", leader_pid=1)
    pc.sessions.look_again()
    pc.sessions._bound["root"].settle(10)
    session = pc.desktop.log_in("root", name="c2")
    pc.sessions.look_again()
    _await(lambda: _phase(pc) is LockPhase.OPEN)
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    assert pc.desktop.locked == {session}
    assert other not in pc.desktop.locked


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_card_pulled_as_the_answer_is_made_is_no_login(
    pc: CabinetPc, session: DesktopSession, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Presence is read again before anything is bound, and after; what covers stays."""
    pc.readers.remove(READER)
    _await(lambda: _phase(pc) is LockPhase.LOCKED)
    pc.insert("doctor")
    real, asked = authority._require_stayed, pc.desktop.done.count("lock")

    def late(card: Any) -> None:
        if when == "before":
            pc.readers.remove(READER)
        real(card)
        when == "during" and pc.readers.remove(READER)  # type: ignore[func-returns-value]

    monkeypatch.setattr(authority, "_require_stayed", late)
    reply = pc.ask("verify", pin=PIN)
    assert (reply["result"], reply["code"]) == ("PAM_AUTH_ERR", "card-removed")
    pc.sessions._bound["root"].settle(1)
    assert pc.desktop.locked == {session}
    assert "terminate" not in pc.desktop.done
    if when == "before":
        assert (_phase(pc), pc.desktop.done.count("lock")) == (LockPhase.LOCKED, asked)


def test_a_stopped_watcher_locks_everything(pc: CabinetPc, session: DesktopSession) -> None:
    """Nobody watches, so nobody knows that the card is still there."""
    pc.sessions.feed_card_event(CardEvent(CardEventKind.WATCHER_STOPPED))
    _await(lambda: pc.desktop.locked == {session})


def test_stopping_the_daemon_locks(pc: CabinetPc, session: DesktopSession) -> None:
    """When the daemon stops in order, the session is locked before it is gone."""
    pc.sessions.close(10)
    assert pc.desktop.locked == {session}
    assert pc.ask("verify", pin=PIN)["result"] != "PAM_SUCCESS"


def test_a_new_daemon_locks_what_the_old_one_left(pc: CabinetPc, session: DesktopSession) -> None:
    """After a daemon that was killed, its session is locked, and stays its holder's own."""
    pc.allow("pharmacist", "root")
    owners = SessionOwners(pc.folder / "sessions.json")
    successor = BoundSessions(Locking(pc.desktop, (pc.desktop,)), owners)
    successor.lock_left_open(within_s=10)
    assert pc.desktop.locked == {session}
    assert owners.owner_of("root") == SessionOwner("899900000011", ("croot",))
    successor.close(10)


@pytest.mark.parametrize("broken", ["trust", "config"])
def test_a_daemon_that_cannot_start_locks_what_was_left(
    pc: CabinetPc, session: DesktopSession, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Trust or settings that cannot be used keep nobody's session open."""
    (pc.folder / "config.toml").write_text("rubbish" if broken == "config" else "")
    options = daemon.DaemonOptions(
        config=pc.folder / "config.toml",
        socket=pc.folder / "next.sock",
        state=pc.folder,
        trust=pc.folder / "nothing",
    )
    monkeypatch.setattr(daemon, "_stop_on_signals", lambda _: None)
    monkeypatch.setattr(daemon, "_forbid_core_dumps", lambda: None)
    monkeypatch.setattr(daemon, "locking_of", lambda *_: Locking(pc.desktop, (pc.desktop,)))
    with pytest.raises(CpsAuthError):
        daemon.run(options)
    assert pc.desktop.locked == {session}


def test_what_an_old_daemon_left_is_watched_as_any_other(
    pc: CabinetPc, session: DesktopSession
) -> None:
    """A cover that falls is put back; a colleague does not get in, the holder does."""
    owners = SessionOwners(pc.folder / "sessions.json")
    successor = BoundSessions(Locking(pc.desktop, (pc.desktop,)), owners)
    successor.lock_left_open(within_s=10)
    left = successor._bound["root"]
    assert left.phase is LockPhase.LOCKED
    pc.desktop.fall(session, ended_well=False)
    left.settle(10)
    assert pc.desktop.locked == {session}
    asker = Asker(Peer(os.getpid(), 0))
    assert pc.authority.decide(Request("verify", "root", "sudo"), bytearray(PIN), asker).is_yes
    holder = asker.holder
    assert holder is not None
    other = replace(holder, practitioner=replace(holder.practitioner, ps_idnat="899900000029"))
    with pytest.raises(HolderNotAllowed):
        successor.may_open("root")(other.practitioner)
    with pytest.raises(CardBusy):
        left.reopen(other, READER, LOGIN, 10) or successor.bind("root", other, READER, LOGIN)
    assert pc.desktop.locked == {session}
    successor.bind("root", holder, READER, LOGIN)
    assert left.phase is LockPhase.OPENING
    pc.desktop.fall(session, ended_well=True)
    left.settle(10)
    assert left.phase is LockPhase.OPEN
    successor.close(10)
    assert pc.desktop.locked == {session}


def test_a_new_daemon_waits_for_logind_to_lock(
    pc: CabinetPc, session: DesktopSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While logind does not answer a new daemon goes on trying."""
    monkeypatch.setattr("pam_helper.locking.lock_round.AGAIN_S", 0.01)
    pc.desktop.answers = False
    owners = SessionOwners(pc.folder / "sessions.json")
    successor = BoundSessions(Locking(pc.desktop, (pc.desktop,)), owners)
    successor.lock_left_open(within_s=0.05)
    assert pc.desktop.locked == set()
    pc.desktop.answers = True
    _await(lambda: pc.desktop.locked == {session})
    successor.close(1)


def test_a_new_daemon_forgets_a_session_that_is_over(pc: CabinetPc) -> None:
    """Nothing is left to lock, and the account is free."""
    owners = SessionOwners(pc.folder / "other.json")
    owners.put("root", SessionOwner("899900000011", ("c1",)))
    BoundSessions(Locking(pc.desktop, (pc.desktop,)), owners).lock_left_open(within_s=10)
    assert SessionOwners(pc.folder / "other.json").all() == {}
