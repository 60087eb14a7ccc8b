"""One-time codes: the administrator's way in for somebody whose card is forgotten or blocked.

A code is twelve characters from `secrets`, 60 bits, shown once to the administrator and kept
as a salted Argon2id hash only (RFC 9106; of `cryptography`). Codes are few, live for hours, and
each works once: it is struck off on disk before it is believed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from cps_auth.errors import ConfigurationError
from cps_auth.files import (
    as_configuration_error,
    locked_for_update,
    make_folder,
    read_protected,
    write_protected,
)
from pam_helper.daemon.protocol import CODE_CHARACTERS

CODES_PATH = Path("/var/lib/cps-auth/codes.json")
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 characters that nobody mistakes for one another: no I, O, 0 or 1."""
MAX_PER_ACCOUNT = 3
LIFETIME = timedelta(hours=8)
MAX_LIFETIME = timedelta(hours=24)
MAX_CODES_BYTES = 256 * 1024

_MEMORY_KIB, _ITERATIONS, _LANES = 19 * 1024, 2, 1
"""19 MiB and some 50 ms each (OWASP Password Storage Cheat Sheet, Argon2id)."""


class StoredCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One code that was issued and not used yet."""

    account: str
    argon2: str  # PHC string: the parameters, the salt and the hash
    issued_at: datetime
    expires_at: datetime

    def is_live(self, at: datetime) -> bool:
        """Return whether it counts now; a clock set back before its issue makes it void."""
        return self.issued_at <= at < self.expires_at

    def is_of(self, code: bytearray) -> bool:
        """Return whether this is the code that was typed."""
        try:
            Argon2id.verify_phc_encoded(code, self.argon2)  # type: ignore[arg-type]  # see _hash
        except InvalidKey:
            return False
        return True


class OneTimeCodes:
    """The codes of this PC. Safe to use from several threads and processes."""

    def __init__(self, path: Path = CODES_PATH) -> None:
        """Name the file; it is read at each use.

        Args:
            path: in a folder that only root can write.
        """
        self._path = path

    def issue(self, account: str, lifetime: timedelta, *, at: datetime) -> str:
        """Make a new code.

        Args:
            account: the Unix account that it lets in.
            lifetime: up to `MAX_LIFETIME`.
            at: now, aware UTC.

        Returns:
            The code, in groups of four. It is nowhere else.

        Raises:
            ConfigurationError: the account has `MAX_PER_ACCOUNT` live codes, the lifetime is
                too long, or the file cannot be read or written.
        """
        if not timedelta(0) < lifetime <= MAX_LIFETIME:
            raise ConfigurationError(f"a one-time code lives for at most {MAX_LIFETIME}")
        code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARACTERS))
        hashed = _hash(bytearray(code, "ascii"))
        with self._locked():
            kept = [stored for stored in self._read() if stored.is_live(at)]
            if sum(stored.account == account for stored in kept) >= MAX_PER_ACCOUNT:
                raise ConfigurationError(f"{account} has {MAX_PER_ACCOUNT} unused one-time codes")
            self._write([*kept, StoredCode(account, hashed, at, at + lifetime)])
        return "-".join(code[start : start + 4] for start in range(0, CODE_CHARACTERS, 4))

    def left(self, account: str, *, at: datetime) -> int:
        """Return how many codes the account can use now.

        Raises:
            ConfigurationError: the file cannot be believed.
        """
        return sum(stored.account == account and stored.is_live(at) for stored in self._read())

    def use(self, account: str, code: bytearray, *, at: datetime) -> bool:
        """Strike the code off; True only once that is on disk.

        Args:
            account: whom it is to let in.
            code: as it was typed, wiped by its owner.
            at: now, aware UTC.

        Raises:
            ConfigurationError: the file cannot be read or written; the code is not accepted.
        """
        with self._locked():
            stored = self._read()
            live = [one for one in stored if one.account == account and one.is_live(at)]
            used = next((one for one in live if one.is_of(code)), None)
            if used is None:
                return False
            self._write([one for one in stored if one is not used and one.is_live(at)])
            return True

    def revoke(self, account: str) -> int:
        """Strike off every code of an account; return how many there were.

        Raises:
            ConfigurationError
        """
        with self._locked():
            stored = self._read()
            kept = [one for one in stored if one.account != account]
            self._write(kept)
        return len(stored) - len(kept)

    def _read(self) -> list[StoredCode]:
        try:
            content = read_protected(self._path, MAX_CODES_BYTES)
            return msgspec.json.decode(content, type=list[StoredCode])
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._path}: {error}") from None

    def _write(self, codes: list[StoredCode]) -> None:
        write_protected(self._path, msgspec.json.encode(codes))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with as_configuration_error(self._path):
            make_folder(self._path.parent)  # the file in it is root's alone
        with locked_for_update(self._path):
            yield


def _hash(code: bytearray) -> str:
    try:
        argon2 = Argon2id(
            salt=os.urandom(16),
            length=32,
            iterations=_ITERATIONS,
            lanes=_LANES,
            memory_cost=_MEMORY_KIB,
        )
        return argon2.derive_phc_encoded(code)  # type: ignore[arg-type]  # it takes any buffer
    except UnsupportedAlgorithm:  # a cryptography that was built with an OpenSSL before 3.2
        raise ConfigurationError("this build of cryptography has no Argon2id") from None
