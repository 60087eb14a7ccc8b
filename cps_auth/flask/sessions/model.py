"""Server-side sessions: one row each, found by the hash of an identifier that is never stored."""

from __future__ import annotations

import enum
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from cps_auth.login.challenge import CLOCK_STEP_BACK
from cps_auth.model import (
    CardIdentity,
    Practitioner,
    ProofKind,
    RevocationEvidence,
    VerifiedHolder,
)
from cps_auth.provider_model import LoginMeans, PscLogin

SESSION_ID_BYTES = 32
KEEP_ENDED = timedelta(days=1)
"""An ended row stays this long, so that the browser can be told why."""

_HANDLE_CHARACTERS = 12


class EndReason(enum.Enum):
    """The reasons for which a session is over."""

    LOGOUT = "logout"
    REPLACED = "replaced"  # by the next login of the same browser
    CARD_REMOVED = "card-removed"
    CARD_REVOKED = "card-revoked"  # since the login
    CARD_DOUBTFUL = "card-doubtful"  # since the login: no evidence left, or no longer trusted
    SERVICE_LOST = "service-lost"
    WATCHER_STOPPED = "watcher-stopped"
    HEARTBEAT_LOST = "heartbeat-lost"
    IDLE = "idle"
    EXPIRED = "expired"
    ACCOUNT_GONE = "account-gone"
    PROVIDER_LOGOUT = "provider-logout"  # its session at Pro Santé Connect is over
    METHOD_GONE = "method-gone"  # its login method is not in use here
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class SessionHolder:
    """The holder of a session as verified at its login; see `VerifiedHolder`."""

    practitioner: Practitioner
    card: CardIdentity | None
    certificate_serial_hex: str | None
    certificate_not_after: datetime | None
    trust: str
    revocation: tuple[RevocationEvidence, ...]
    verified_at: datetime
    proof: ProofKind
    psc: PscLogin | None = None

    @property
    def means(self) -> LoginMeans:
        """Return what the holder had in hand."""
        return LoginMeans.CARD if self.psc is None else self.psc.means


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is about to be opened.

    Attributes:
        holder: of a verified login.
        certificate_der: judged again as long as the session lasts; empty where no card was seen.
        method: name of the `LoginMethod` that verified the holder.
        reader: None: the card is not in a reader of this machine.
        watch_id: what guards it from outside, such as the watcher of a reader; None: nothing.
        is_guarded_by_browser: the browser has to say again and again that the card is there.
        lifetime: shorter than the application's own, where the method has one.
    """

    holder: VerifiedHolder
    certificate_der: bytes = field(repr=False)
    method: str
    reader: str | None = None
    watch_id: str | None = None
    is_guarded_by_browser: bool = False
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session."""

    handle: str  # how an administrator calls it; tells nothing of the identifier
    holder: SessionHolder
    certificate_der: bytes = field(repr=False)
    method: str
    reader: str | None
    watch_id: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    heartbeat_at: datetime | None = None  # None: no browser guards it
    ended_at: datetime | None = None
    end_reason: EndReason | None = None


class SessionStore(Protocol):
    """The store of session rows. Every method raises StoreUnavailable."""

    def create(self, new: NewSession, *, at: datetime, lifetime: timedelta) -> str:
        """Open a session and return its identifier, never seen before."""

    def find(self, session_id: str) -> SessionRow | None:
        """Return the session, ended or not; None if there never was one, or long ago."""

    def record_activity(self, session_id: str, *, at: datetime) -> None:
        """Record that its person did something."""

    def record_heartbeat(self, session_id: str, *, at: datetime) -> None:
        """Record that the browser which guards it says that the card is there."""

    def end(self, session_id: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End one session; return it, or nothing if it was over already."""

    def end_reader(
        self, watch_id: str, reader: str, reason: EndReason, *, at: datetime
    ) -> tuple[SessionRow, ...]:
        """End what the card in one reader had opened under one watcher; return those."""

    def end_watch(
        self, watch_id: str, reason: EndReason, *, at: datetime
    ) -> tuple[SessionRow, ...]:
        """End everything that one watcher guarded; return those."""

    def live(self, *, at: datetime) -> tuple[SessionRow, ...]:
        """Return every session that was not ended, the oldest first."""

    def end_handle(self, handle: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End the session of that handle; return it, or nothing."""


def why_too_old(row: SessionRow, *, idle: timedelta, at: datetime) -> EndReason | None:
    """Return why a session's age ends it; None if it may go on.

    Args:
        row: a session that was not ended.
        idle: how long its person may do nothing.
        at: now, aware UTC. A clock that was set back tells no age: the session is over.
    """
    times = (row.created_at, row.last_seen_at, row.heartbeat_at or row.created_at)
    if at >= row.expires_at or max(times) - at > CLOCK_STEP_BACK:
        return EndReason.EXPIRED
    return EndReason.IDLE if at - row.last_seen_at > idle else None


def new_session_id() -> str:
    """Return an identifier that nobody can guess."""
    return secrets.token_urlsafe(SESSION_ID_BYTES)


def session_key(session_id: str) -> bytes:
    """Return what a store knows of an identifier: its SHA-256."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()


def handle_of(key: bytes) -> str:
    """Return how an administrator calls a session."""
    return key.hex()[:_HANDLE_CHARACTERS]


def ends_at(new: NewSession, at: datetime, lifetime: timedelta) -> float:
    """Return the end of a session, seconds of the epoch: the first that ends it.

    Args:
        new: its method's lifetime and its certificate's end count, where there are any.
        at: now, aware UTC.
        lifetime: the application's own.
    """
    ends = [at + min(lifetime, new.lifetime or lifetime)]
    if new.holder.certificate_not_after is not None:
        ends.append(new.holder.certificate_not_after)
    return min(ends).timestamp()
