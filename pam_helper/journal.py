"""The PC's audit journal: the daemon's, and what becomes of sessions, accounts and codes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cps_auth.audit.entry import AuditEntry, AuditEvent
from cps_auth.audit.handler import LOGGER_NAME, attach, carry
from cps_auth.audit.journal import AuditJournal
from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.files import write_protected
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.accounts.accounts import ACCOUNTS_PATH
from pam_helper.accounts.one_time_codes import CODES_PATH
from pam_helper.daemon.systemd import JournalHandler as SystemJournalHandler

_LOGGERS = (LOGGER_NAME, "pam_helper")

_OF_PHASE = {
    LockPhase.LOCKED: AuditEvent.LOCKED,
    LockPhase.OPEN: AuditEvent.UNLOCKED,
    LockPhase.ENDED: AuditEvent.SESSION_ENDED,
}

_LAST_SETTINGS = "settings.json"

_log = logging.getLogger(__name__)


def keep_journal(folder: Path, kept_months: int) -> None:
    """Write the daemon's entries to a journal; one that cannot be kept locks nobody out.

    Args:
        folder: of the journal.
        kept_months: how long.
    """
    try:
        journal = AuditJournal(folder, kept_months=kept_months)
    except ConfigurationError as error:
        _log.critical("no audit journal is kept: %s", error.what)
        return
    for name in _LOGGERS:
        attach(journal, name)


def note_settings(folder: Path, settings: Settings) -> None:
    """Write which settings are others than when the daemon started last, by whatever means.

    Args:
        folder: of the journal; the settings of the last start are beside it.
        settings: of this start.
    """
    path = folder / _LAST_SETTINGS
    now = _flat(msgspec.to_builtins(settings))
    try:
        before = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError):
        before = _flat(msgspec.to_builtins(Settings()))
    changed = sorted(name for name in now.keys() | before if now.get(name) != before.get(name))
    if changed:
        detail = ", ".join(f"{name}: {before.get(name)!r} -> {now.get(name)!r}" for name in changed)
        entry = AuditEntry(
            event=AuditEvent.SETTINGS_CHANGED, surface="pc", reason="daemon-start", detail=detail
        )
        _log.info("settings changed: %s", detail, extra=carry(entry))
    try:
        write_protected(path, msgspec.json.encode(now), durable=False)
    except ConfigurationError as error:
        _log.critical("changed settings are not noted: %s", error.what)


def _flat(tables: Mapping[str, object]) -> dict[str, object]:
    """Return settings by their dotted names."""
    flat: dict[str, object] = {}
    for name, value in tables.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return {name: list(one) if isinstance(one, tuple) else one for name, one in flat.items()}


def of_phase(account: str, ps_idnat: str, phase: LockPhase, event: LockEvent) -> dict[str, object]:
    """Return what a log call takes as `extra` where a session is locked, opened or over."""
    if phase not in _OF_PHASE:
        return {}
    return carry(
        AuditEntry(
            event=_OF_PHASE[phase],
            surface="pc",
            account=account,
            holder=ps_idnat or None,
            reason=event.value,
        )
    )


def note_account(accounts: Path, holder: str, account: str | None, reason: str) -> None:
    """Write that an administrator changed this PC's accounts; not those of another file.

    Args:
        accounts: the file that was changed.
        holder: PS_IdNat.
        account: None for all of the holder's.
        reason: what was done.
    """
    if accounts == ACCOUNTS_PATH:
        event = AuditEvent.ACCOUNT_CHANGED
        _note(
            read_settings().audit.path,
            AuditEntry(event=event, surface="pc", holder=holder, account=account, reason=reason),
        )


def note_code(codes: Path, account: str, reason: str) -> None:
    """Write that an administrator issued a one-time code.

    Args:
        codes: the file of the codes; the journal is beside it, as the daemon's is.
        account: whose code.
        reason: for how long.
    """
    event = AuditEvent.CODE_ISSUED
    folder = read_settings().audit.path if codes == CODES_PATH else codes.parent / "audit"
    _note(folder, AuditEntry(event=event, surface="pc", account=account, reason=reason))


def _note(folder: Path, entry: AuditEntry) -> None:
    """Write one entry of an administrator's command, and wait until it is on disk."""
    _tell_system_journal(entry)
    try:
        journal = AuditJournal(folder)
    except ConfigurationError as error:
        _log.critical("no audit journal is kept: %s", error.what)
        return
    journal.record(entry)
    journal.flush(5.0)


def _tell_system_journal(entry: AuditEntry) -> None:
    """Send an entry to the systemd journal with its fields, where there is one."""
    words = (entry.event.value, entry.account, entry.holder, entry.reason)
    line = {
        "name": LOGGER_NAME,
        "levelno": logging.WARNING,
        "msg": " ".join(word for word in words if word),
    }
    with (
        contextlib.suppress(OSError),
        contextlib.closing(SystemJournalHandler()) as handler,
    ):
        handler.emit(logging.makeLogRecord({**line, **carry(entry)}))
