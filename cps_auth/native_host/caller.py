"""Who started this program: a browser on behalf of an extension that is on our list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cps_auth.errors import PeerNotAllowed

OWN_CHROME = "goodcajbcpbdekhmdmmhcekljoolkgjm"
OWN_FIREFOX = "browser@cps-auth.example"
"""Of the extension in `webextension/`; Chrome's follows from the key in its manifest."""

OFFICIAL_CHROME = ("gnmckgbandlkacikdndelhfghdejfido", "ncibgoaomkmdpilpocfeponihegamlic")
OFFICIAL_FIREFOX = "{e68418bc-f2b0-4459-a9ea-3e72b6751b07}"
"""Of the Web eID extension, as its own application's manifests name them."""

CHROME_EXTENSIONS = (OWN_CHROME, *OFFICIAL_CHROME)
FIREFOX_EXTENSIONS = (OWN_FIREFOX, OFFICIAL_FIREFOX)

_CHROME_ORIGIN = re.compile(r"chrome-extension://([a-p]{32})/", re.ASCII)


def calling_extension(arguments: Sequence[str], also: Sequence[str] = ()) -> str:
    """Return the identifier of the extension that a browser started us for.

    Args:
        arguments: of the program, without its name. Chrome gives the origin of the extension
            first; Firefox the path of the manifest, then the identifier.
        also: identifiers that the administrator allows besides ours and the official ones.

    Raises:
        PeerNotAllowed: none, or one that is not on the list.
    """
    named = _named(arguments)
    if named in (*CHROME_EXTENSIONS, *FIREFOX_EXTENSIONS, *also):
        return named
    raise PeerNotAllowed("extension")


def stays_connected(extension: str) -> bool:
    """Return whether the extension is ours, which watches the card after a login."""
    return extension in (OWN_CHROME, OWN_FIREFOX)


def _named(arguments: Sequence[str]) -> str:
    if arguments and (match := _CHROME_ORIGIN.fullmatch(arguments[0])):
        return match.group(1)
    if len(arguments) >= 2 and arguments[0].endswith(".json"):
        return arguments[1]
    raise PeerNotAllowed("not-started-by-a-browser")
