"""`python -m pam_helper daemon|install|uninstall|check|enrol|code`: exit code 0 only for yes."""

from __future__ import annotations

import argparse
import logging
import pwd
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cps_auth.config import read_settings
from cps_auth.errors import ConfigurationError, CpsAuthError
from cps_auth.wording import explain
from pam_helper.accounts.enrolment import enrol
from pam_helper.accounts.one_time_codes import CODES_PATH, LIFETIME, OneTimeCodes
from pam_helper.daemon import run as daemon
from pam_helper.daemon.fresh_judge import judge_of
from pam_helper.daemon.run import DaemonOptions
from pam_helper.setup import check
from pam_helper.setup import command as setup_command
from pam_helper.setup.command import SetupOptions

_DEFAULTS = DaemonOptions()
_log = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pam_helper", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="log in detail; never a PIN")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _daemon_parser(commands.add_parser("daemon", help="serve PAM and lock sessions"))
    _enrol_parser(commands.add_parser("enrol", help="map the card in the reader to an account"))
    _check_parser(commands.add_parser("check", help="walk the chain and say what is broken"))
    _code_parser(commands.add_parser("code", help="issue a one-time code for an account"))
    _install_parser(commands.add_parser("install", help="install PAM side, service, settings"))
    remove = commands.add_parser("uninstall", help="take away what install wrote")
    remove.add_argument("--root", type=Path, default=Path("/"), help="another system's root")
    remove.add_argument("--dry-run", action="store_true", help="change nothing")
    remove.set_defaults(run=_uninstall)
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
    parser.add_argument("--codes", type=Path, default=_DEFAULTS.codes, metavar="FILE")
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
    parser.add_argument(
        "--lock", metavar="ACCOUNT", help="lock its screens, and see that it is confirmed"
    )
    parser.set_defaults(run=_check)


def _install_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path("/"), help="another system's root")
    parser.add_argument("--dry-run", action="store_true", help="show what would change")
    parser.add_argument(
        "--pam-auth-update",
        action="store_true",
        help="let the card log in wherever the password does (it still does)",
    )
    parser.add_argument("--no-module", action="store_true", help="use pam_exec, build nothing")
    parser.add_argument(
        "--only-daemon", action="store_true", help="keep other programs off the cards (polkit)"
    )
    parser.set_defaults(run=_install)


def _code_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", help="an existing Unix account")
    parser.add_argument("--hours", type=float, default=LIFETIME.total_seconds() / 3600)
    parser.add_argument("--revoke", action="store_true", help="strike all codes off instead")
    parser.add_argument("--codes", type=Path, default=CODES_PATH, metavar="FILE")
    parser.set_defaults(run=_code)


def _daemon(arguments: argparse.Namespace) -> int:
    daemon.run(
        DaemonOptions(
            config=arguments.config,
            accounts=arguments.accounts,
            socket=arguments.socket,
            state=arguments.state,
            codes=arguments.codes,
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
        judge_of(settings.trust, daemon.trust_folder(options, settings))(),
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
    for finding in check.walk(options, lock=arguments.lock):
        print(f"{'ok ' if finding.ok else 'BAD'} {finding.link:9} {finding.text}")
        broken += not finding.ok
    return 1 if broken else 0


def _install(arguments: argparse.Namespace) -> int:
    options = SetupOptions(
        arguments.root,
        arguments.dry_run,
        arguments.pam_auth_update,
        not arguments.no_module,
        arguments.only_daemon,
    )
    for step in setup_command.install(options):
        print(f"{step.what:7} {step.place}  {step.why}".rstrip())
        if arguments.dry_run and step.diff:
            print(step.diff)
    return 0


def _uninstall(arguments: argparse.Namespace) -> int:
    options = SetupOptions(arguments.root, arguments.dry_run)
    for step in setup_command.uninstall(options):
        print(f"{step.what:7} {step.place}  {step.why}".rstrip())
    return 0


def _code(arguments: argparse.Namespace) -> int:
    codes = OneTimeCodes(arguments.codes)
    if arguments.revoke:
        print(f"{codes.revoke(arguments.account)} code(s) of {arguments.account} struck off")
        return 0
    try:
        pwd.getpwnam(arguments.account)
    except KeyError:
        raise ConfigurationError(f"there is no account {arguments.account!r}") from None
    lifetime = timedelta(hours=arguments.hours)
    code = codes.issue(arguments.account, lifetime, at=datetime.now(UTC))
    _log.warning("one-time code issued for %s, for %s h", arguments.account, arguments.hours)
    print(f"{code}  works once for {arguments.account}, for {arguments.hours} h")
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
