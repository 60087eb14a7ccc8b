"""Keeps the judge of a daemon that runs for weeks up to date with the files on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from cps_auth.config import TrustSettings
from cps_auth.errors import TrustStoreUnusable
from cps_auth.pki.crl_index import FOLDER as INDEX_FOLDER
from cps_auth.pki.judge import PRODUCTION_CRL_FOLDER, Judge
from cps_auth.pki.open import open_judge

Fingerprint = tuple[tuple[str, int, int, int], ...]

_log = logging.getLogger(__name__)


class FreshJudge:
    """Gives the judge, loaded again whenever a file of its folder has changed."""

    def __init__(self, folder: Path, load: Callable[[], Judge]) -> None:
        """Load the judge.

        Args:
            folder: what is looked at for changes, with everything below it.
            load: makes the judge from it.

        Raises:
            TrustStoreUnusable
        """
        self._folder = folder
        self._load = load
        self._mutex = threading.Lock()
        self._seen = _fingerprint(folder)
        self._judge = load()

    def __call__(self) -> Judge:
        """Return the judge of now.

        Raises:
            TrustStoreUnusable: what is there now cannot be used; what was there is not either.
        """
        with self._mutex:
            seen = _fingerprint(self._folder)
            if seen != self._seen:
                self._judge = self._load()
                self._seen = seen
                _log.info("trust and revocation lists of %s loaded again", self._folder)
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
        return open_judge(folder, grace_hours=settings.grace_hours, ask_responders=settings.ocsp)

    return FreshJudge(folder or PRODUCTION_CRL_FOLDER, load)


def _fingerprint(folder: Path) -> Fingerprint:
    """Return name, time, size and inode of every file: whatever replaces one changes it."""
    try:
        found = (path for path in folder.rglob("*") if not _is_written_by_us(path, folder))
        files = sorted(path for path in found if path.is_file())
        stats = [(str(path), path.stat()) for path in files]
    except OSError as error:
        raise TrustStoreUnusable(f"{folder}: {error.strerror}") from None
    return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats)


def _is_written_by_us(path: Path, folder: Path) -> bool:
    """Return whether this is an index of lists, or a file on its way to its name."""
    parts = path.relative_to(folder).parts
    return INDEX_FOLDER in parts or parts[-1].startswith(".")
