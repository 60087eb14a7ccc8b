"""The one place that imports pyscard, and only its C-level wrapper.

pyscard's own monitors end silently when pcscd does, so they are not used.
"""

from __future__ import annotations

from cps_auth.errors import ConfigurationError

try:
    from smartcard import scard as scard
except ImportError as missing:
    raise ConfigurationError("pyscard is missing: install cps-auth[pcsc]") from missing

PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
