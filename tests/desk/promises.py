"""What a practice is promised, played once on a booted desk: a row of the table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from tests.desk.booted import PIN, USER, Desk, Table, wait_for

_REQUIRED_IN = {"gnome": "gdm-password", "kde": "kde"}
_TRACES = """
for path in /usr/lib/cps-auth /usr/bin/cps-auth* /usr/share/cps-auth /var/lib/cps-auth/* \
  /run/cps-auth /usr/share/pam-configs/cps-auth* /etc/pam.d/cps-auth* /usr/lib/*/security/pam_cps* \
  /etc/systemd/system/cps-auth* /etc/systemd/system/*/cps-auth* /lib/systemd/system/cps-auth* \
  /etc/polkit-1/rules.d/*cps-auth* /usr/share/polkit-1/rules.d/*cps-auth* /etc/cps-auth/*; do
  [ ! -e "$path" ] || echo "$path"
done
grep -l pam_cps /etc/pam.d/* || true
"""


_STAYS = (
    "/var/lib/cps-auth/audit",
    "/etc/cps-auth/accounts.toml",
    "/etc/cps-auth/config.toml",
)


class Promises:
    """Goes through them; what was seen is a cell each."""

    def __init__(self, desk: Desk, deb: Path, minutes: float) -> None:
        self._desk, self._deb, self._minutes = desk, deb, minutes
        self.cells: list[str] = []
        self.failures = 0
        desk.run("loginctl", "lock-session", desk.session_id)
        assert wait_for(desk.is_covered)

    def keep(self) -> None:
        """Go through all of them, in this order."""
        for promise in (
            self._first_unlock,
            self._pull_locks,
            self._first_code_unlocks,
            self._wrong_code,
            self._foreign_card,
            self._one_time_code,
            self._required,
            self._upgrade,
            self._purge,
        ):
            self._try(promise)

    def _try(self, promise: Callable[[], str]) -> None:
        started_s = time.time()
        try:
            self.cells.append(promise())
        except (AssertionError, RuntimeError, IndexError, StopIteration) as error:
            self.failures += 1
            self.cells.append("**no**")
            path = self._desk.scratch / f"{promise.__name__}"
            path.write_text(f"{error}\n{self._desk.evidence(started_s)}\n")
            print(f"{promise.__name__}: {error}: {path}", flush=True)
            with contextlib.suppress(AssertionError):
                self._desk.put_card("doctor")
                if self._desk.is_hinted():
                    wait_for(self._opens, 60)
        print(promise.__name__, self.cells[-1], f"{time.time() - started_s:.0f} s", flush=True)

    # Acts

    def _unlock(self, text: str = PIN, within_s: float = 15) -> float:
        """Type this once; returns after how many seconds the screen was open."""
        desk = self._desk
        time.sleep(2)  # KDE shows nothing that says that it listens
        desk.wake()
        typed_s = desk.type_code(text)
        assert wait_for(lambda: not desk.is_hinted(), within_s), f"{text!r} did not open"
        return max(0.0, next((at for at, hint in desk.hints(typed_s - 2) if not hint)) - typed_s)

    def _opens(self) -> bool:
        """Return whether the code has opened it, after a promise that was not kept."""
        try:
            self._unlock()
        except AssertionError:
            return False
        return True

    def _refused(self, text: str, within_s: float = 4) -> str:
        """Type this; returns all that the dialog says until it was refused."""
        desk = self._desk
        time.sleep(2)
        desk.wake()
        deadline_s, said = desk.type_code(text) + within_s, ""
        while time.time() < deadline_s:
            said += desk.says() + " "
            time.sleep(0.1)
        assert desk.is_covered(), f"{text!r} opened the screen"
        return said

    def _pull(self) -> float:
        """Pull; returns after how many seconds the screen was locked."""
        pulled_s = self._desk.pull()
        assert wait_for(self._desk.is_covered), "not locked"
        return self._desk.hints(pulled_s)[-1][0] - pulled_s

    def _insert(self) -> None:
        assert self._desk.heard(self._desk.insert(), "card-inserted"), "insertion not heard"

    # Promises

    def _first_unlock(self) -> str:
        return f"{self._unlock():.2f} s"

    def _pull_locks(self) -> str:
        return f"{self._pull():.2f} s"

    def _first_code_unlocks(self) -> str:
        self._insert()
        return f"{self._unlock():.2f} s"

    def _wrong_code(self) -> str:
        self._pull()
        self._insert()
        said = self._refused("9999", 8)
        if self._desk.desktop == "gnome":
            assert "2 " in said, said
        took_s = self._unlock()
        return f"{'attempts seen' if self._desk.desktop == 'gnome' else 'refused'}, {took_s:.2f} s"

    def _foreign_card(self) -> str:
        self._pull()
        since_s = time.time()
        self._desk.put_card("pharmacist")
        assert self._desk.heard(since_s, "card-inserted"), "not heard"
        self._refused(PIN)
        answers = [line for _at, line in self._desk.log(since_s) if "verb=verify" in line]
        assert answers, "nobody asked"
        assert all("outcome=holder-not-allowed" in line for line in answers), answers
        self._desk.put_card("doctor")
        self._unlock()
        return "refused"

    def _one_time_code(self) -> str:
        desk = self._desk
        self._pull()
        code = desk.run("cps-auth", "pc", "code", USER).split()[0]
        since_s = time.time()
        self._unlock(code)
        critical = desk.run("journalctl", "-p", "crit", "-u", "cps-auth", f"--since=@{since_s:.0f}")
        assert "ONE-TIME CODE USED" in critical, critical
        desk.run("loginctl", "lock-session", desk.session_id)
        assert wait_for(desk.is_covered)
        self._insert()
        self._unlock()
        return "opens, crit"

    def _required(self) -> str:
        desk = self._desk
        desk.set_up("--required", _REQUIRED_IN[desk.desktop])
        assert wait_for(desk.is_covered), "not locked by the restart"
        self._unlock()
        self._pull()
        since_s = time.time()
        self._refused(PIN)
        self._refused(USER)  # the password
        while time.time() < since_s + self._minutes * 60:
            time.sleep(1)
        lines = [line for _at, line in desk.log(since_s) if "question to" in line]
        lines += [line for _at, line in desk.log(since_s) if "verb=verify" in line]
        a_minute = len(lines) / ((time.time() - since_s) / 60)
        assert a_minute < 20, f"{a_minute:.0f} requests a minute"
        assert desk.is_covered(), "opened"
        self._insert()
        took_s = self._unlock()
        desk.set_up("--required", "none")
        assert wait_for(desk.is_covered)
        self._unlock()
        return f"{a_minute:.1f} a minute in {self._minutes:g} min, then {took_s:.2f} s"

    def _upgrade(self) -> str:
        desk = self._desk
        before, since_s = desk.status(), time.time()
        desk.install(self._deb)
        time.sleep(7)
        assert not [hint for _at, hint in desk.hints(since_s) if hint], "the upgrade locked"
        assert desk.status()["MainPID"] == before["MainPID"], "the daemon was restarted"
        self._pull()
        assert wait_for(lambda: desk.status()["MainPID"] not in ("0", before["MainPID"]), 15)
        assert desk.is_covered(), "opened"
        since_s = time.time()
        self._insert()
        self._unlock()
        return "stays open; new one after the lock"

    def _purge(self) -> str:
        desk = self._desk
        line = "apt-get purge -y cps-auth"
        desk.verb("run", "sh", "-c", f"{line} 2>&1")
        left = desk.run("sh", "-c", _TRACES).split()
        assert left == list(_STAYS), left
        if not desk.is_hinted():
            desk.run("loginctl", "lock-session", desk.session_id)
        assert wait_for(desk.is_covered)
        self._unlock(USER)
        return "accounts, settings, audit journal stay"


def run(desk: Desk, table: Table, deb: Path, minutes: float) -> int:
    """Go through the promises; returns how many were not kept."""
    promises = Promises(desk, deb, minutes)
    promises.keep()
    table.write([desk.name, *promises.cells])
    return promises.failures
