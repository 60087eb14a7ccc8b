"""What known cards say without a PIN, so that a known card costs almost nothing.

Keyed by the serial number that the card says each time. Nothing here is trusted: only what a
signature of the card proved is kept; unless that was since the card was inserted, the end of the
certificate is compared with the card's before a PIN is sent; and the login verifies the
signature. A wrong entry costs a refused login, no attempt.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cps_auth.card.native.layout import Profile
from cps_auth.errors import ConfigurationError
from cps_auth.files import replace_file
from cps_auth.model import CardKind, ReaderState

_KEPT = 64  # cards in memory; a practice has a handful
_LARGEST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class CachedCard:
    """What one card says of itself, once read."""

    profile: Profile
    certificate_der: bytes


_decoder = msgspec.msgpack.Decoder(CachedCard)


class CardCache:
    """Known cards, in memory and, where a folder is given, on disk. Used by any thread."""

    def __init__(self, folder: Path | None = None) -> None:
        """Begin with nothing in memory.

        Args:
            folder: made if it is missing; must be this user's own, closed to others (0700).

        Raises:
            ConfigurationError: it is not.
        """
        self._known: dict[tuple[CardKind, str], tuple[CachedCard, ReaderState | None]] = {}
        self._lock = threading.Lock()
        self._folder = folder
        if folder is not None:
            _require_private(folder)

    def get(self, kind: CardKind, serial: str) -> CachedCard | None:
        """Return what is known of a card, None when it is not known."""
        with self._lock:
            known = self._known.get((kind, serial))
        if known is not None:
            return known[0]
        return None if self._folder is None else _read(self._folder / _name(kind, serial))

    def proven_in(self, kind: CardKind, serial: str, insertion: ReaderState) -> CachedCard | None:
        """Return what a signature of the card proved since it was inserted; None when none did.

        Args:
            kind, serial: what the card says now.
            insertion: its reader now, with PC/SC's event count.
        """
        with self._lock:
            files, proven_in = self._known.get((kind, serial), (None, None))
        return files if proven_in == insertion else None

    def put(
        self,
        kind: CardKind,
        serial: str,
        files: CachedCard,
        insertion: ReaderState | None = None,
    ) -> None:
        """Remember what a card says, a signature having proved its certificate.

        Args:
            kind, serial: of the card.
            files: what it says.
            insertion: its reader when it was opened; None where nobody counts insertions.
        """
        with self._lock:
            known, _ = self._known.pop((kind, serial), (None, None))
            is_new = known != files
            self._known[kind, serial] = files, insertion
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        if is_new and self._folder is not None:
            _write(self._folder / _name(kind, serial), msgspec.msgpack.encode(files))

    def forget(self, kind: CardKind, serial: str) -> None:
        """Forget a card that turned out to say something else."""
        with self._lock:
            self._known.pop((kind, serial), None)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / _name(kind, serial)).unlink()


class CardMemory:
    """What is known of the card that is in one reader now.

    Attributes:
        files: what it says of itself, None for a card not known.
        is_proven: whether a signature proved `files` since the card was inserted.
    """

    def __init__(
        self, cache: CardCache, kind: CardKind, serial: str, insertion: ReaderState
    ) -> None:
        """Remember what there is.

        Args:
            cache: known cards.
            kind, serial: what the card says now.
            insertion: its reader now, with PC/SC's event count.
        """
        self._cache = cache
        self._card = kind, serial
        self._insertion = insertion
        proven = cache.proven_in(kind, serial, insertion)
        self.is_proven = proven is not None
        self.files = proven or cache.get(kind, serial)

    def learn(self, files: CachedCard) -> None:
        """Keep what a signature of the card just proved."""
        self._cache.put(*self._card, files, self._insertion)
        self.files, self.is_proven = files, True

    def forget(self) -> None:
        """Forget a card that turned out to say something else."""
        self._cache.forget(*self._card)
        self.is_proven = False


def _name(kind: CardKind, serial: str) -> str:
    return f"{kind.value}-{serial}"  # the serial is eight decimal digits: `parse_serial`


def _require_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigurationError(f"card cache: {error.strerror}") from None
    is_private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    if not is_private or found.st_uid != os.geteuid():
        raise ConfigurationError("card cache: the folder must be one's own, with mode 0700")


def _read(path: Path) -> CachedCard | None:
    try:
        with path.open("rb") as file:
            return _decoder.decode(file.read(_LARGEST_BYTES))
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: bytes) -> None:
    """Write all or nothing; a full disk is no reason to refuse a card."""
    with contextlib.suppress(OSError):
        replace_file(path, content, mode=0o600, durable=False)
