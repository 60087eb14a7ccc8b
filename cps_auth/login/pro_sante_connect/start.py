"""The state of a login until the browser is back from the provider."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Start:
    """A login under way. Kept by the server, single use, bound to the browser; never in a cookie.

    Attributes:
        nonce: comes back in the id_token.
        code_verifier: PKCE, RFC 7636.
        authenticated_since: the person has to be authenticated after it; None: may have been.
    """

    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    authenticated_since: datetime | None = None

    @classmethod
    def make(cls, *, authenticated_since: datetime | None = None) -> Start:
        """Return fresh secrets of one login."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(48), authenticated_since)
