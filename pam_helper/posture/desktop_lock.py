"""Whether GNOME and KDE lock an idle screen, from their settings' own files and tools.

Source: dconf(7), keyfiles and locks; gsettings(1); KScreenLocker's kscreenlockerrc.
"""

from __future__ import annotations

import re

from pam_helper.posture.facts import Facts, settings_in

_SAVER, _SESSION = "org/gnome/desktop/screensaver", "org/gnome/desktop/session"
_KDE = ".config/kscreenlockerrc"


def desktop_locks(facts: Facts) -> dict[str, bool | None]:
    """Return by place whether an idle screen locks: yes, no, or None for not known."""
    found: dict[str, bool | None] = {}
    sessions = " ".join(
        facts.files("usr/share/xsessions/*.desktop")
        + facts.files("usr/share/wayland-sessions/*.desktop")
    )
    if re.search(r"gnome", sessions):
        found["GNOME"] = _gnome(facts)
    if re.search(r"plasma", sessions):
        found |= _kde(facts)
    return found


def _gnome(facts: Facts) -> bool | None:
    """Return what the administrator has set for everybody, else what this user has."""
    saver, session = dict[str, str](), dict[str, str]()
    locked = set[str]()
    for file in facts.files("etc/dconf/db/*.d/*"):
        lines = facts.lines(file) or []
        saver |= settings_in(lines, _SAVER)
        session |= settings_in(lines, _SESSION)
    for file in facts.files("etc/dconf/db/*.d/locks/*"):
        locked.update(facts.lines(file) or [])
    enabled, delay = saver.get("lock-enabled"), session.get("idle-delay", "")
    if enabled == "false" or _number(delay) == 0:
        return False
    if {f"/{_SAVER}/lock-enabled", f"/{_SESSION}/idle-delay"} <= locked and enabled and delay:
        return True
    if facts.is_root:
        return None  # root's own settings say nothing of the people who work here
    own = facts.run("gsettings", "get", _SAVER.replace("/", "."), "lock-enabled")
    own_delay = facts.run("gsettings", "get", _SESSION.replace("/", "."), "idle-delay")
    if own is None or own_delay is None:
        return None
    return own.strip() == "true" and _number(own_delay) != 0


def _kde(facts: Facts) -> dict[str, bool | None]:
    """Return each person's setting; where nobody has one, KDE's default: after five minutes."""
    homes = facts.files("home/*")
    files = [f"{home}/{_KDE}" for home in homes]
    everybody = settings_in(facts.lines("etc/xdg/kscreenlockerrc") or [], "Daemon")
    found: dict[str, bool | None] = {}
    for file in files:
        lines = facts.lines(file)
        own = None if lines is None else {**everybody, **settings_in(lines, "Daemon")}
        found[f"KDE (/{file})"] = None if own is None else _kde_locks(own)
    return found or {"KDE": _kde_locks(everybody)}


def _kde_locks(daemon: dict[str, str]) -> bool:
    is_on = daemon.get("Autolock", "true").lower() not in ("false", "0")
    return is_on and _number(daemon.get("Timeout", "5")) != 0


def _number(text: str) -> int | None:
    """Return the last number of a text such as `uint32 300`."""
    found = re.findall(r"\d+", text)
    return int(found[-1]) if found else None
