"""`cps-auth audit show|verify|export|seal`: the journal of logins, refusals, locks and changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from cps_auth.audit.chain import key_from_text
from cps_auth.audit.entry import AuditEvent, Line
from cps_auth.audit.export import BreachExtract, breach_extract, merged, to_csv
from cps_auth.audit.head import journal_files
from cps_auth.audit.journal import AuditJournal
from cps_auth.audit.verify import Fault, Finding, Verified, verify_journal
from cps_auth.cli.errors import language_of_environment, now, surface, to_json
from cps_auth.config import read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.exit_codes import JOURNAL_ALTERED
from cps_auth.files import as_configuration_error
from cps_auth.wording import translations

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


EVENTS = {
    AuditEvent.LOGIN: _("logged in"),
    AuditEvent.LOGIN_REFUSED: _("login refused"),
    AuditEvent.ACCESS_REFUSED: _("page refused"),
    AuditEvent.SESSION_ENDED: _("session ended"),
    AuditEvent.LOCKED: _("screen locked"),
    AuditEvent.UNLOCKED: _("screen unlocked"),
    AuditEvent.CODE_ISSUED: _("one-time code issued"),
    AuditEvent.CODE_USED: _("one-time code used"),
    AuditEvent.PIN_UNBLOCKED: _("PIN unblocked"),
    AuditEvent.ACCOUNT_CHANGED: _("account changed"),
    AuditEvent.SETTINGS_CHANGED: _("settings changed"),
    AuditEvent.JOURNAL_SEALED: _("sealed with a new key from here on"),
    AuditEvent.JOURNAL_PRUNED: _("a month that is kept no longer was deleted"),
    AuditEvent.JOURNAL_TORN: _("a line had been cut short, as by a power failure"),
    AuditEvent.JOURNAL_GAP: _("entries were lost, the disk took nothing"),
}

FINDINGS = {
    Finding.CHANGED: _("this line was changed"),
    Finding.FOREIGN: _("this line was never the journal's"),
    Finding.MISSING: _("lines before this one were removed"),
    Finding.MOVED: _("this line is out of its order, or there twice"),
    Finding.REPLACED: _("this line was replaced by another one"),
    Finding.OTHER_HOST: _("this line is another computer's"),
    Finding.CUT: _("the end of the journal was removed"),
    Finding.NO_HEAD: _("head.json is gone: whether the end is there cannot be told"),
    Finding.NO_BEGINNING: _("the beginning of the journal was removed"),
    Finding.BAD_SEAL: _("the seal is wrong: somebody wrote this line anew"),
    Finding.NOT_OURS: _("others could have written this file"),
    Finding.TORN: _("the last line was cut short, as by a power failure; nothing else is lost"),
    Finding.CLOCK_BACK: _("the clock went back before this line"),
}


@click.group()
def audit() -> None:
    """Show, verify and export the audit journal."""


def _common(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One document of JSON."),
        click.option(
            "--folder",
            "folders",
            multiple=True,
            type=_FOLDER,
            help="Of a journal, in place of this computer's; several to merge them.",
        ),
    ):
        command = option(command)
    return command


def _bounds(command: click.decorators.FC) -> click.decorators.FC:
    for name in ("--until", "--since"):
        command = click.option(
            name, callback=_moment, help="A day or a moment, as 2026-11-30 or 2026-11-30T08:00."
        )(command)
    return command


def _moment(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> datetime | None:
    """Read a moment of this computer's own time; a day without a time is its beginning."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        words = translations(language_of_environment()).gettext("{text!r}: no day or moment")
        raise click.BadParameter(words.format(text=text)) from None


def _chosen(folders: Sequence[Path]) -> tuple[Path, ...]:
    chosen = tuple(folders) or (read_settings().audit.path,)
    for folder in chosen:
        with as_configuration_error(folder):
            if not journal_files(folder):
                folder.stat()
                raise ConfigurationError(f"{folder}: no journal in it")
    return chosen


@audit.command()
@_common
@_bounds
def show(
    as_json: bool, folders: tuple[Path, ...], since: datetime | None, until: datetime | None
) -> None:
    """Show the entries of a time span, the oldest first."""
    with surface(as_json):
        lines = _lines(_chosen(folders), since, until)
        if as_json:
            click.echo(to_json({"ok": True, "lines": lines}))
            return
        gettext = translations(language_of_environment()).gettext
        for line in lines:
            click.echo(_line_text(line, gettext))


