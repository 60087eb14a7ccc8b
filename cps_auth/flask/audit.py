"""The audit log: one line per login, refusal and end, with the precise code.

Never a PIN, a certificate, a nonce or a session identifier; a person by national identifier. Each
line ends with whom the request came from: `peer`, the other end of the connection, and `client`,
what the application makes of it (`request.remote_addr`: a proxy's word, where ProxyFix trusts it).
Each carries its entry for the journal (`CPS_AUDIT_FOLDER`), which has the same in other words.
"""

from __future__ import annotations

import logging

from flask import has_request_context, request

from cps_auth.audit.entry import AuditEntry, AuditEvent, entry_of_login
from cps_auth.audit.handler import LOGGER_NAME, carry
from cps_auth.errors import CpsAuthError
from cps_auth.flask.sessions.model import NewSession, SessionRow
from cps_auth.model import Practitioner

_log = logging.getLogger(LOGGER_NAME)


def logged_in(new: NewSession) -> None:
    """Write that a holder logged in, and on which evidence."""
    holder = new.holder
    _log.info(
        "login accepted holder=%s card=%s means=%s method=%s proof=%s reader=%s trust=%s %s",
        holder.practitioner.ps_idnat,
        "-" if holder.card is None else holder.card.serial,
        holder.means.value,
        new.method,
        holder.proof.value,
        _one_line(new.reader),
        _one_line(holder.trust),
        _origin(),
        extra=carry(entry_of_login(holder, "web", method=new.method, peer=new.reader or _client())),
    )


def card_linked(new: NewSession) -> None:
    """Write that a card was linked to the account of somebody who was logged in."""
    _log.info(
        "card linked holder=%s card=%s method=%s %s",
        new.holder.practitioner.ps_idnat,
        "-" if new.holder.card is None else new.holder.card.serial,
        new.method,
        _origin(),
        extra=carry(
            AuditEntry(
                event=AuditEvent.ACCOUNT_CHANGED,
                surface="web",
                holder=new.holder.practitioner.ps_idnat,
                card=None if new.holder.card is None else new.holder.card.serial,
                method=new.method,
                reason="card-linked",
            )
        ),
    )


def pin_unblocked(practitioner: Practitioner, card_serial: str, method: str) -> None:
    """Write that a card's PIN was unblocked with its PUK, and replaced."""
    _log.info(
        "pin unblocked holder=%s card=%s method=%s %s",
        practitioner.ps_idnat,
        card_serial,
        method,
        _origin(),
        extra=carry(
            AuditEntry(
                event=AuditEvent.PIN_UNBLOCKED,
                surface="web",
                holder=practitioner.ps_idnat,
                card=card_serial,
                method=method,
                peer=_client(),
            )
        ),
    )


def refused(error: CpsAuthError, method: str | None) -> None:
    """Write that a login was asked for and refused, and exactly why.

    Args:
        error: the reason.
        method: how it was tried; None: it did not come as far as that.
    """
    _log.warning(
        "login refused code=%s method=%s detail=%s %s",
        error.code,
        method or "-",
        _one_line(str(error)),
        _origin(),
        extra=carry(
            AuditEntry(
                event=AuditEvent.LOGIN_REFUSED,
                surface="web",
                outcome=error.code,
                method=method,
                peer=_client(),
                detail=str(error),
            )
        ),
    )


def access_refused(error: CpsAuthError, row: SessionRow) -> None:
    """Write that a logged-in holder asked for a page that is not theirs."""
    _log.warning(
        "access refused code=%s holder=%s detail=%s %s",
        error.code,
        row.holder.practitioner.ps_idnat,
        _one_line(str(error)),
        _origin(),
        extra=carry(
            AuditEntry(
                event=AuditEvent.ACCESS_REFUSED,
                surface="web",
                outcome=error.code,
                holder=row.holder.practitioner.ps_idnat,
                method=row.method,
                detail=str(error),
            )
        ),
    )


def session_ended(row: SessionRow) -> None:
    """Write that a session is over, and why."""
    _log.info(
        "session ended holder=%s method=%s reason=%s %s",
        row.holder.practitioner.ps_idnat,
        row.method,
        row.end_reason.value if row.end_reason else "unknown",
        _origin(),
        extra=carry(
            AuditEntry(
                event=AuditEvent.SESSION_ENDED,
                surface="web",
                holder=row.holder.practitioner.ps_idnat,
                card=None if row.holder.card is None else row.holder.card.serial,
                method=row.method,
                reason=row.end_reason.value if row.end_reason else "unknown",
            )
        ),
    )


def _client() -> str | None:
    return request.remote_addr if has_request_context() else None


def _origin() -> str:
    """A watcher that ends a session does so outside of any request."""
    if not has_request_context():
        return "peer=- client=-"
    peer = request.environ.get("werkzeug.proxy_fix.orig", request.environ).get("REMOTE_ADDR")
    return f"peer={_one_line(peer)} client={_one_line(request.remote_addr)}"


def _one_line(text: str | None) -> str:
    """Keep what came from outside from looking like a line of its own."""
    return "-" if text is None else repr(text)
