"""The desktop's own screen locker by its D-Bus name, on the session's bus, as the session's user.

Run as a program, by `CommandLocker`: a user's bus refuses root. It asks for the lock, and keeps
to what `CommandLocker` expects of a locker: once a screen saver has said that it covers the
screen it closes XSS_SLEEP_LOCK_FD and goes on for as long as that is so. It ends with 0 when the
screen saver says that the screen is open again, with 1 when nobody says so any more.

Any program of the user may own a screen saver's name. So whoever is asked to lock is asked by the
connection that it has then, and its word counts only if its program is a locker that root has
installed. A program that is made to look like one (by a debugger, LD_PRELOAD, Cinnamon's title)
cannot be told from it.

Source: the Idle Inhibition Service draft of freedesktop.org (org.freedesktop.ScreenSaver), and
the same three calls under the names of GNOME, MATE, Cinnamon and Xfce.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from jeepney import (  # type: ignore[import-untyped]  # jeepney ships no types
    DBusAddress,
    MatchRule,
    Message,
    MessageType,
    new_method_call,
)
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]  # as above
from jeepney.io.blocking import (  # type: ignore[import-untyped]  # as above
    DBusConnection,
    open_dbus_connection,
)

SAVERS = (
    ("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver", "org.freedesktop.ScreenSaver"),
    ("org.freedesktop.ScreenSaver", "/ScreenSaver", "org.freedesktop.ScreenSaver"),
    # GNOME's other name is an activatable program in between, which is not there until called
    ("org.gnome.Shell.ScreenShield", "/org/gnome/ScreenSaver", "org.gnome.ScreenSaver"),
    ("org.cinnamon.ScreenSaver", "/org/cinnamon/ScreenSaver", "org.cinnamon.ScreenSaver"),
    ("org.mate.ScreenSaver", "/org/mate/ScreenSaver", "org.mate.ScreenSaver"),
    ("org.xfce.ScreenSaver", "/org/xfce/ScreenSaver", "org.xfce.ScreenSaver"),
)
"""Bus name, object and interface."""
OBEY_LOGIND = ("org.kde.screensaver", "org.gnome.Shell.ScreenShield")
"""Desktops that lock when logind says so. They are not told twice: KDE would die of it."""

LOCKERS = re.compile(r"screen-?saver|screen-?lock|locker|gnome-shell|cinnamon|ksmserver|kwin")
"""In the name of every program that owns one of these names by right."""
_PYTHON = re.compile(r"python3[.0-9]*")
_SCRIPTS_TITLE = b"cinnamon-screensaver"
"""Cinnamon's locker is a Python program, and shows this title in place of its command line."""

_CALL_WITHIN_S = 1.0
_LOOK_AGAIN_S = 0.05


def lock(
    bus: DBusConnection, within_s: float, *, logind_asked: bool, opening: bool
) -> DBusAddress | None:
    """Have the screen saver on the session bus lock; return one that said that it has.

    Args:
        bus: the session bus.
        within_s: how long to wait for it; a desktop that is just starting brings its own.
        logind_asked: whether the session was told to lock by logind already.
        opening: whether a login was verified just now, and a cover may be on its way out.
    """
    deadline_s = time.monotonic() + within_s
    is_told = logind_asked and any(_has_owner(bus, name) for name in OBEY_LOGIND)
    was_active: dict[DBusAddress, bool] = {}
    believed: dict[str, bool] = {}
    while time.monotonic() < deadline_s:
        for saver in _present(bus):
            is_active = _call(bus, saver, "GetActive") == (True,)
            owner = saver.bus_name
            if owner not in believed:
                believed[owner] = is_locker(_pid(bus, owner))
            if is_active and believed[owner] and not was_active.get(saver, opening):
                return saver
            if not is_told and was_active.get(saver) is not is_active:
                _call(bus, saver, "Lock")  # when it is first seen, and when it has opened
            was_active[saver] = is_active
        is_told = is_told and bool(was_active)  # one that came later did not hear of it
        time.sleep(_LOOK_AGAIN_S)
    return None


