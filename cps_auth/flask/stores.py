"""Form tokens: each login form is sent once, by the browser that got it, about the card it shows.

A port, and its SQLite form. Several processes may share the file: one `DELETE … RETURNING`
both finds and removes a token, so only one of them gets it.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Protocol

from cps_auth.errors import ChallengeExpired, ChallengeUnknown
from cps_auth.flask.database import Database

TOKEN_BYTES = 32
CAPACITY = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS form_token (
    token_sha256 BLOB PRIMARY KEY,
    browser_sha256 BLOB NOT NULL,
    card TEXT NOT NULL,
    issued_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS form_token_age ON form_token (issued_at);
"""


class FormTokenStore(Protocol):
    """Where the tokens of forms that were shown wait for their one return."""

    def issue(self, browser_id: str, card: str, *, at: datetime) -> str:
        """Return a fresh token for this browser and this card.

        Args:
            browser_id: the pre-login identifier in the browser's session cookie.
            card: SHA-256 of the certificate that the form shows.
            at: now, aware UTC.
        """

    def take(self, unverified_token: str, browser_id: str, *, at: datetime) -> str:
        """Remove the token, atomically, whatever comes of it; return its card.

        Raises:
            ChallengeUnknown: never issued, taken before, or issued to another browser.
            ChallengeExpired: too old, or from after `at`.
        """


class SqliteFormTokens:
    """A `FormTokenStore` in the web backend's SQLite file."""

    def __init__(self, database: Database, *, lifetime: timedelta) -> None:
        self._database = database
        self._lifetime = lifetime

    def issue(self, browser_id: str, card: str, *, at: datetime) -> str:
        """Return a fresh token for this browser and this card."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = at.timestamp()
        with self._database.connect() as connection:
            connection.execute(
                "DELETE FROM form_token WHERE issued_at < ? OR token_sha256 IN ("
                "SELECT token_sha256 FROM form_token ORDER BY issued_at DESC LIMIT -1 OFFSET ?)",
                (now - self._lifetime.total_seconds(), CAPACITY - 1),
            )
            connection.execute(
                "INSERT INTO form_token VALUES (?, ?, ?, ?)",
                (_sha256(token), _sha256(browser_id), card, now),
            )
        return token

    def take(self, unverified_token: str, browser_id: str, *, at: datetime) -> str:
        """Remove the token, atomically, whatever comes of it; return its card.

        Raises:
            ChallengeUnknown: never issued, taken before, or issued to another browser.
            ChallengeExpired: too old, or from after `at`.
        """
        with self._database.connect() as connection:
            rows = connection.execute(
                "DELETE FROM form_token WHERE token_sha256 = ? RETURNING *",
                (_sha256(unverified_token),),
            ).fetchall()
        if not rows or rows[0]["browser_sha256"] != _sha256(browser_id):
            raise ChallengeUnknown
        age_s = at.timestamp() - rows[0]["issued_at"]
        if not 0 <= age_s <= self._lifetime.total_seconds():
            raise ChallengeExpired
        return str(rows[0]["card"])


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
