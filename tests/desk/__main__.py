"""`./dev test desk ROOT gnome|kde --deb FILE`: what is promised, on a booted desk.

ROOT is a practice PC of `../shared/tools/desk`, made and booted. The package is installed on it,
`cps-auth pc setup` run, a virtual CPS enrolled, a session opened. Without a further word the
promises of docs/pam.md are gone through; the rows of docs/appendix/desks.md are written.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.desk import promises, pulls, speed, week
from tests.desk.booted import CHECKOUT, Desk, Table

_PAGE = CHECKOUT / "docs/appendix/desks.md"


def main() -> int:
    """Run; exit code 0 only if everything held."""
    parser = argparse.ArgumentParser(prog="./dev test desk", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("desktop", choices=("gnome", "kde"))
    parser.add_argument("--deb", type=Path, required=True, help="made by ./dev deb on its release")
    parser.add_argument("--pulls", type=int, metavar="COUNT", help="only these")
    parser.add_argument("--week", type=int, metavar="CYCLES", help="only a week, so many a day")
    parser.add_argument("--speed", type=int, metavar="COUNT", help="only how long it takes")
    parser.add_argument("--minutes", type=float, default=10, help="of a required card that is out")
    parser.add_argument("--igc", type=Path, help="a fake IGC-Santé; a new one by default")
    parser.add_argument("--page", type=Path, default=_PAGE, help="where the rows are written")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # the card goes, too
    with Desk(given.root.resolve(), given.desktop, given.igc) as desk:
        desk.prepare()
        desk.install(given.deb)
        desk.put_card()
        desk.set_up()
        desk.follow()
        if given.pulls is not None:
            table = Table(given.page, "## Pulls within half a second of the code")
            return 1 if pulls.run(desk, table, given.pulls) else 0
        if given.speed is not None:
            table = Table(given.page, "## How long it takes")
            return 1 if speed.run(desk, table, given.speed) else 0
        if given.week is not None:
            table = Table(given.page, "## A week")
            return 1 if week.run(desk, table, given.deb, given.week) else 0
        table = Table(given.page, "## What is promised")
        return 1 if promises.run(desk, table, given.deb, given.minutes) else 0


if __name__ == "__main__":
    sys.exit(main())
