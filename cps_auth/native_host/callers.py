"""Which browser extensions may ask. The browser tells who calls, on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cps_auth.errors import PeerNotAllowed

WEB_EID_CHROMIUM = ("gnmckgbandlkacikdndelhfghdejfido", "ncibgoaomkmdpilpocfeponihegamlic")
"""Web eID's official extension in the stores of Chrome and Edge (manifest of web-eid-app)."""

WEB_EID_FIREFOX = ("{e68418bc-f2b0-4459-a9ea-3e72b6751b07}",)
"""Web eID's official add-on for Firefox (manifest of web-eid-app)."""

OURS_CHROMIUM = ("mieepgmccjcegpjpeidaglbdihioihla",)
"""`webextension/`: follows from the key in its manifest; a test holds that."""

OURS_FIREFOX = ("browser@cps-auth",)
"""`webextension/`: named in its manifest; a test holds that."""

_CHROMIUM = re.compile(r"chrome-extension://([a-p]{32})/", re.ASCII)
_FIREFOX = re.compile(r"\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}|[a-z0-9._-]*@[a-z0-9._-]+")


def is_extension_id(text: str) -> bool:
    """Return whether a text has the form of an extension's identifier, Chromium's or Firefox's."""
    return bool(is_chromium_id(text) or _FIREFOX.fullmatch(text))


def is_chromium_id(text: str) -> bool:
    """Return whether a text has the form of an extension's identifier in Chromium."""
    return bool(_CHROMIUM.fullmatch(f"chrome-extension://{text}/"))


def identify(arguments: Sequence[str], *, also_allowed: frozenset[str] = frozenset()) -> str:
    """Identify the caller.

    Args:
        arguments: those that the browser gave: Chromium the caller's origin first, Firefox the
            path of the manifest and the add-on's identifier.
        also_allowed: identifiers that the administrator named at installation.

    Returns:
        The extension's identifier.

    Raises:
        PeerNotAllowed: no-extension, not started by a browser; unknown-extension.
    """
    chromium = _CHROMIUM.fullmatch(arguments[0]) if arguments else None
    known: tuple[str, ...]
    if chromium:
        known, extension = (*WEB_EID_CHROMIUM, *OURS_CHROMIUM), chromium[1]
    elif len(arguments) == 2 and _FIREFOX.fullmatch(arguments[1]):
        known, extension = (*WEB_EID_FIREFOX, *OURS_FIREFOX), arguments[1]
    else:
        raise PeerNotAllowed("no-extension")
    if extension not in {*known, *also_allowed}:
        raise PeerNotAllowed("unknown-extension")
    return extension
