"""A booted desk of `../shared/tools/desk`: package, cards, keys, and what its screen says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

CHECKOUT = Path(__file__).parents[2]
TOOL = CHECKOUT.parent / "shared/tools/desk"
_Value = TypeVar("_Value")
PIN, USER, UID = "1234", "camille", 1000
IGC = "/opt/igc"
_ENVIRONMENT = ("HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
_NAMESPACES = ("-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w")
_BUS = f"unix:path=/run/user/{UID}/bus"
_SETPRIV = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups", "env")
_PROMPT_READER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
/* pcscd looks at a reader that tells it nothing every 0.4 s; a USB reader tells it at once. */
int nanosleep(const struct timespec *wanted, struct timespec *left) {
  static int (*real)(const struct timespec *, struct timespec *);
  struct timespec shorter = {0, 10000000};
  if (!real) real = dlsym(RTLD_NEXT, "nanosleep");
  return real(wanted->tv_sec == 0 && wanted->tv_nsec > 10000000 ? &shorter : wanted, left);
}
"""
_WAKE = """(() => { const d = Main.screenShield._dialog; d?._showPrompt();
  d?._authPrompt?._entry.grab_key_focus(); return 1 })()"""
"""As a key does, and a click into the field: after a refusal GNOME 48 may leave it unfocused."""
_ASKS = """(() => { const p = Main.screenShield._dialog?._authPrompt;
  return !!p && p._entry.visible && p._entry.reactive && p._entry.hint_text != '' })()"""
_SAYS = """(() => { const p = Main.screenShield._dialog?._authPrompt;
  return p ? [p._message.text, p._entry.hint_text] : [] })()"""
_TYPE = """(() => { const b = global.stage.get_context?.()?.get_backend?.()
    ?? imports.gi.Clutter.get_default_backend();
  global.desk ??= b.get_default_seat().create_virtual_device(1);
  for (const c of TEXT) { const v = c === '\\n' ? 0xff0d : c.charCodeAt(0);
    for (const s of [1, 0])
      global.desk.notify_keyval(imports.gi.GLib.get_monotonic_time(), v, s); } return 1 })()"""
"""As GNOME's on-screen keyboard does."""
_PREPARE = """set -e
systemctl stop cps-auth.service cps-auth.socket 2>/dev/null || true
rm -rf /etc/cps-auth/* /var/lib/cps-auth/* /run/cps-auth/*; mkdir -p /etc/cps-auth
mkdir -p /etc/systemd/system/pcscd.service.d
cd /opt && gcc -shared -fPIC -o prompt_reader.so prompt_reader.c -ldl
printf '[Service]\\nEnvironment=LD_PRELOAD=/opt/prompt_reader.so\\n' \
  >/etc/systemd/system/pcscd.service.d/prompt.conf
systemctl daemon-reload
systemctl restart pcscd
"""


