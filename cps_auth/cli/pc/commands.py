"""`cps-auth pc enrol|accounts|code|check`: the accounts of this PC, and what works on it.

The PC side (`pam_helper`) is imported when a command of it runs: `cps-auth readers` and its like
start without it, and an installation without `[cabinet]` says so in words.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cps_auth.cli.diagnostics import Finding
from cps_auth.cli.doctor.command import finding_as_json, finding_lines
from cps_auth.cli.errors import language_of_environment, now, surface, to_json
from cps_auth.config import CONFIG_PATH, read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.wording import translations

if TYPE_CHECKING:
    from pam_helper.daemon.run import DaemonOptions

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_DAY = click.DateTime(["%Y-%m-%d"])
_log = logging.getLogger(__name__)


@click.group()
def pc() -> None:
    """Set this computer up so that the CPS card opens and locks its sessions. For root."""


@contextlib.contextmanager
def pc_side(as_json: bool = False) -> Iterator[None]:
    """Turn errors into words, a PC side that is not installed among them."""
    with surface(as_json):
        try:
            yield
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"cps-auth[cabinet]: {error.name}") from None


def paths(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options that name files in other places than an installed PC's."""
    for option in (
        click.option("--config", type=_FILE, default=CONFIG_PATH, help="The settings file."),
        click.option("--accounts", type=_FILE, help="The accounts file."),
        click.option("--trust", type=_FOLDER, help="A trust folder, in place of production."),
    ):
        command = option(command)
    return command


_as_json = click.option("--json", "as_json", is_flag=True, help="One line of JSON.")


def _say(sentence: str, **facts: object) -> None:
    click.echo(translations(language_of_environment()).gettext(sentence).format(**facts))


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


def options_of(config: Path, accounts: Path | None, trust: Path | None) -> DaemonOptions:
    """Return where the PC side finds what it needs."""
    from pam_helper.accounts.accounts import ACCOUNTS_PATH
    from pam_helper.daemon.run import DaemonOptions

    return DaemonOptions(config=config, accounts=accounts or ACCOUNTS_PATH, trust=trust)


@pc.command()
@click.argument("account")
@paths
@click.option("--reader", metavar="NAME", help="The reader, where there are several.")
@click.option("--until", type=_DAY, help="The last day, for the card of a replacement.")
@click.option("--pin-stdin", is_flag=True, help="Read the PIN from standard input.")
@click.option("--use-last-attempt", is_flag=True, help="Send the PIN even on the last attempt.")
def enrol(
    account: str,
    config: Path,
    accounts: Path | None,
    trust: Path | None,
    reader: str | None,
    until: datetime | None,
    pin_stdin: bool,
    use_last_attempt: bool,
) -> None:
    """Map the holder of the card in the reader to ACCOUNT, after card and PIN are verified."""
    with pc_side():
        enrol_card(
            account,
            options_of(config, accounts, trust),
            reader=reader,
            until=until.date() if until else None,
            pin_stdin=pin_stdin,
            use_last_attempt=use_last_attempt,
        )


def enrol_card(
    account: str,
    options: DaemonOptions,
    *,
    reader: str | None = None,
    until: date | None = None,
    pin_stdin: bool = False,
    use_last_attempt: bool = False,
) -> None:
    """Enrol the card in the reader, and say for whom.

    Raises:
        CpsAuthError: any leaf, see `pam_helper.accounts.enrolment.enrol`.
    """
    from pam_helper.accounts.enrolment import enrol as enrol_holder
    from pam_helper.daemon.fresh_judge import judge_of
    from pam_helper.daemon.run import cards_of, trust_folder
    from pam_helper.journal import note_account

    settings = read_settings(options.config)
    holder, changed = enrol_holder(
        account,
        cards_of(settings),
        judge_of(settings.trust, trust_folder(options, settings))(),
        options.accounts,
        reader=reader or settings.card.reader,
        language=language_of_environment(),
        pin_from_stdin=pin_stdin,
        use_last_attempt=use_last_attempt,
        until=until,
    )
    who = holder.practitioner
    if changed:
        note_account(options.accounts, who.ps_idnat, account, "enrolled")
    sentence = _("{name} ({ps_idnat}) opens {account} (trust: {trust})")
    if not changed:
        sentence = _("{name} ({ps_idnat}) opens {account} already (trust: {trust})")
    facts = {"name": who.display_name, "ps_idnat": who.ps_idnat, "trust": holder.trust}
    _say(sentence, account=account, **facts)


@pc.group(invoke_without_command=True)
@click.option("--accounts", "path", type=_FILE, help="The accounts file.")
@_as_json
@click.pass_context
def accounts(context: click.Context, path: Path | None, as_json: bool) -> None:
    """Show whose card opens which account, and change it.

    A renewed card opens what the old one did: its holder is the same.
    """
    with pc_side(as_json):
        from pam_helper.accounts.accounts import ACCOUNTS_PATH, read_accounts

        context.obj = path or ACCOUNTS_PATH
        if context.invoked_subcommand is not None:
            return
        at, rows = now(), read_accounts(context.obj).holder
        if as_json:
            click.echo(to_json({"ok": True, "accounts": rows}))
            return
        if not rows:
            _say(_("{path}: nobody is enrolled"), path=context.obj)
        for row in rows:
            line = f"{row.ps_idnat}  {row.name or '-'}: {', '.join(row.accounts)}"
            sentence = _("over since {until}") if row.is_over(at) else _("until {until}")
            text = translations(language_of_environment()).gettext(sentence)
            click.echo(line if row.until is None else f"{line}, {text.format(until=row.until)}")


