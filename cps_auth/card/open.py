"""Selects the card adapter, in one place. Only composition roots and the command line call it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cps_auth.card.port import CardSource
from cps_auth.errors import ModuleUnusable

_MULTIARCH: Final = f"/usr/lib/{os.uname().machine}-linux-gnu"  # Debian; elsewhere /usr/lib64

KNOWN_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    # Cryptolib CPS 5 of ANS, its Linux package
    "ans": ("/opt/santesocial/CPS/lib/libcps3_pkcs11_lux.so",),
    "opensc": (
        f"{_MULTIARCH}/opensc-pkcs11.so",
        "/usr/lib64/opensc-pkcs11.so",
        "/usr/lib/opensc-pkcs11.so",
        "/usr/local/lib/opensc-pkcs11.so",
    ),
    "softhsm": (
        "/usr/lib/softhsm/libsofthsm2.so",
        f"{_MULTIARCH}/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ),
}
"""Modules that have a name of their own here, and where they are usually installed."""


def open_cards(module: str | Path | None = None, *, stays: bool = False) -> CardSource:
    """Return where cards come from.

    Args:
        module: a vendor's PKCS#11 module, by its path or its name in KNOWN_MODULES; None to
            drive the cards natively over PC/SC.
        stays: the program runs for long. A spare process for a module is kept ready then, so
            that a login through it does not wait for Python to start; our own drivers are imported.

    Raises:
        ConfigurationError: the library that it takes (pyscard, python-pkcs11) is not installed.
        ModuleUnusable: a known module is in none of its usual places, or the system gives no
            process.
    """
    # Imported here, so that only what is used must be installed; PC/SC tells both who is there
    from cps_auth.card.pcsc.service import PcscService

    if module is not None:
        from cps_auth.card.pkcs11.source import Pkcs11Cards

        return Pkcs11Cards(find_module(module), PcscService, keeps=stays)
    from cps_auth.card.native.source import NativeCards

    cards = NativeCards(PcscService)
    if stays:
        cards.get_ready()
    return cards


def find_module(module: str | Path) -> Path:
    """Return the path of a module, given by its path or its name in KNOWN_MODULES.

    Raises:
        ModuleUnusable: a known module is in none of its usual places.
    """
    places = KNOWN_MODULES.get(str(module))
    if places is None:
        return Path(module)
    found = next((path for path in map(Path, places) if path.is_file()), None)
    if found is None:
        raise ModuleUnusable(f"{module}: not installed in any usual place", "missing")
    return found
