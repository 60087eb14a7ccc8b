"""`python -m pam_helper daemon`: what the unit runs. Everything else is `cps-auth pc`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from cps_auth.errors import CpsAuthError
from cps_auth.wording import explain
from pam_helper.daemon import run as daemon
from pam_helper.daemon.run import DaemonOptions
from pam_helper.daemon.systemd import JournalHandler, is_logged_by_journal

_DEFAULTS = DaemonOptions()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pam_helper", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="log in detail; never a PIN")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("daemon", help="serve PAM and lock sessions")
    for name in ("config", "accounts", "socket", "state", "codes"):
        serve.add_argument(f"--{name}", type=Path, default=getattr(_DEFAULTS, name), metavar="PATH")
    serve.add_argument(
        "--trust", type=Path, metavar="DIR", help="replaces the settings' trust and the pins"
    )
    return parser


def main() -> int:
    """Run the daemon; an error of ours in words on standard error, exit code 1."""
    arguments = vars(_parser().parse_args())
    level = logging.DEBUG if arguments.pop("debug") else logging.INFO
    handlers = [JournalHandler()] if is_logged_by_journal() else None
    logging.basicConfig(level=level, format="%(levelname)s %(name)s %(message)s", handlers=handlers)
    try:
        daemon.run(DaemonOptions(**arguments))
    except CpsAuthError as error:
        print(f"{error.code}: {explain(error, 'fr').text}", file=sys.stderr)
        print(f"{error.code}: {explain(error, 'en').text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
