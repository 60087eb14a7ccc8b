"""Keeps the judge of a daemon that runs for weeks up to date with the files on disk."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cps_auth.config import TrustSettings
from cps_auth.errors import TrustStoreUnusable
from cps_auth.pki.judge import Judge
from cps_auth.pki.open import folders_of, open_judge

Fingerprint = tuple[tuple[str, int, int, int], ...]

_log = logging.getLogger(__name__)


class FreshJudge:
    """Gives the judge, loaded again whenever a file that it is made of has changed."""

    def __init__(self, folders: tuple[Path, ...], load: Callable[[], Judge]) -> None:
        """Load the judge.

        Args:
            folders: whose own files are looked at for changes; some may be missing.
            load: makes the judge of them.

        Raises:
            TrustStoreUnusable
        """
        self._folders = folders
        self._load = load
        self._mutex = threading.Lock()
        self._seen = _fingerprint(folders)
        self._judge = load()

    def __call__(self) -> Judge:
        """Return the judge of now.

        Raises:
            TrustStoreUnusable: what is there now cannot be used; what was there is not either.
        """
        with self._mutex:
            seen = _fingerprint(self._folders)
            if seen != self._seen:
                self._judge = self._load()
                self._seen = seen
                _log.info("trust and revocation lists loaded again")
            return self._judge


def judge_of(settings: TrustSettings, folder: Path | None) -> FreshJudge:
    """Return the judge of the settings.

    Args:
        settings: how old evidence may be, and who is asked.
        folder: replaces the pinned authorities; None for production.

    Raises:
        TrustStoreUnusable
    """

    def load() -> Judge:
        return open_judge(
            folder,
            grace_hours=settings.grace_hours,
            ask_responders=settings.ocsp,
            nonce_required=settings.ocsp_nonce,
        )

    return FreshJudge(folders_of(folder), load)


def _fingerprint(folders: Iterable[Path]) -> Fingerprint:
    """Return name, time, size and inode of every file: whatever replaces one changes it."""
    return tuple(one for folder in folders for one in _files(folder))


def _files(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    try:
        with os.scandir(folder) as entries:  # asked at each login: much faster than pathlib
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.name.startswith(".") and entry.is_file():
                    seen = entry.stat()
                    yield entry.path, seen.st_mtime_ns, seen.st_size, seen.st_ino
    except FileNotFoundError:
        yield str(folder), 0, 0, 0  # it is missing, or a file went just now
    except OSError as error:
        raise TrustStoreUnusable(f"{folder}: {error.strerror}") from None
