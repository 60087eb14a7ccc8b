"""How long a lock takes beside `loginctl lock-session`, and what the daemon weighs."""

from __future__ import annotations

import statistics
import time

from tests.desk.booted import Desk, Table, load, wait_for


class _Times:
    """Seconds, one list a column."""

    def __init__(self) -> None:
        self.by_hand: list[float] = []
        self.pulled: list[float] = []
        self.verified: list[float] = []
        self.opened: list[float] = []


def run(desk: Desk, table: Table, count: int) -> int:
    """Measure so many times, by hand and by a pull in turn; returns how many were not seen."""
    times, missed = _Times(), 0
    desk.run("loginctl", "lock-session", desk.session_id)
    wait_for(desk.is_covered)
    for _number in range(count):
        missed += not _open(desk, times)
        asked_s = time.time()
        desk.run("loginctl", "lock-session", desk.session_id)
        missed += not _locked(desk, asked_s, times.by_hand)
        missed += not _open(desk, times)
        missed += not _locked(desk, desk.pull(), times.pulled)
        desk.heard(desk.insert(), "card-inserted")
    both = [statistics.median(column) for column in (times.by_hand, times.pulled)]
    row = [desk.name, *(f"{seconds:.2f}" for seconds in both), f"{both[1] - both[0]:+.2f}"]
    row += [f"{statistics.median(column):.2f}" for column in (times.verified, times.opened)]
    table.write([*row, *_weight(desk), load()])
    return missed


def _open(desk: Desk, times: _Times) -> bool:
    if desk.desktop == "kde":
        time.sleep(1.5)
    desk.wake()
    typed_s = desk.type_code()
    if not wait_for(lambda: not desk.is_hinted(), 20):
        return False
    time.sleep(1.5)  # Plasma 6's greeter ends
    opened_s = next((at for at, hint in desk.hints(typed_s - 1) if not hint), None)
    verified_s = next((at for at, line in desk.log(typed_s - 1) if ", opening" in line), None)
    if opened_s and verified_s:
        times.verified.append(verified_s - typed_s)
        times.opened.append(opened_s - verified_s)
    return True


def _locked(desk: Desk, since_s: float, column: list[float]) -> bool:
    if not wait_for(desk.is_covered):
        return False
    time.sleep(0.2)
    column.append(next((at for at, hint in desk.hints(since_s) if hint), since_s) - since_s)
    return True


def _weight(desk: Desk) -> list[str]:
    pid = desk.status()["MainPID"]
    rollup = desk.run("cat", f"/proc/{pid}/smaps_rollup")
    sizes = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    cgroup = "/sys/fs/cgroup/system.slice/cps-auth.service/cgroup.procs"
    processes = desk.run("cat", cgroup).split()
    return [f"{sizes[key] / 1024:.1f}" for key in ("Rss:", "Pss:")] + [str(len(processes))]