_of_account = click.option("--account", help="Only this one of the holder's accounts.")


@accounts.command()
@click.argument("holder")
@_of_account
@click.pass_obj
def remove(path: Path, holder: str, account: str | None) -> None:
    """Take accounts away from HOLDER (the number of `cps-auth pc accounts`)."""
    with pc_side():
        from pam_helper.accounts.accounts import Selection, remove_holder

        _changed(remove_holder(path, Selection(holder, account)), path, holder, "removed")


@accounts.command()
@click.argument("holder")
@click.argument("last_day", metavar="YYYY-MM-DD|never")
@_of_account
@click.pass_obj
def until(path: Path, holder: str, last_day: str, account: str | None) -> None:
    """Set the last day on which the card of HOLDER opens accounts."""
    try:
        day = None if last_day == "never" else date.fromisoformat(last_day)
    except ValueError:
        words = translations(language_of_environment()).gettext("{text!r}: YYYY-MM-DD or never")
        raise click.BadParameter(words.format(text=last_day)) from None
    with pc_side():
        from pam_helper.accounts.accounts import Selection, set_last_day

        changed = set_last_day(path, Selection(holder, account), day)
        _changed(changed, path, holder, f"until {last_day}")


def _changed(count: int, path: Path, holder: str, reason: str) -> None:
    """Report how many entries were changed, and log it for the administrator's colleagues.

    Raises:
        ConfigurationError: none was.
    """
    from pam_helper.journal import note_account

    if not count:
        tr = translations(language_of_environment())
        raise ConfigurationError(tr.gettext("no entry of {holder}").format(holder=holder))
    note_account(path, holder, None, reason)
    _say(_("{count} entries changed"), count=count)


@pc.command()
@click.argument("account")
@click.option("--hours", type=float, help="How long it counts, 8 by default, 24 at most.")
@click.option("--revoke", is_flag=True, help="Strike all codes of the account off instead.")
@click.option("--codes", type=_FILE, help="The file of the codes.")
def code(account: str, hours: float | None, revoke: bool, codes: Path | None) -> None:
    """Issue a one-time code for somebody whose card is forgotten or blocked."""
    with pc_side():
        from pam_helper.accounts.enrolment import check_account
        from pam_helper.accounts.one_time_codes import CODES_PATH, LIFETIME, OneTimeCodes
        from pam_helper.journal import note_code

        store = OneTimeCodes(codes or CODES_PATH)
        if revoke:
            count = store.revoke(account)
            _say(_("{count} codes of {account} struck off"), count=count, account=account)
            return
        check_account(account)
        lifetime = LIFETIME if hours is None else timedelta(hours=hours)
        issued = store.issue(account, lifetime, at=now())
        hours = lifetime.total_seconds() / 3600
        _log.warning("one-time code issued for %s, for %s h", account, hours)
        note_code(codes or CODES_PATH, account, f"{hours:g} h")
        sentence = _("{code}  works once for {account}, for {hours:g} h")
        _say(sentence, code=issued, account=account, hours=hours)


@pc.command()
@paths
@click.option("--socket", type=_FILE, help="The daemon's socket.")
@click.option("--lock", metavar="ACCOUNT", help="Lock its screens, and see that it is confirmed.")
@_as_json
def check(
    config: Path,
    accounts: Path | None,
    trust: Path | None,
    socket: Path | None,
    lock: str | None,
    as_json: bool,
) -> None:
    """Look at every link from the reader to the screen lock. Spends no PIN attempt.

    Exit code 0 only if everything works, otherwise that of the first thing that does not.
    """
    with pc_side(as_json):
        options = options_of(config, accounts, trust)
        if socket is not None:
            options = dataclasses.replace(options, socket=socket)
        walk_chain(options, lock=lock, as_json=as_json)


def walk_chain(options: DaemonOptions, *, lock: str | None = None, as_json: bool = False) -> None:
    """Print what is found at each link.

    Raises:
        SystemExit: something is broken, with its exit code.
    """
    from pam_helper.setup.check import walk

    language = language_of_environment()
    findings: list[Finding] = []
    for finding in walk(options, language, lock=lock):
        findings.append(finding)
        if not as_json:
            click.echo("\n".join(finding_lines(finding, language)))
    broken = [finding.error for finding in findings if finding.error is not None]
    if as_json:
        rows = [finding_as_json(finding, language) for finding in findings]
        click.echo(to_json({"ok": not broken, "findings": rows}))
    if broken:
        raise SystemExit(EXIT_CODES[type(broken[0])])
