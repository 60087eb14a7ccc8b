"""The revocation policy, how much must be known before somebody is let in: data, never "off"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

GRACE_MAX_HOURS = 24 * 31


@dataclass(frozen=True)
class RevocationPolicy:
    """The required evidence. Revoked is refused under every policy, as is not knowing at all.

    Attributes:
        grace_period: how long after nextUpdate evidence is still taken, for a PC that is offline.
        answer_max_age: for an OCSP answer that names no nextUpdate.
        clock_skew: how far in the future the thisUpdate of an OCSP answer may lie.
        nonce_required: whether an OCSP answer without our nonce is refused.
    """

    grace_period: timedelta = timedelta(0)
    answer_max_age: timedelta = timedelta(hours=1)
    clock_skew: timedelta = timedelta(minutes=5)
    nonce_required: bool = True

    @classmethod
    def grace(cls, hours: float) -> RevocationPolicy:
        """Return one that still takes evidence some hours after it should have been replaced.

        Args:
            hours: more than 0, at most GRACE_MAX_HOURS.

        Raises:
            ValueError: not such a number.
        """
        if not (math.isfinite(hours) and 0 < hours <= GRACE_MAX_HOURS):
            raise ValueError(f"grace: not between 0 and {GRACE_MAX_HOURS} hours")
        return cls(grace_period=timedelta(hours=hours))


REQUIRE = RevocationPolicy()
"""The default: evidence that is current."""
