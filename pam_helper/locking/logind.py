"""systemd-logind (or elogind) over D-Bus: the account's sessions, their lock, their end.

The system bus is found as D-Bus says: DBUS_SYSTEM_BUS_ADDRESS, else its well-known socket.
A connection is made for each operation, so a bus that was restarted is no special case.

Source: org.freedesktop.login1(5).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from jeepney import (  # type: ignore[import-untyped]  # jeepney ships no types
    DBusAddress,
    MatchRule,
    Message,
    MessageType,
    Properties,
    new_method_call,
)
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]  # as above
from jeepney.io.blocking import (  # type: ignore[import-untyped]  # as above
    DBusConnection,
    open_dbus_connection,
)

from pam_helper.locking.lockers import DesktopSession, LogindSessions

BUS_NAME = "org.freedesktop.login1"
MANAGER = DBusAddress(
    "/org/freedesktop/login1", bus_name=BUS_NAME, interface="org.freedesktop.login1.Manager"
)
SESSION = "org.freedesktop.login1.Session"
_PROPERTIES = "org.freedesktop.DBus.Properties"
SESSION_CHANGES = MatchRule(
    type="signal",
    sender=BUS_NAME,
    interface=_PROPERTIES,
    member="PropertiesChanged",
    path_namespace="/org/freedesktop/login1/session",
)
"""Changes of properties of all sessions."""
_CALL_TIMEOUT_S = 1.0
LOOK_AGAIN_S = 0.25
"""A hint whose signal was missed is read again after this long."""
_HIDING_VT = 12
"""A virtual terminal on which nobody logs in: logind starts a getty on the first six only."""

_NOBODY_SITS_THERE = frozenset(
    ("greeter", "lock-screen", "background", "background-light", "manager", "manager-early", "none")
)
"""Session classes without a person; a class that is not known counts as a person."""

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class _Refused(Exception):  # the bus answered with an error
    pass


class Logind:
    """The account's sessions at this machine, as logind tells them; a `Desktop`."""

    def __init__(self, end_within_s: float = 2.0) -> None:
        """Use the system bus.

        Args:
            end_within_s: how long a terminated session may take to be gone.
        """
        self._within_s = end_within_s

    def sessions(self, account: str) -> LogindSessions | None:
        """Return the local sessions of a person; None when logind does not answer."""

        def run(bus: DBusConnection) -> LogindSessions:
            found = (_describe(bus, *row) for row in list_sessions(bus) if row[2] == account)
            return frozenset(session for session in found if session is not None)

        return on_the_bus(run)

    def locked_hint(self, sessions: LogindSessions) -> LogindSessions | None:
        """Return those whose LockedHint is set; None when logind does not answer."""

        def run(bus: DBusConnection) -> LogindSessions:
            return frozenset(session for session in sessions if is_locked(bus, session))

        return on_the_bus(run)

    def hide(self, sessions: LogindSessions) -> bool:
        """Switch to an empty virtual terminal if one of the sessions is the one that is shown."""

        def run(bus: DBusConnection) -> bool:
            shown = [session for session in sessions if _is_shown(bus, session)]
            for session in shown:
                seat = str(properties(bus, session.path)["Seat"][1])
                address = DBusAddress(seat, bus_name=BUS_NAME, interface=f"{BUS_NAME}.Seat")
                _log.critical("session %s is not covered yet: hiding it", session.session_id)
                call(bus, new_method_call(address, "SwitchTo", "u", (_HIDING_VT,)))
            return bool(shown)

        return bool(on_the_bus(run))

    def show(self, sessions: LogindSessions) -> None:
        """Bring hidden sessions to the front again."""

        def run(bus: DBusConnection) -> None:
            for session in sessions:
                tell(bus, session, "Activate")

        on_the_bus(run)

    def terminate(self, sessions: LogindSessions) -> LogindSessions:
        """Terminate the sessions; return those that are gone or closing."""
        over: set[DesktopSession] = set()

        def run(bus: DBusConnection) -> None:
            with property_changes(bus) as changes:
                for session in sessions:
                    tell(bus, session, "Terminate")
                _await_over(bus, changes, sessions, over, self._within_s)

        on_the_bus(run)
        return frozenset(over)


