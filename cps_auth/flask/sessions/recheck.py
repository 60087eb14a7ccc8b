"""Judges the certificates of open sessions again: a card may be revoked after the login."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from cps_auth.errors import CertificateRefused, CertificateRevoked
from cps_auth.flask.sessions.model import EndReason, SessionRow
from cps_auth.pki.judge import Judge

JUDGE_AGAIN_AFTER = timedelta(seconds=5)
"""A new list counts within this time; one judgement serves every request of all the sessions
of a card meanwhile."""

_REMEMBERED = 4096


class Standing:
    """Whether the cards of open sessions would still be let in."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._mutex = threading.Lock()
        self._seen: dict[str, tuple[datetime, EndReason | None]] = {}

    def why_over(self, row: SessionRow, *, at: datetime) -> EndReason | None:
        """Return why a card is no longer good enough; None if it is.

        Args:
            row: an open session.
            at: now, aware UTC.
        """
        name = row.holder.card.certificate_sha256_hex
        with self._mutex:
            known = self._seen.get(name)
        if known is not None and timedelta(0) <= at - known[0] < JUDGE_AGAIN_AFTER:
            return known[1]
        reason = _reason(lambda: self._judge.judge(row.certificate_der, at=at))
        with self._mutex:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[name] = (at, reason)
        return reason


def _reason(judge: Callable[[], object]) -> EndReason | None:
    try:
        judge()
    except CertificateRevoked:
        return EndReason.CARD_REVOKED
    except CertificateRefused:
        return EndReason.CARD_DOUBTFUL
    return None
