"""Events of logind: sleep, idle sessions, sessions that end, screens that open.

One thread, one D-Bus connection. It holds a delay inhibitor, so that the PC sleeps only after
its sessions are locked. When the bus or logind is lost everything is locked, because nobody
would tell of a suspend any more; then it connects again, for as long as the daemon runs.

Source: org.freedesktop.login1(5); https://systemd.io/INHIBITOR_LOCKS (delay locks).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from jeepney import MatchRule, Message, new_method_call  # type: ignore[import-untyped]  # jeepney ships no types
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]  # as above
from jeepney.io.blocking import DBusConnection, open_dbus_connection  # type: ignore[import-untyped]  # as above

from cps_auth.session_lock import LockEvent
from pam_helper.locking.logind import (
    BUS_NAME,
    MANAGER,
    SESSION,
    SESSION_CHANGES,
    call,
    list_sessions,
    properties,
)
from pam_helper.locking.sessions import BoundSessions

LOCKED_BEFORE_SLEEP_WITHIN_S = 4.0
"""logind waits InhibitDelayMaxSec for a delay inhibitor: 5 s by default (logind.conf(5))."""
LOOK_EVERY_S = 1.0
AGAIN_AFTER_S = 0.5

_log = logging.getLogger(__name__)


class DesktopEvents:
    """Feeds the sessions with what logind tells, until it is stopped."""

    def __init__(
        self, sessions: BoundSessions, restart_watcher: Callable[[], None], *, lock_on_idle: bool
    ) -> None:
        """Start to listen.

        Args:
            sessions: hears of it.
            restart_watcher: called on resume, so that presence is read anew.
            lock_on_idle: whether an idle session is locked.
        """
        self._sessions = sessions
        self._restart_watcher = restart_watcher
        self._lock_on_idle = lock_on_idle
        self._stopping = threading.Event()
        self._inhibitor: int | None = None
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logind events", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def wait_until_connected(self, within_s: float) -> None:
        """Wait until logind is listened to, or for so long."""
        self._connected.wait(within_s)

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        said = False
        while not self._stopping.is_set():
            try:
                with open_dbus_connection(bus="SYSTEM", enable_fds=True) as bus:
                    self._listen(bus)
            except Exception as error:  # jeepney raises many kinds, and all mean: lost
                if self._connected.is_set() or not said:
                    _log.error("logind's events are lost: %s %s", type(error).__name__, error)
                said = True
                self._lost()
            finally:
                self._release()
            self._stopping.wait(AGAIN_AFTER_S)

    def _lost(self) -> None:
        if self._connected.is_set():
            self._connected.clear()
            self._sessions.feed_all(LockEvent.DESKTOP_LOST)

    def _listen(self, bus: DBusConnection) -> None:
        for rule in _rules():
            call(bus, message_bus.AddMatch(rule))
        messages: deque[Message] = deque()
        with bus.filter(MatchRule(type="signal"), queue=messages):
            list_sessions(bus)  # raises where there is no logind
            self._inhibit(bus)
            self._connected.set()
            self._sessions.look_again()
            while not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    message = bus.recv_until_filtered(messages, timeout=LOOK_EVERY_S)
                    self._hear(bus, message)

    def _hear(self, bus: DBusConnection, message: Message) -> None:
        fields = {field.name: value for field, value in message.header.fields.items()}
        member, path = fields.get("member"), str(fields.get("path", ""))
        if member == "PrepareForSleep":
            self._sleep_or_wake(bus, going=bool(message.body[0]))
        elif member in ("SessionNew", "SessionRemoved"):
            self._sessions.look_again()
        elif member == "PropertiesChanged":
            self._changed(bus, path, message.body)
        elif member == "NameOwnerChanged" and message.body[0] == BUS_NAME:
            self._release()
            if message.body[2]:  # logind was restarted, and forgot our inhibitor
                self._inhibit(bus)

    def _sleep_or_wake(self, bus: DBusConnection, *, going: bool) -> None:
        if going:
            _log.warning("going to sleep: locking")
            self._sessions.feed_all(LockEvent.SUSPENDING)
            self._sessions.await_locked(LOCKED_BEFORE_SLEEP_WITHIN_S)
            self._release()
            return
        _log.warning("awake: reading the readers anew")
        self._sessions.feed_all(LockEvent.RESUMED)
        self._restart_watcher()
        self._sessions.look_again()
        self._inhibit(bus)

    def _changed(self, bus: DBusConnection, path: str, body: tuple[Any, ...]) -> None:
        interface, changed = body[0], body[1]
        if interface != SESSION:
            return
        hints = {name: value for name, (_, value) in changed.items()}
        if hints.get("LockedHint") is False:
            self._sessions.look_again()
        if hints.get("IdleHint") is True and self._lock_on_idle:
            account = str(properties(bus, path).get("Name", ""))
            if _all_idle(bus, account):
                _log.info("session of %s is idle", account)
                self._sessions.feed(account, LockEvent.IDLE)

    def _inhibit(self, bus: DBusConnection) -> None:
        """Take a delay inhibitor; where logind gives none, say so and go on."""
        self._release()
        words = ("sleep", "cps-auth", "lock the sessions first", "delay")
        try:
            (descriptor,) = call(bus, new_method_call(MANAGER, "Inhibit", "ssss", words))
            self._inhibitor = descriptor.to_raw_fd()
        except Exception as error:  # a refusal, or a logind without inhibitors
            _log.warning("no delay before sleep: %s", type(error).__name__)

    def _release(self) -> None:
        if self._inhibitor is not None:
            os.close(self._inhibitor)
            self._inhibitor = None


def _rules() -> tuple[MatchRule, ...]:
    manager = {"type": "signal", "sender": BUS_NAME, "interface": MANAGER.interface}
    return (
        MatchRule(**manager, member="PrepareForSleep"),
        MatchRule(**manager, member="SessionNew"),
        MatchRule(**manager, member="SessionRemoved"),
        SESSION_CHANGES,
        MatchRule(type="signal", member="NameOwnerChanged", sender="org.freedesktop.DBus"),
    )


def _all_idle(bus: DBusConnection, account: str) -> bool:
    """Return whether every session of the account says that nobody uses it."""
    rows = [row for row in list_sessions(bus) if row[2] == account]
    return bool(rows) and all(properties(bus, row[4]).get("IdleHint") is True for row in rows)
