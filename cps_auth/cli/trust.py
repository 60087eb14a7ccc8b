"""`cps-auth trust`: whom this computer trusts, and how fresh its revocation lists are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import click

from cps_auth.cli.errors import language_of_environment, now, surface, to_json
from cps_auth.config import read_settings
from cps_auth.errors import RevocationUnknown, TrustStoreUnusable
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.pki.chain.trust_store import (
    PRODUCTION_FOLDERS,
    TrustStore,
    folder_trust,
    production_trust,
)
from cps_auth.pki.judge import PRODUCTION_CRL_FOLDER, crl_folder_of
from cps_auth.pki.revocation.crl_header import CrlProblem
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.upkeep.status import AuthorityStatus, CrlStatus, authorities_status, crls_status
from cps_auth.pki.upkeep.update import (
    Outcome,
    files_of,
    import_certificates,
    import_lists,
    update_authorities,
    update_lists,
)
from cps_auth.wording import translations

_SOURCE = click.Path(path_type=Path)


@click.group()
def trust() -> None:
    """Show and renew the trusted authorities and their revocation lists."""


def _common(command: click.decorators.FC) -> click.decorators.FC:
    folder = click.Path(exists=False, file_okay=False, path_type=Path)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One line of JSON."),
        click.option("--trust", "folder", type=folder, help="A folder, in place of production."),
    ):
        command = option(command)
    return command


def _folder(option: Path | None) -> Path | None:
    return option or read_settings().trust.path


def _trust_and_lists(folder: Path | None) -> tuple[TrustStore, Path]:
    if folder is None:
        return production_trust(), PRODUCTION_CRL_FOLDER
    return folder_trust(folder), crl_folder_of(folder)


@trust.command("import")
@click.argument("source", type=_SOURCE)
@_common
def import_(source: Path, as_json: bool, folder: Path | None) -> None:
    """Bring in the pinned certificates, and lists, of a file or folder (DER, PEM, PKCS #7)."""
    with surface(as_json):
        if not source.exists():
            raise TrustStoreUnusable(f"{source}: not there")
        folder = _folder(folder)
        pinned = [] if folder else _import_pinned(source)
        lists = _import_lists(source, folder)
        if not pinned and not lists:
            raise TrustStoreUnusable(f"{source}: neither a certificate nor a list in it")
        failed = [one for one in lists if not one.is_good and one.result != CrlProblem.NO_CRL]
        good = not failed and any(outcome.is_good for outcome in (*pinned, *lists))
        _report([*pinned, *lists], as_json, good=good)


def _import_pinned(source: Path) -> list[Outcome]:
    """Import the certificates of production; refuse a source that has some and none of them."""
    outcomes = list(import_certificates(source, PRODUCTION_FOLDERS[1]))
    if outcomes and not any(outcome.is_good for outcome in outcomes):
        raise TrustStoreUnusable(f"{source}: {len(outcomes)} certificates, none of the pinned ones")
    return outcomes


def _import_lists(source: Path, folder: Path | None) -> list[Outcome]:
    """Import lists; those of authorities that are none of ours are told, and no failure."""
    if not any(file.suffix.lower() == ".crl" for file in files_of(source)):
        return []
    store, lists = _trust_and_lists(folder)
    return list(import_lists(source, store, lists, at=now()))


@trust.command()
@_common
def update(as_json: bool, folder: Path | None) -> None:
    """Fetch the authorities that are missing, and the revocation lists. What is there stays."""
    with surface(as_json):
        folder = _folder(folder)
        outcomes = [] if folder else list(update_authorities())
        store, lists = _updated_trust(folder, outcomes)
        outcomes = [outcome for outcome in outcomes if outcome.is_good]
        outcomes += update_lists(store, lists, at=now())
        rows = crls_status(store, CrlStore.from_folder(lists), at=now())
        is_current = all(row.doubt is None for row in rows)
        good = is_current and all(outcome.is_good for outcome in outcomes)
        _report(outcomes, as_json, good=good)


def _updated_trust(folder: Path | None, outcomes: Iterable[Outcome]) -> tuple[TrustStore, Path]:
    """Return what `_trust_and_lists` does; an error names the addresses that gave nothing, too."""
    try:
        return _trust_and_lists(folder)
    except TrustStoreUnusable as error:
        failed = [f"{one.source}: {one.result}" for one in outcomes if not one.is_good]
        raise TrustStoreUnusable("; ".join([error.what, *failed])) from None


def _report(outcomes: Iterable[Outcome], as_json: bool, *, good: bool) -> None:
    """Print what became of each; exit as for a list that is missing unless it went well."""
    outcomes = list(outcomes)
    if as_json:
        click.echo(to_json({"ok": good, "outcomes": outcomes}))
    for outcome in () if as_json else outcomes:
        number = "" if outcome.number is None else f" n° {outcome.number}"
        issuer = f" ({outcome.issuer}{number})" if outcome.issuer else ""
        click.echo(f"{_result(outcome)}: {outcome.source}{issuer}")
    if not good:
        raise SystemExit(EXIT_CODES[RevocationUnknown])


def _result(outcome: Outcome) -> str:
    tr = translations(language_of_environment())
    if outcome.result == "stored":
        return tr.gettext("stored")
    if outcome.result == "unchanged":
        return tr.gettext("up to date already")
    return tr.gettext("not stored, {why}").format(why=outcome.result)


@trust.command("list")
@_common
def list_(as_json: bool, folder: Path | None) -> None:
    """List the trusted authorities."""
    with surface(as_json):
        store, _ = _trust_and_lists(_folder(folder))
        rows = authorities_status(store, at=now())
        if as_json:
            click.echo(to_json({"ok": True, "trust": store.name, "authorities": rows}))
        else:
            click.echo("\n".join([store.name, *(_authority_line(row) for row in rows)]))


def _authority_line(row: AuthorityStatus) -> str:
    tr = translations(language_of_environment())
    text = tr.gettext("until {date}") if row.is_valid else tr.gettext("not valid, until {date}")
    return f"  {row.name}, {text.format(date=f'{row.not_after:%Y-%m-%d}')}\n    {row.sha256}"


@trust.command()
@_common
def status(as_json: bool, folder: Path | None) -> None:
    """Show how fresh the revocation lists are; exit 0 only if all are current."""
    with surface(as_json):
        store, lists = _trust_and_lists(_folder(folder))
        at = now()
        rows = crls_status(store, CrlStore.from_folder(lists), at=at)
        good = all(row.doubt is None for row in rows)
        if as_json:
            click.echo(to_json({"ok": good, "trust": store.name, "lists": rows}))
        else:
            click.echo("\n".join([store.name, *(f"  {_list_line(row, at)}" for row in rows)]))
        if not good:
            raise SystemExit(EXIT_CODES[RevocationUnknown])


def _list_line(row: CrlStatus, at: datetime) -> str:
    tr = translations(language_of_environment())
    if row.this_update is None or row.next_update is None:
        return tr.gettext("{issuer}: no usable list, {why}").format(
            issuer=row.issuer, why=row.doubt
        )
    if row.doubt is None and row.ends_soon:
        text = tr.gettext("{issuer}: list n° {number} ends on {until}: cps-auth trust update")
    elif row.doubt is None:
        text = tr.gettext("{issuer}: list n° {number} of {date}, {age} h old, good until {until}")
    elif row.doubt is CrlProblem.NOT_YET_VALID:
        text = tr.gettext("{issuer}: list n° {number} of {date} is not valid yet, check the clock")
    elif at > row.next_update:
        text = tr.gettext("{issuer}: list n° {number} of {date} is too old, connect this computer")
    else:
        text = tr.gettext("{issuer}: list n° {number} of {date} is not usable, {why}")
    return text.format(
        issuer=row.issuer,
        number=row.number,
        date=f"{row.this_update:%Y-%m-%d %H:%M}",
        until=f"{row.next_update:%Y-%m-%d %H:%M}",
        age=(row.age_s or 0) // 3600,
        why=row.doubt,
    )
