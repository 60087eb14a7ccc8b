"""Carries entries from log records to the journal: who writes an audit line knows no file.

A line of the logger `cps_auth.audit` carries its entry as `extra=carry(entry)`; the program that
knows where the journal is attaches it once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cps_auth.audit.entry import AuditEntry
from cps_auth.audit.journal import AuditJournal

LOGGER_NAME = "cps_auth.audit"

FIELDS = "fields"
"""What a log record calls its fields; the daemon's systemd handler sends them to journald."""

_CARRIED = "cps_auth_audit_entry"
_FIELD_NAMES = {
    "event": "CPS_EVENT",
    "surface": "CPS_SURFACE",
    "outcome": "CPS_OUTCOME",
    "holder": "CPS_PS_IDNAT",
    "account": "CPS_ACCOUNT",
    "card": "CPS_CARD",
    "certificate": "CPS_CERTIFICATE",
    "method": "CPS_METHOD",
    "peer": "CPS_PEER",
    "reason": "CPS_REASON",
}


def carry(entry: AuditEntry, fields: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return what a log call takes as `extra`, so that the entry goes with its line.

    Args:
        entry: for the audit journal.
        fields: for the systemd journal, beside and before those of the entry.
    """
    own = {name: getattr(entry, attribute) for attribute, name in _FIELD_NAMES.items()}
    return {_CARRIED: entry, FIELDS: {**own, **(fields or {})}}


class JournalHandler(logging.Handler):
    """Writes the entry that a log record carries; a record without one is nothing to it."""

    def __init__(self, journal: AuditJournal) -> None:
        """Write to this journal.

        Args:
            journal: of this program.
        """
        super().__init__()
        self.journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write the entry, if there is one; never raises, see `AuditJournal.record`."""
        entry = getattr(record, _CARRIED, None)
        if isinstance(entry, AuditEntry):
            self.journal.record(entry)


def attach(journal: AuditJournal, name: str = LOGGER_NAME) -> JournalHandler:
    """Write every entry of a logger to a journal from now on; to each folder once.

    Args:
        journal: of this program.
        name: of the logger.

    Returns:
        The handler, to be removed by whoever ends before the process does.
    """
    logger = logging.getLogger(name)
    for there in logger.handlers:
        if isinstance(there, JournalHandler) and there.journal.folder == journal.folder:
            return there
    handler = JournalHandler(journal)
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    return handler
