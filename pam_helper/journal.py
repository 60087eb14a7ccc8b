"""The PC's audit journal: the daemon's, and what becomes of sessions, accounts and codes."""

from __future__ import annotations

import logging
from pathlib import Path

from cps_auth.audit.entry import AuditEntry, AuditEvent
from cps_auth.audit.handler import LOGGER_NAME, attach, carry
from cps_auth.audit.journal import AuditJournal
from cps_auth.config import read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.accounts.accounts import ACCOUNTS_PATH
from pam_helper.accounts.one_time_codes import CODES_PATH

_LOGGERS = (LOGGER_NAME, "pam_helper")

_OF_PHASE = {
    LockPhase.LOCKED: AuditEvent.LOCKED,
    LockPhase.OPEN: AuditEvent.UNLOCKED,
    LockPhase.ENDED: AuditEvent.SESSION_ENDED,
}

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
    try:
        journal = AuditJournal(folder)
    except ConfigurationError as error:
        _log.critical("no audit journal is kept: %s", error.what)
        return
    journal.record(entry)
    journal.flush(5.0)