def _keys(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> list[bytes]:
    try:
        return [key_from_text(text) for text in texts]
    except ValueError:
        words = translations(language_of_environment()).gettext("a key is 32 bytes in base32")
        raise click.BadParameter(words) from None


@audit.command()
@_common
@click.option(
    "--key", "keys", multiple=True, callback=_keys, help="A key that `audit seal` showed."
)
def verify(as_json: bool, folders: tuple[Path, ...], keys: list[bytes]) -> None:
    """Verify that no line was removed, changed, added or moved; exit 0 only then."""
    with surface(as_json):
        found = {}
        for folder in _chosen(folders):
            with as_configuration_error(folder):
                found[str(folder)] = verify_journal(folder, keys)
        good = all(verified.is_intact for verified in found.values())
        if as_json:
            click.echo(to_json({"ok": good, "journals": found}))
        else:
            gettext = translations(language_of_environment()).gettext
            for folder_name, verified in found.items():
                click.echo("\n".join(_verified_text(folder_name, verified, gettext)))
        if not good:
            raise SystemExit(JOURNAL_ALTERED)


@audit.command()
@_common
@_bounds
@click.option("--csv", "as_csv", is_flag=True, help="A table, for a spreadsheet.")
@click.option(
    "--breach",
    "discovered_at",
    callback=_moment,
    help="An extract for the register of breaches: when the practice became aware of it.",
)
def export(
    as_json: bool,
    folders: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    as_csv: bool,
    discovered_at: datetime | None,
) -> None:
    """Export a time span of one journal, or of several in the order of time."""
    with surface(as_json):
        chosen = _chosen(folders)
        if discovered_at is not None:
            begin = since or discovered_at - timedelta(days=30)
            extract = breach_extract(
                chosen, since=begin, until=until or now(), discovered_at=discovered_at, at=now()
            )
            click.echo(to_json(extract) if as_json else _extract_text(extract), nl=True)
            return
        lines = _lines(chosen, since, until)
        click.echo(
            to_csv(lines) if as_csv else to_json({"ok": True, "lines": lines}), nl=not as_csv
        )


@audit.command()
@click.option("--json", "as_json", is_flag=True, help="One document of JSON.")
@click.option("--folder", type=_FOLDER, help="Of a journal, in place of this computer's.")
def seal(as_json: bool, folder: Path | None) -> None:
    """Seal the journal with a new key from here on, and show that key once."""
    with surface(as_json):
        key = AuditJournal(folder or read_settings().audit.path).seal()
        gettext = translations(language_of_environment()).gettext
        words = gettext(
            "Write this key down and keep it where nobody finds it who works at this computer. It "
            "is shown once. `cps-auth audit verify --key` proves with it that nobody, not even "
            "with all rights, wrote earlier lines anew."
        )
        click.echo(to_json({"ok": True, "key": key}) if as_json else f"{key}\n\n{words}")


def _lines(folders: Sequence[Path], since: datetime | None, until: datetime | None) -> list[Line]:
    with as_configuration_error(folders[0]):
        return merged(folders, since=since, until=until)


def _line_text(line: Line, gettext: Callable[[str], str]) -> str:
    entry = line.entry
    said = (entry.outcome, entry.holder, entry.account, entry.method, entry.peer, entry.reason)
    at = line.at.astimezone()
    words = " ".join(repr(one)[1:-1] for one in (*said, entry.detail) if one)
    return f"{at:%Y-%m-%d %H:%M:%S} {line.host} {gettext(EVENTS[entry.event])} {words}".rstrip()


def _minute(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _verified_text(folder: str, verified: Verified, gettext: Callable[[str], str]) -> list[str]:
    if verified.is_intact:
        words = gettext("{folder}: {count} lines, none removed, changed, added or moved")
    else:
        words = gettext("{folder}: {count} lines, and this is not as it was written:")
    first = words.format(folder=folder, count=verified.lines)
    if verified.sealed:
        first += gettext("; {count} seals are genuine").format(count=verified.sealed)
    return [first, *(_fault_text(fault, gettext) for fault in verified.faults)]


def _fault_text(fault: Fault, gettext: Callable[[str], str]) -> str:
    detail = f" ({fault.detail!r})" if fault.detail else ""
    return f"  {fault.file}:{fault.line}: {gettext(FINDINGS[fault.finding])}{detail}"


def _extract_text(extract: BreachExtract) -> str:
    gettext = translations(language_of_environment()).gettext
    if extract.hours_left >= 0:
        words = gettext("Notify the CNIL until {date} (72 hours, GDPR article 33): {hours} h left.")
    else:
        words = gettext("The CNIL was to be notified until {date} (GDPR article 33): say why late.")
    lines = [
        gettext("Extract for the register of breaches"),
        f"{_minute(extract.since)} – {_minute(extract.until)}",
        words.format(date=_minute(extract.notify_by), hours=extract.hours_left),
        gettext("Practitioners: {names}").format(names=", ".join(extract.holders) or "-"),
        gettext("From: {names}").format(names=", ".join(map(repr, extract.peers)) or "-"),
    ]
    lines += [f"  {gettext(EVENTS[event])}: {count}" for event, count in extract.counts.items()]
    for folder, findings in extract.altered.items():
        lines += [f"{folder}: {gettext(FINDINGS[finding])}" for finding in findings]
    return "\n".join([*lines, "", *(_line_text(line, gettext) for line in extract.lines)])
