"""Pulls the card at random moments after its code, on a booted desk: `./dev test desk`.

`python -m tests.desk.pulls ROOT gnome|kde`. ROOT is a practice PC of `../shared/tools/desk`, made
and booted. This installs the checkout on it, enrols a virtual CPS, opens a session, and then again
and again: lock, insert, type the code, pull within half a second, look. A screen that is not
covered in the end, a session that was ended or a window manager that died is a failure. It prints
one row for docs/pam.md.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DESK = CHECKOUT.parent / "shared/tools/desk"
PULL_WITHIN_S, COVERED_WITHIN_S, STAYS_S = 0.5, 12.0, 2.0
PYTHON = "/opt/cps-auth/bin/python3"
_INSTALL = f"""set -e
test -x {PYTHON} || python3 -m venv /opt/cps-auth
/opt/cps-auth/bin/pip install -q --force-reinstall --no-deps /srv/main
/opt/cps-auth/bin/pip install -q "/srv/main[cabinet]"
cd /srv/main/pam_helper/share/pam_cps
gcc -O2 -fPIC -shared -fvisibility=hidden -o $(echo /usr/lib/*/security)/pam_cps.so *.c -lpam
cp /srv/main/pam_helper/share/pam-configs/cps-auth /usr/share/pam-configs/
for unit in cps-auth.socket cps-auth.service; do
  sed "s|@PYTHON@|{PYTHON}|" /srv/main/pam_helper/share/systemd/$unit >/etc/systemd/system/$unit
done
mkdir -p /etc/cps-auth
printf '[trust]\\nfolder = "/opt/igc"\\n' >/etc/cps-auth/config.toml
pam-auth-update --enable cps-auth
systemctl daemon-reload
systemctl start pcscd
"""


class Desk:
    """A booted desk and the card in its reader."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._card: subprocess.Popen[bytes] | None = None

    def call(self, verb: str, *words: str, check: bool = True) -> str:
        """Return what a verb of the desk prints."""
        done = subprocess.run(
            [str(DESK), verb, str(self.root), *words],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{verb} {words}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def run(self, *words: str, check: bool = True) -> str:
        """Return what a command prints that root runs on the desk."""
        return self.call("run", *words, check=check)

    def install(self, igc: Path) -> None:
        """Put the checkout and the fake authorities on it, and enrol the card."""
        source = self.root / "srv/main"
        copy = (
            f"rm -rf {source} && mkdir -p {source} && git ls-files -z cps_auth pam_helper"
            f" hardware_mocks pyproject.toml README.md | xargs -0 cp --parents -t {source}"
        )
        subprocess.run(["sh", "-c", copy], cwd=CHECKOUT, check=True)
        mocks = [sys.executable, "-m", "hardware_mocks"]
        if not igc.exists():
            subprocess.run([*mocks, "pki", str(igc)], cwd=CHECKOUT, check=True)
        subprocess.run(["cp", "-rT", str(igc), str(self.root / "opt/igc")], check=True)
        self.call("run", "--online", "sh", "-c", _INSTALL)
        pid = Path(f"{self.root}.pid").read_text().strip()
        serve = ["nsenter", f"--net=/proc/{pid}/ns/net", *mocks, "serve", "--pki", str(igc)]
        self._card = subprocess.Popen(serve, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
        time.sleep(3)
        enrol = f"echo 1234 | {PYTHON} -m cps_auth pc enrol camille --pin-stdin"
        self.run("sh", "-c", enrol)
        self.run("systemctl", "restart", "cps-auth.socket", "cps-auth.service")

    def pull(self) -> None:
        """Take the card out."""
        assert self._card is not None
        self._card.send_signal(signal.SIGUSR1)

    def insert(self) -> None:
        """Put it in."""
        assert self._card is not None
        self._card.send_signal(signal.SIGUSR2)

    def is_covered(self) -> bool:
        """Return whether the session says so, and its own locker does."""
        return self.call("lock-state", check=False).startswith("yes")

    def sessions(self) -> str:
        """Return camille's sessions and the process that draws them."""
        listed = self.run("sh", "-c", "loginctl list-sessions --no-legend | grep seat0; true")
        drawn = self.run("sh", "-c", "pgrep -x 'kwin_wayland|gnome-shell' | sort | head -n 1")
        return f"{' '.join(listed.split()[:1])} {drawn}"

    def journal(self, since_s: float) -> str:
        """Return the daemon's log of late."""
        return self.run("journalctl", "-u", "cps-auth", "--since", f"@{since_s:.0f}", "-o", "cat")

    def close(self) -> None:
        """Let go of the card."""
        if self._card is not None:
            self._card.terminate()
            self._card.wait(20)


def main() -> int:
    """Run, print the row; exit code 0 only if every screen was covered."""
    parser = argparse.ArgumentParser(prog="python -m tests.desk.pulls", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("desktop", choices=("gnome", "kde"))
    parser.add_argument("--pulls", type=int, default=20)
    parser.add_argument("--igc", type=Path, default=Path("/tmp/desk-igc"))  # noqa: S108 - fakes
    arguments = parser.parse_args()
    chance, desk = random.Random(), Desk(arguments.root)  # noqa: S311 - moments, no secrets
    open_before, failures, took = 0, [], list[float]()
    try:
        desk.install(arguments.igc)
        desk.call("session", arguments.desktop)
        before = desk.sessions()
        for number in range(arguments.pulls):
            started_s = time.time()
            desk.insert()
            desk.run("loginctl", "lock-sessions")
            _await(desk.is_covered)
            time.sleep(1.5)
            desk.call("type", "1234")
            time.sleep(chance.uniform(0, PULL_WITHIN_S))
            desk.pull()
            pulled_s = time.monotonic()
            time.sleep(1)
            open_before += not desk.is_covered()
            if _await(desk.is_covered):
                took.append(time.monotonic() - pulled_s)
            time.sleep(STAYS_S)
            log = desk.journal(started_s)
            if not desk.is_covered() or desk.sessions() != before:
                failures.append(f"pull {number}: {desk.sessions()} was {before}\n{log}")
            print(number, "verified" in log, f"{took[-1] if took else 0:.1f}", flush=True)
    finally:
        desk.close()
    print("\n".join(failures))
    worst = max(took, default=0.0), statistics.median(took) if took else 0.0
    print(
        f"| {arguments.root.name} | {arguments.pulls} | {arguments.pulls - len(failures)} |"
        f" {open_before} | {worst[1]:.1f} | {worst[0]:.1f} |"
    )
    return 1 if failures else 0


def _await(condition: object) -> bool:
    deadline_s = time.monotonic() + COVERED_WITHIN_S
    while time.monotonic() < deadline_s:
        if callable(condition) and condition():
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
