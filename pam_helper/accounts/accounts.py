"""Which card holder may open which Unix account: /etc/cps-auth/accounts.toml.

    [[holder]]
    ps_idnat = "899900000011"
    accounts = ["camille"]

A holder may stand there several times; a file that is absent lets nobody in.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError, HolderNotAllowed
from cps_auth.files import locked_for_update, read_protected, write_protected
from cps_auth.login.verify import AccountCheck
from cps_auth.model import Practitioner
from pam_helper.daemon.protocol import Name

ACCOUNTS_PATH = Path("/etc/cps-auth/accounts.toml")
MAX_ACCOUNTS_BYTES = 1024 * 1024


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One holder and the accounts that their card opens."""

    ps_idnat: str
    accounts: tuple[Name, ...]


class Accounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    holder: tuple[Holder, ...] = ()

    def of(self, ps_idnat: str) -> frozenset[str]:
        """Return the accounts of a holder, none for a holder who is not listed."""
        found = (entry.accounts for entry in self.holder if entry.ps_idnat == ps_idnat)
        return frozenset(account for accounts in found for account in accounts)

    def names(self) -> frozenset[str]:
        """Return every account that some card opens."""
        return frozenset(account for entry in self.holder for account in entry.accounts)


def read_accounts(path: Path = ACCOUNTS_PATH) -> Accounts:
    """Read the file; one that is absent maps nobody.

    Raises:
        ConfigurationError: unreadable, writable by others, not TOML, or not of this shape.
    """
    try:
        return _decode(path, read_protected(path, MAX_ACCOUNTS_BYTES))
    except FileNotFoundError:
        return Accounts()


def allow(account: str, path: Path = ACCOUNTS_PATH) -> AccountCheck:
    """Return step 6 of a login for one account; the file is read when the check runs.

    Args:
        account: the Unix account to open.
        path: the accounts file.

    Returns:
        A check that raises HolderNotAllowed ("no-account": the holder has none here,
        "other-account": has others), or ConfigurationError for an unusable file.
    """

    def check(practitioner: Practitioner) -> None:
        accounts = read_accounts(path).of(practitioner.ps_idnat)
        if account not in accounts:
            raise HolderNotAllowed("other-account" if accounts else "no-account")

    return check


def check_enrolled(account: str, path: Path = ACCOUNTS_PATH) -> None:
    """Check that some card opens the account at all.

    Raises:
        HolderNotAllowed: none does ("account-not-enrolled").
        ConfigurationError: the file cannot be used.
    """
    if account not in read_accounts(path).names():
        raise HolderNotAllowed("account-not-enrolled")


def add_holder(practitioner: Practitioner, account: str, path: Path, *, at: datetime) -> bool:
    """Map a holder to an account, keeping what stands in the file, atomically.

    Args:
        practitioner: whose card was verified just now.
        account: a Unix account.
        path: the accounts file.
        at: now, aware UTC, for the comment.

    Returns:
        True if the file changed, False if the mapping was there.

    Raises:
        ConfigurationError: the file or the new entry is unusable; nothing was changed.
    """
    with locked_for_update(path):
        try:
            before = read_protected(path, MAX_ACCOUNTS_BYTES)
        except FileNotFoundError:
            before = b""
        if account in _decode(path, before).of(practitioner.ps_idnat):
            return False
        after = before + _entry(practitioner.ps_idnat, account, at)
        if account not in _decode(path, after).of(practitioner.ps_idnat):
            raise ConfigurationError(f"{path}: the new entry cannot be read back")
        write_protected(path, after)
        return True


def _entry(ps_idnat: str, account: str, at: datetime) -> bytes:
    # A JSON string is a TOML basic string (TOML 1.0, strings); _decode checks what came out.
    holder, accounts = json.dumps(ps_idnat), json.dumps([account])
    return (
        f"\n# enrolled on {at:%Y-%m-%d}\n[[holder]]\nps_idnat = {holder}\naccounts = {accounts}\n"
    ).encode()


@lru_cache(maxsize=1)  # asked several times for each login
def _decode(path: Path, content: bytes) -> Accounts:
    try:
        return msgspec.toml.decode(content, type=Accounts)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