def on_the_bus(run: Callable[[DBusConnection], _Result]) -> _Result | None:
    """Run on a fresh connection; None when the bus or logind failed in whatever way."""
    try:
        with open_dbus_connection(bus="SYSTEM") as bus:
            return run(bus)
    except Exception as error:  # jeepney raises many kinds, and all mean: not known
        _log.warning("logind does not answer: %s %s", type(error).__name__, error)
        return None


def call(bus: DBusConnection, message: Message) -> Any:
    """Return the body of the answer; raises what jeepney raises, or for an error."""
    reply = bus.send_and_get_reply(message, timeout=_CALL_TIMEOUT_S)
    if reply.header.message_type is MessageType.error:
        raise _Refused(str(reply.body))
    return reply.body


def list_sessions(bus: DBusConnection) -> list[tuple[str, int, str, str, str]]:
    """Return id, uid, account, seat and object path of every session."""
    (rows,) = call(bus, new_method_call(MANAGER, "ListSessions"))
    return [tuple(row) for row in rows]


def _address(session_path: str) -> DBusAddress:
    return DBusAddress(session_path, bus_name=BUS_NAME, interface=SESSION)


def tell(bus: DBusConnection, session: DesktopSession, method: str) -> None:
    """Call a method of a session; a refusal is logged, the wait that follows tells."""
    try:
        call(bus, new_method_call(_address(session.path), method))
    except _Refused as error:
        _log.warning("session %s refuses %s: %s", session.session_id, method, error)


def properties(bus: DBusConnection, session_path: str) -> dict[str, Any]:
    """Return a session's properties; none of them when logind refuses to tell."""
    try:
        (rows,) = call(bus, Properties(_address(session_path)).get_all())
    except _Refused:
        return {}
    return {name: value for name, (_, value) in rows.items()}


def _describe(
    bus: DBusConnection, session_id: str, uid: int, account: str, _seat: str, path: str
) -> DesktopSession | None:
    """Return a session where a person sits at this machine, or might; None for any other."""
    told = properties(bus, path)
    if told.get("Remote") is True or told.get("State") == "closing":
        return None
    if told.get("Class") in _NOBODY_SITS_THERE:
        return None
    display, kind = str(told.get("Display", "")), str(told.get("Type", ""))
    leader = told.get("Leader", 0)
    leader_pid = leader if isinstance(leader, int) else 0
    return DesktopSession(session_id, path, account, uid, display, kind, leader_pid)


def _is_shown(bus: DBusConnection, session: DesktopSession) -> bool:
    return properties(bus, session.path).get("Active") is True


def is_locked(bus: DBusConnection, session: DesktopSession) -> bool:
    """Return whether a session says that it is locked; a text console's word does not count."""
    return session.is_graphical and properties(bus, session.path).get("LockedHint") is True


def _is_over(bus: DBusConnection, session: DesktopSession) -> bool:
    listed = any(row[0] == session.session_id for row in list_sessions(bus))
    return not listed or properties(bus, session.path).get("State") == "closing"


@contextlib.contextmanager
def property_changes(bus: DBusConnection) -> Iterator[deque[Message]]:
    """Subscribe to the property changes of sessions, before anything is asked of them."""
    call(bus, message_bus.AddMatch(SESSION_CHANGES))
    # The sender of a signal is a unique name, so the local filter must not name it.
    here = MatchRule(type="signal", interface=_PROPERTIES, member="PropertiesChanged")
    with bus.filter(here, queue=deque(maxlen=64)) as changes:
        yield changes


def _await_over(
    bus: DBusConnection,
    changes: deque[Message],
    sessions: LogindSessions,
    over: set[DesktopSession],
    within_s: float,
) -> None:
    """Put into `over` every session that is, until all are or the time is up."""
    deadline_s = time.monotonic() + within_s
    while True:
        over |= {session for session in sessions - over if _is_over(bus, session)}
        left_s = deadline_s - time.monotonic()
        if sessions <= over or left_s <= 0:
            return
        with contextlib.suppress(TimeoutError):
            bus.recv_until_filtered(changes, timeout=min(left_s, LOOK_AGAIN_S))