def await_open(bus: DBusConnection, saver: DBusAddress) -> bool:
    """Wait until a screen saver covers the screen no more; False if it does not say.

    Args:
        bus: the session bus.
        saver: what `lock` returned.
    """
    rules = (
        MatchRule(
            type="signal",
            sender=saver.bus_name,
            interface=saver.interface,
            member="ActiveChanged",
        ),
        MatchRule(type="signal", sender="org.freedesktop.DBus", member="NameOwnerChanged"),
    )
    signals: deque[Message] = deque()
    with bus.filter(MatchRule(type="signal"), queue=signals):
        for rule in rules:
            bus.send_and_get_reply(message_bus.AddMatch(rule), timeout=_CALL_WITHIN_S)
        while (active := _call(bus, saver, "GetActive")) == (True,):
            bus.recv_until_filtered(signals)
    return active == (False,)


def is_locker(pid: int | None) -> bool:
    """Return whether a process runs a screen locker that root has installed.

    Args:
        pid: the process, None for one that nobody knows.
    """
    shown = Path(f"/proc/{pid}/exe")
    try:
        program, status = shown.readlink(), shown.stat()
        title = shown.with_name("cmdline").read_bytes().partition(b"\0")[0]
    except OSError:  # it is over, or shows us nothing
        return False
    name = program.name.removesuffix(" (deleted)")  # by an upgrade
    is_lockers = LOCKERS.search(name) or (_PYTHON.fullmatch(name) and title == _SCRIPTS_TITLE)
    is_roots = status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_roots and bool(is_lockers)


def _present(bus: DBusConnection) -> Iterator[DBusAddress]:
    """Return the screen savers, each by the connection that it has now: none takes its place."""
    for name, path, interface in SAVERS:
        owner = _told_by_bus(bus, message_bus.GetNameOwner(name))
        if isinstance(owner, str):
            yield DBusAddress(path, bus_name=owner, interface=interface)


def _has_owner(bus: DBusConnection, name: str) -> bool:
    return _told_by_bus(bus, message_bus.NameHasOwner(name)) is True


def _pid(bus: DBusConnection, owner: str) -> int | None:
    pid = _told_by_bus(bus, message_bus.GetConnectionUnixProcessID(owner))
    return pid if isinstance(pid, int) else None


def _told_by_bus(bus: DBusConnection, question: Message) -> object:
    """Return what the bus itself answers, None for an error."""
    reply = bus.send_and_get_reply(question, timeout=_CALL_WITHIN_S)
    return None if reply.header.message_type is MessageType.error else reply.body[0]


def _call(bus: DBusConnection, saver: DBusAddress, method: str) -> tuple[object, ...] | None:
    """Return what a screen saver answers, None for an error or silence."""
    try:
        reply = bus.send_and_get_reply(new_method_call(saver, method), timeout=_CALL_WITHIN_S)
    except TimeoutError:
        return None
    return None if reply.header.message_type is MessageType.error else tuple(reply.body)


def main(within_s: float, covered: int, *, logind_asked: bool, opening: bool) -> bool:
    """Lock and stay; return whether the screen saver let somebody in.

    Args:
        within_s: how long to wait for the lock.
        covered: descriptor that is closed when the screen is covered.
        logind_asked, opening: as for `lock`.
    """
    with open_dbus_connection(bus="SESSION") as bus:
        saver = lock(bus, within_s, logind_asked=logind_asked, opening=opening)
        if saver is None:
            return False
        os.close(covered)
        return await_open(bus, saver)


if __name__ == "__main__":
    try:
        opened = main(
            float(sys.argv[1]),
            int(os.environ["XSS_SLEEP_LOCK_FD"]),
            logind_asked="logind-asked" in sys.argv[2:],
            opening=os.environ.get("CPS_AUTH_OPENING") == "1",
        )
    except Exception as error:  # no bus, a bus that hangs up: all of it means "not locked"
        sys.exit(f"{type(error).__name__}")
    sys.exit(0 if opened is True else 1)
