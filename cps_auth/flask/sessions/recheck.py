"""Re-validates the certificates of open sessions: a card may be revoked after the login."""

from __future__ import annotations

from datetime import datetime, timedelta

from cps_auth.cache import BoundedCache
from cps_auth.errors import CertificateRefused, CertificateRevoked
from cps_auth.flask.sessions.model import EndReason, SessionRow
from cps_auth.pki.judge import Judge

JUDGE_AGAIN_AFTER = timedelta(seconds=5)
"""A new list counts within this time; one judgement serves every request of all the sessions
of a card meanwhile."""

_AT_MOST = 4096


class CertificateRecheck:
    """Judges each certificate again, at most every `JUDGE_AGAIN_AFTER`; safe across threads."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._verdicts = BoundedCache[str, tuple[datetime, EndReason | None]](_AT_MOST)

    def why_over(self, row: SessionRow, *, at: datetime) -> EndReason | None:
        """Return why a card is no longer good enough; None if it is.

        Args:
            row: an open session.
            at: now, aware UTC.
        """
        if not row.holder.proof.is_of_card:  # no certificate was seen here
            return None
        if row.holder.card is None:
            return EndReason.CARD_DOUBTFUL
        name = row.holder.card.certificate_sha256_hex
        known = self._verdicts.get(name)
        if known is not None and timedelta(0) <= at - known[0] < JUDGE_AGAIN_AFTER:
            return known[1]
        reason = self._judge_again(row.certificate_der, at)
        self._verdicts.put(name, (at, reason))
        return reason

    def _judge_again(self, certificate_der: bytes, at: datetime) -> EndReason | None:
        try:
            self._judge.judge(certificate_der, at=at)
        except CertificateRevoked:
            return EndReason.CARD_REVOKED
        except CertificateRefused:
            return EndReason.CARD_DOUBTFUL
        return None
