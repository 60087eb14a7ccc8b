"""`python -m pam_helper daemon|install|uninstall|check|enrol`: exit code 0 only for yes."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from cps_auth.config import read_settings
from cps_auth.errors import CpsAuthError
from cps_auth.wording import explain
from pam_helper import check, daemon, installation
from pam_helper.daemon import DaemonOptions
from pam_helper.enrolment import enrol
from pam_helper.fresh_judge import judge_of

_DEFAULTS = DaemonOptions()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pam_helper", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="log in detail; never a PIN")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _daemon_parser(commands.add_parser("daemon", help="serve PAM and lock sessions"))
    _enrol_parser(commands.add_parser("enrol", help="map the card in the reader to an account"))
    _check_parser(commands.add_parser("check", help="walk the chain and say what is broken"))
    for name, function in (
        ("install", installation.install),
        ("uninstall", installation.uninstall),
    ):
        command = commands.add_parser(name, help=f"{name} PAM side, service and settings")
        command.add_argument("--root", type=Path, default=Path("/"), help="another system's root")
        command.add_argument("--dry-run", action="store_true", help="change nothing")
        command.set_defaults(run=_change_system, function=function)
    return parser


def _paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=_DEFAULTS.config, metavar="FILE")
    parser.add_argument("--accounts", type=Path, default=_DEFAULTS.accounts, metavar="FILE")
    parser.add_argument(
        "--trust", type=Path, metavar="DIR", help="replaces the settings' trust and the pins"
    )


def _socket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", type=Path, default=_DEFAULTS.socket, metavar="PATH")


def _daemon_parser(parser: argparse.ArgumentParser) -> None:
    _paths(parser)
    _socket(parser)
    parser.add_argument("--state", type=Path, default=_DEFAULTS.state, metavar="DIR")
    parser.set_defaults(run=_daemon)


def _enrol_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", help="an existing Unix account")
    _paths(parser)
    parser.add_argument("--reader", metavar="NAME")
    parser.add_argument("--pin-stdin", action="store_true", help="the PIN comes on stdin")
    parser.add_argument("--use-last-attempt", action="store_true")
    parser.set_defaults(run=_enrol)


def _check_parser(parser: argparse.ArgumentParser) -> None:
    _paths(parser)
    _socket(parser)
    parser.set_defaults(run=_check)


def _daemon(arguments: argparse.Namespace) -> int:
    daemon.run(
        DaemonOptions(
            config=arguments.config,
            accounts=arguments.accounts,
            socket=arguments.socket,
            state=arguments.state,
            trust=arguments.trust,
        )
    )
    return 0


def _enrol(arguments: argparse.Namespace) -> int:
    settings = read_settings(arguments.config)
    options = DaemonOptions(trust=arguments.trust)
    holder, changed = enrol(
        arguments.account,
        daemon.cards_of(settings),
        judge_of(daemon.trust_folder(options, settings))(),
        arguments.accounts,
        reader=arguments.reader or settings.card.reader,
        language=settings.language,
        pin_from_stdin=arguments.pin_stdin,
        use_last_attempt=arguments.use_last_attempt,
    )
    practitioner = holder.practitioner
    print(f"{practitioner.display_name} ({practitioner.ps_idnat}) -> {arguments.account}")
    print(f"{'added to' if changed else 'already in'} {arguments.accounts}, trust: {holder.trust}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    options = DaemonOptions(
        config=arguments.config,
        accounts=arguments.accounts,
        socket=arguments.socket,
        trust=arguments.trust,
    )
    broken = 0
    for finding in check.walk(options):
        print(f"{'ok ' if finding.ok else 'BAD'} {finding.link:9} {finding.text}")
        broken += not finding.ok
    return 1 if broken else 0


def _change_system(arguments: argparse.Namespace) -> int:
    for step in arguments.function(arguments.root, dry_run=arguments.dry_run):
        print(f"{step.what:7} {step.place}  {step.why}".rstrip())
    return 0


def main() -> int:
    """Run one command; every error of ours in words on standard error, exit code 1."""
    arguments = _parser().parse_args()
    level = logging.DEBUG if arguments.debug else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s %(message)s")
    try:
        return int(arguments.run(arguments))
    except CpsAuthError as error:
        print(f"{error.code}: {explain(error, 'fr').text}", file=sys.stderr)
        print(f"{error.code}: {explain(error, 'en').text}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
