"""`./dev test desk ROOT gnome|kde --deb FILE`: what is promised, on a booted desk.

ROOT is a practice PC of `../shared/tools/desk`, made and booted. The package is installed on it,
`cps-auth pc setup` run, a virtual CPS enrolled, a session opened. Without a further word the
promises of docs/pam.md are gone through; the rows of docs/appendix/desks.md are written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.desk import pulls
from tests.desk.booted import CHECKOUT, Desk, Table

_PAGE = CHECKOUT / "docs/appendix/desks.md"


def main() -> int:
    """Run; exit code 0 only if everything held."""
    parser = argparse.ArgumentParser(prog="./dev test desk", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("desktop", choices=("gnome", "kde"))
    parser.add_argument("--deb", type=Path, required=True, help="made by ./dev deb on its release")
    parser.add_argument("--pulls", type=int, metavar="COUNT", help="only these")
    parser.add_argument("--page", type=Path, default=_PAGE, help="where the rows are written")
    given = parser.parse_args()
    with Desk(given.root.resolve(), given.desktop) as desk:
        desk.prepare()
        desk.install(given.deb)
        desk.put_card()
        desk.set_up()
        desk.follow()
        table = Table(given.page, "## Pulls within half a second of the code")
        return 1 if pulls.run(desk, table, given.pulls) else 0


if __name__ == "__main__":
    sys.exit(main())
