"""The desktop's own screen locker by its D-Bus name, on the session's bus, as the session's user.

Run as a program, by `CommandLocker`: a user's bus refuses root. It asks for the lock, then
watches `GetActive`, and ends with 0 only once a screen saver has said that it covers the screen.

Source: the Idle Inhibition Service draft of freedesktop.org (org.freedesktop.ScreenSaver), and
the same three calls under the names of GNOME, MATE, Cinnamon and Xfce.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from jeepney import (  # type: ignore[import-untyped]  # jeepney ships no types
    DBusAddress,
    MessageType,
    new_method_call,
)
from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]  # as above
from jeepney.io.blocking import (  # type: ignore[import-untyped]  # as above
    DBusConnection,
    open_dbus_connection,
)

SAVERS = (
    ("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"),
    ("org.freedesktop.ScreenSaver", "/ScreenSaver"),
    ("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver"),
    ("org.cinnamon.ScreenSaver", "/org/cinnamon/ScreenSaver"),
    ("org.mate.ScreenSaver", "/org/mate/ScreenSaver"),
    ("org.xfce.ScreenSaver", "/org/xfce/ScreenSaver"),
)
"""Bus name and object; the interface has the bus name's name."""

_CALL_WITHIN_S = 1.0
_LOOK_AGAIN_S = 0.05


def lock(within_s: float) -> bool:
    """Ask every screen saver on the session bus to lock; whether one said that it has.

    Args:
        within_s: how long to wait for it.
    """
    deadline_s = time.monotonic() + within_s
    with open_dbus_connection(bus="SESSION") as bus:
        asked = [saver for saver in _present(bus) if _call(bus, saver, "Lock") is not None]
        while asked and time.monotonic() < deadline_s:
            if any(_call(bus, saver, "GetActive") == (True,) for saver in asked):
                return True
            time.sleep(_LOOK_AGAIN_S)
    return False


def _present(bus: DBusConnection) -> Iterator[DBusAddress]:
    for name, path in SAVERS:
        reply = bus.send_and_get_reply(message_bus.NameHasOwner(name), timeout=_CALL_WITHIN_S)
        if reply.body == (True,):
            yield DBusAddress(path, bus_name=name, interface=name)


def _call(bus: DBusConnection, saver: DBusAddress, method: str) -> tuple[object, ...] | None:
    """Return what a screen saver answers, None for an error or silence."""
    try:
        reply = bus.send_and_get_reply(new_method_call(saver, method), timeout=_CALL_WITHIN_S)
    except TimeoutError:
        return None
    return None if reply.header.message_type is MessageType.error else tuple(reply.body)


if __name__ == "__main__":
    try:
        locked = lock(float(sys.argv[1]))
    except Exception as error:  # no bus, a bus that hangs up: all of it means "not locked"
        sys.exit(f"{type(error).__name__}")
    sys.exit(0 if locked is True else 1)
