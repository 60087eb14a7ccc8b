"""The audit log: one line per login, refusal and end, with the precise code.

Never a PIN, a certificate, a nonce or a session identifier; a person by national identifier.
"""

from __future__ import annotations

import logging

from cps_auth.errors import CpsAuthError
from cps_auth.flask.sessions.model import SessionRow, WayIn
from cps_auth.model import VerifiedHolder

LOGGER_NAME = "cps_auth.audit"

_log = logging.getLogger(LOGGER_NAME)


def logged_in(holder: VerifiedHolder, way_in: WayIn, reader: str | None) -> None:
    """Write that a holder logged in, and on which evidence."""
    _log.info(
        "login accepted holder=%s card=%s way_in=%s proof=%s reader=%s trust=%s",
        holder.practitioner.ps_idnat,
        holder.card.serial,
        way_in.value,
        holder.proof.value,
        _one_line(reader),
        _one_line(holder.trust),
    )


def refused(error: CpsAuthError, way_in: WayIn | None, peer: str | None) -> None:
    """Write that a login was asked for and refused, and exactly why.

    Args:
        error: the reason.
        way_in: how it was tried; None: it did not come as far as that.
        peer: address at the other end of the connection.
    """
    _log.warning(
        "login refused code=%s way_in=%s peer=%s detail=%s",
        error.code,
        "-" if way_in is None else way_in.value,
        _one_line(peer),
        _one_line(str(error)),
    )


def access_refused(error: CpsAuthError, row: SessionRow) -> None:
    """Write that a logged-in holder asked for a page that is not theirs."""
    _log.warning(
        "access refused code=%s holder=%s detail=%s",
        error.code,
        row.holder.practitioner.ps_idnat,
        _one_line(str(error)),
    )


def session_ended(row: SessionRow) -> None:
    """Write that a session is over, and why."""
    _log.info(
        "session ended holder=%s way_in=%s reason=%s",
        row.holder.practitioner.ps_idnat,
        row.way_in.value,
        row.end_reason.value if row.end_reason else "unknown",
    )


def _one_line(text: str | None) -> str:
    """Keep what came from outside from looking like a line of its own."""
    return "-" if text is None else repr(text)