class Desk:
    """A booted desk, the cards in its reader, and what logind says of its session."""

    def __init__(self, root: Path, desktop: str, igc: Path | None = None) -> None:
        self.root, self.desktop = root, desktop
        self.name = root.name
        self.scratch = Path(tempfile.mkdtemp(prefix=f"desk-{root.name}-"))
        self.igc = igc or self.scratch / "igc"
        self._init = Path(f"{root}.pid").read_text().strip()
        self._card: subprocess.Popen[bytes] | None = None
        self._followers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.take_card()
        self._unfollow()

    # What runs on it

    def verb(self, verb: str, *words: str, check: bool = True) -> str:
        """Return what a verb of the tool prints."""
        command = [str(TOOL), verb, str(self.root), *words]
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=900, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{verb} {words}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs these words as root in the desk."""
        enter = ["nsenter", "-t", self._init, *_NAMESPACES, "--", "env", "-i", *_ENVIRONMENT]
        return [*enter, *words]

    def run(self, *words: str, check: bool = True, stdin: str = "", within_s: float = 120) -> str:
        """Return what these words print, run as root in the desk."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{words}: {done.returncode} {done.stdout}{done.stderr}")
        return (done.stdout + ("" if check else done.stderr)).strip()

    def as_user(self, *words: str, check: bool = False) -> str:
        """Return what these words print, run as the practitioner, on their own bus."""
        theirs = (f"XDG_RUNTIME_DIR=/run/user/{UID}", f"DBUS_SESSION_BUS_ADDRESS={_BUS}")
        return self.run(*_SETPRIV, *theirs, f"HOME=/home/{USER}", *words, check=check)

    def install(self, deb: Path) -> str:
        """Install the package with apt, and return what apt says."""
        (self.root / "opt" / deb.name).write_bytes(deb.read_bytes())
        line = f"apt-get install -y --no-install-recommends --reinstall /opt/{deb.name}"
        return self.verb("run", "--online", "sh", "-c", f"{line} 2>&1")

    def prepare(self) -> None:
        """Take away what an earlier run left; a reader as prompt as a USB one; authorities."""
        if not self.igc.exists():
            self._mocks("pki", str(self.igc))
        subprocess.run(["rm", "-rf", f"{self.root}{IGC}"], check=True)
        subprocess.run(["cp", "-rT", str(self.igc), f"{self.root}{IGC}"], check=True)
        self.run("rm", "-rf", f"{IGC}/authorities", f"{IGC}/personas")
        (self.root / "opt/prompt_reader.c").write_text(_PROMPT_READER)
        self.run("sh", "-c", _PREPARE)

    def set_up(self, *words: str, check: bool = True) -> str:
        """Run `cps-auth pc setup` with the card in the reader; returns what it says."""
        given = f"--language en --account {USER} --trust {IGC} --no-fetch --pin-stdin"
        line = f"cps-auth pc setup {given} {' '.join(words)} 2>&1"
        return self.run("sh", "-c", line, stdin=f"{PIN}\n", check=check)

    @staticmethod
    def _mocks(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "hardware_mocks", *words], cwd=CHECKOUT, check=True)

    # The card

    def put_card(self, persona: str = "doctor", *words: str) -> None:
        """Put this person's card into the reader, in place of the one that is there."""
        self.take_card()
        serve = ["nsenter", f"--net=/proc/{self._init}/ns/net", sys.executable]
        serve += ["-m", "hardware_mocks", "serve", "--pki", str(self.igc), "--persona", persona]
        serve += ["--memory", str(self.scratch / f"{persona}.card"), *words]
        card = subprocess.Popen(serve, cwd=CHECKOUT, stdout=subprocess.PIPE)
        assert card.stdout is not None
        self._card = card
        assert card.stdout.readline(), "no card in the reader"

    def take_card(self) -> None:
        """Take the card away for good."""
        if self._card is not None:
            self._card.terminate()
            self._card.wait(20)
            self._card = None

    def pull(self) -> float:
        """Take the card out; returns when."""
        return self._signal(signal.SIGUSR1)

    def insert(self) -> float:
        """Put it in again; returns when."""
        return self._signal(signal.SIGUSR2)

    def _signal(self, number: signal.Signals) -> float:
        assert self._card is not None
        at_s = time.time()
        self._card.send_signal(number)
        return at_s

    # The session

    def follow(self) -> None:
        """Open a session by password, and write down what the daemon and logind say from now."""
        self._unfollow()
        self.verb("session", self.desktop)
        sessions = self.run("loginctl", "list-sessions", "--no-legend").splitlines()
        self.session_id = next(row.split()[0] for row in sessions if f"{USER} seat0" in row)
        raw = self.run("loginctl", "show-session", self.session_id, "-p", "Leader", "--value")
        self.leader = raw
        called = "org.freedesktop.login1.Manager", "GetSession", "s", self.session_id
        where = self._busctl("call", "/org/freedesktop/login1", *called)
        self.path = json.loads(where)["data"][0]
        rule = f"type='signal',path='{self.path}',member='PropertiesChanged'"
        self._follow("hints", "busctl", "--json=short", "monitor", "--match", rule)
        self._follow("log", "journalctl", "-fn", "0", "-o", "json", "-u", "cps-auth")
        time.sleep(0.5)

    def _unfollow(self) -> None:
        for process in self._followers:
            os.killpg(process.pid, signal.SIGTERM)  # nsenter's child, too
            process.wait(20)
        self._followers.clear()

    def _busctl(self, verb: str, *words: str) -> str:
        return self.run("busctl", "--json=short", verb, "org.freedesktop.login1", *words)

    def _follow(self, name: str, *words: str) -> None:
        with (self.scratch / name).open("ab") as out:
            follower = subprocess.Popen(
                self.command(*words), stdout=out, stderr=out, start_new_session=True
            )
            self._followers.append(follower)

    def hints(self, since_s: float = 0) -> list[tuple[float, bool]]:
        """Return when LockedHint changed, and to what."""
        changes = []
        for line in (self.scratch / "hints").read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, IndexError):
                signal_ = json.loads(line)
                changed = signal_["payload"]["data"][1]
                if "LockedHint" in changed:
                    at_s = signal_["timestamp-realtime"] / 1e6
                    changes.append((at_s, bool(changed["LockedHint"]["data"])))
        return [change for change in changes if change[0] >= since_s]

    def log(self, since_s: float = 0) -> list[tuple[float, str]]:
        """Return the daemon's lines and when they were written."""
        lines = []
        for line in (self.scratch / "log").read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                at_s = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
                lines.append((at_s, str(entry["MESSAGE"])))
        return [line for line in lines if line[0] >= since_s]

    def heard(self, since_s: float, words: str, within_s: float = 10) -> float | None:
        """Wait until the daemon's log has this; returns when it was written."""
        return wait_for(lambda: self._first(since_s, words), within_s)

    def _first(self, since_s: float, words: str) -> float | None:
        return next((at_s for at_s, line in self.log(since_s) if words in line), None)

    def is_hinted(self) -> bool:
        """Return LockedHint."""
        interface = "org.freedesktop.login1.Session", "LockedHint"
        said = self._busctl("get-property", self.path, *interface)
        return bool(json.loads(said)["data"])

    def is_covered(self) -> bool:
        """Return whether logind says so and the desktop's own locker does."""
        return self.is_hinted() and self._locker_says()

    def _locker_says(self) -> bool:
        if self.desktop == "gnome":
            return self.shell("Main.screenShield.locked && Main.screenShield.active") == "true"
        called = "org.freedesktop.ScreenSaver", "/ScreenSaver", "org.freedesktop.ScreenSaver"
        return self.as_user("busctl", "--user", "call", *called, "GetActive") == "b true"

    def shell(self, script: str) -> str:
        """Return what a script answers in GNOME Shell, as JSON."""
        shell = "org.gnome.Shell", "/org/gnome/Shell", "org.gnome.Shell"
        said = self.as_user("busctl", "--user", "-j", "call", *shell, "Eval", "s", script)
        try:
            return str(json.loads(said)["data"][1])
        except (ValueError, KeyError):
            return said

    def drawn_by(self) -> str:
        """Return the process that draws the session; another one means that it died."""
        return self.run("pgrep", "-x", "gnome-shell|kwin_wayland", check=False)

    def wake(self) -> None:
        """Open the lock screen's dialog, as any key does, and wait until it asks."""
        if self.desktop == "gnome":
            self.shell(_WAKE)
            wait_for(lambda: self.shell(_ASKS) == "true", 10)

    def type_code(self, text: str = PIN) -> float:
        """Type into the lock screen, and Return; returns when."""
        if self.desktop == "gnome":
            self.shell(_TYPE.replace("TEXT", json.dumps(text + "\n")))
        else:  # its field keeps what was refused
            keys = ("mousemove", "512", "384", "key", "ctrl+a", "type", "--delay", "5", text)
            number = self.run("cat", f"/run/user/{UID}/desk-display")
            self.as_user("env", f"DISPLAY=:{number}", "xdotool", *keys)
            self.as_user("env", f"DISPLAY=:{number}", "xdotool", "key", "Return")
        return time.time()

    def says(self) -> str:
        """Return what GNOME's dialog shows."""
        return self.shell(_SAYS) if self.desktop == "gnome" else ""

    # What is known of it

    def status(self, unit: str = "cps-auth") -> dict[str, str]:
        """Return what systemd says of the daemon."""
        shown = self.run("systemctl", "show", unit, "-p", "MainPID,NRestarts,ActiveState")
        return dict(line.split("=", 1) for line in shown.splitlines())

    def evidence(self, since_s: float) -> str:
        """Return the daemon's log, the session's, the lockers' ends and PC/SC's state."""
        since = f"--since=@{since_s - 1:.0f}"
        parts = [
            "\n".join(f"{at_s:.3f} {line}" for at_s, line in self.log(since_s)),
            "hints: " + ", ".join(f"{at_s:.3f} {value}" for at_s, value in self.hints(since_s)),
            self.run("loginctl", "session-status", self.session_id, "-n", "0", check=False),
            self.run("journalctl", since, "-o", "short-precise", "-n", "60", check=False),
            self.run("pgrep", "-la", "kscreenlocker|gnome-shell|kwin|pcscd", check=False),
        ]
        return "\n---\n".join(parts)


def wait_for(condition: Callable[[], _Value], within_s: float = 12) -> _Value | None:
    """Return the condition's first true value, None where it never came."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            return None
        time.sleep(0.02)
    return value


def load() -> str:
    """Return the load of this machine."""
    return f"{os.getloadavg()[0]:.0f}"


@dataclass(frozen=True)
class Table:
    """A table in a file of docs/, below a heading: each run replaces its own row."""

    file: Path
    heading: str

    def write(self, row: list[str]) -> None:
        """Replace the row that begins alike, else add it at the table's end."""
        lines = self.file.read_text().splitlines()
        start = lines.index(self.heading)
        first = next(at for at, line in enumerate(lines) if at > start and line.startswith("|"))
        end = first
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        text = f"| {' | '.join(row)} |"
        same = [at for at in range(first, end) if lines[at].startswith(f"| {row[0]} |")]
        lines[same[0] if same else end : same[0] + 1 if same else end] = [text]
        self.file.write_text("\n".join(lines) + "\n")
