"""The one place that picks an adapter. Only composition roots and the command line call it."""

from __future__ import annotations

from pathlib import Path

from cps_auth.card.port import CardSource


def open_cards(module: Path | None = None) -> CardSource:
    """Return where cards come from.

    Args:
        module: a vendor's PKCS#11 module, None to drive the cards natively over PC/SC.

    Raises:
        ConfigurationError: the library that it takes (pyscard, python-pkcs11) is not installed.
    """
    # Imported here, so that only what is used must be installed; PC/SC tells both who is there
    from cps_auth.card.pcsc import PcscService

    if module is not None:
        from cps_auth.card.pkcs11 import Pkcs11Cards

        return Pkcs11Cards(module, PcscService)
    from cps_auth.card.native import NativeCards

    return NativeCards(PcscService)
