"""Which card holder may open which Unix account: /etc/cps-auth/accounts.toml.

    [[holder]]
    ps_idnat = "899900000011"
    accounts = ["camille"]
    name = "Dr Camille MARTIN"    # optional, for people; so is the next line
    enrolled = 2026-11-27
    until = 2026-12-31            # optional: the last day

A holder may stand there several times; a file that is absent lets nobody in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError, HolderNotAllowed
from cps_auth.files import locked_for_update, read_protected, write_protected
from cps_auth.login.verify import AccountCheck
from cps_auth.model import Practitioner
from cps_auth.toml_file import decode_toml
from pam_helper.daemon.protocol import Name

ACCOUNTS_PATH = Path("/etc/cps-auth/accounts.toml")
MAX_ACCOUNTS_BYTES = 1024 * 1024
_ENTRY = re.compile(r"(?m)^(?=[ \t]*\[\[[ \t]*holder[ \t]*\]\])")


class Holder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One holder and the accounts that their card opens.

    Attributes:
        ps_idnat: the holder's national identifier; a renewed card has the same.
        accounts: Unix accounts.
        name: of the holder, for people who read the file.
        enrolled: when card and PIN were verified for it.
        until: the last day, in this computer's time zone, on which the card opens them.
    """

    ps_idnat: str
    accounts: tuple[Name, ...]
    name: str = ""
    enrolled: date | None = None
    until: date | None = None

    def is_over(self, at: datetime) -> bool:
        """Return whether the last day has passed."""
        return self.until is not None and at.astimezone().date() > self.until


class Accounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    holder: tuple[Holder, ...] = ()

    def of(self, ps_idnat: str) -> tuple[Holder, ...]:
        """Return the entries of a holder, none for a holder who is not listed."""
        return tuple(entry for entry in self.holder if entry.ps_idnat == ps_idnat)

    def names(self) -> frozenset[str]:
        """Return every account that some card opens, or did until its last day."""
        return frozenset(account for entry in self.holder for account in entry.accounts)


def read_accounts(path: Path = ACCOUNTS_PATH) -> Accounts:
    """Read the file; one that is absent maps nobody.

    Raises:
        ConfigurationError: unreadable, writable by others, not TOML, or not of this shape.
    """
    return _decode(path, _read(path))


def allow(account: str, path: Path = ACCOUNTS_PATH, *, at: datetime) -> AccountCheck:
    """Return step 6 of a login for one account; the file is read when the check runs.

    Args:
        account: the Unix account to open.
        path: the accounts file.
        at: now, aware.

    Returns:
        A check that raises HolderNotAllowed ("no-account": the holder has none here,
        "other-account": has others, "account-over": its last day has passed), or
        ConfigurationError for an unusable file.
    """

    def check(practitioner: Practitioner) -> None:
        entries = read_accounts(path).of(practitioner.ps_idnat)
        ours = [entry for entry in entries if account in entry.accounts]
        if not ours:
            raise HolderNotAllowed("other-account" if entries else "no-account")
        if all(entry.is_over(at) for entry in ours):
            raise HolderNotAllowed("account-over")

    return check


def check_enrolled(account: str, path: Path = ACCOUNTS_PATH) -> None:
    """Check that some card opens the account at all.

    Raises:
        HolderNotAllowed: none does ("account-not-enrolled").
        ConfigurationError: the file cannot be used.
    """
    if account not in read_accounts(path).names():
        raise HolderNotAllowed("account-not-enrolled")


def add_holder(
    practitioner: Practitioner,
    account: str,
    path: Path,
    *,
    at: datetime,
    until: date | None = None,
) -> bool:
    """Map a holder to an account, keeping what stands in the file, atomically.

    Args:
        practitioner: whose card was verified just now.
        account: a Unix account.
        path: the accounts file.
        at: now, aware, the day of enrolment.
        until: the last day, None for no end; replaces that of an earlier enrolment.

    Returns:
        True if the file changed, False if the mapping was there.

    Raises:
        ConfigurationError: the file or the new entry is unusable; nothing was changed.
    """
    name = "".join(c for c in practitioner.display_name if c.isprintable())
    new = Holder(practitioner.ps_idnat, (account,), name, at.astimezone().date(), until)
    with locked_for_update(path):
        before = _read(path)
        there = [one for one in _decode(path, before).of(new.ps_idnat) if account in one.accounts]
        if there and all(one.until == until for one in there):
            return False
        kept = _edited(path, before, Selection(new.ps_idnat, account), lambda _: None)
        after = kept.content + b"\n" + _entry(new).encode()
        if new not in _decode(path, after).holder:
            raise ConfigurationError(f"{path}: the new entry cannot be read back")
        write_protected(path, after)
        return True


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries of one holder, for one account or (None) for all of theirs."""

    ps_idnat: str
    account: str | None = None


def remove_holder(path: Path, whose: Selection) -> int:
    """Take accounts away from a holder.

    Returns:
        How many entries were changed or removed.

    Raises:
        ConfigurationError: the file is unusable; nothing was changed.
    """
    return _edit(path, whose, lambda _: None)


def set_last_day(path: Path, whose: Selection, until: date | None) -> int:
    """Set the last day on which a holder's card opens accounts, None for no end.

    Returns:
        How many entries were changed.

    Raises:
        ConfigurationError: the file is unusable; nothing was changed.
    """
    return _edit(path, whose, lambda entry: msgspec.structs.replace(entry, until=until))


@dataclass(frozen=True, slots=True)
class _Edited:
    content: bytes
    count: int


def _edit(path: Path, whose: Selection, change: Callable[[Holder], Holder | None]) -> int:
    with locked_for_update(path):
        edited = _edited(path, _read(path), whose, change)
        if edited.count:
            write_protected(path, edited.content)
        return edited.count


def _edited(
    path: Path, content: bytes, whose: Selection, change: Callable[[Holder], Holder | None]
) -> _Edited:
    """Change what a selection holds, entry by entry; all other text stays as it was written."""
    before, count = _decode(path, content), 0
    head, *entries = _ENTRY.split(content.decode())
    texts = [head]
    expected: list[Holder] = []
    for text in entries:
        (entry,) = _decode(path, text.encode()).holder
        after = _changed(entry, whose, change)
        if after != (entry,):
            text, count = "".join(_entry(one) + "\n" for one in after), count + 1
        texts.append(text)
        expected += after
    new = "".join(texts).encode()
    if len(entries) != len(before.holder) or list(_decode(path, new).holder) != expected:
        raise ConfigurationError(f"{path}: not written as [[holder]] entries, change it by hand")
    return _Edited(new, count)


def _changed(
    entry: Holder, whose: Selection, change: Callable[[Holder], Holder | None]
) -> tuple[Holder, ...]:
    """Return what an entry becomes: the accounts that are not selected keep theirs."""
    chosen = tuple(a for a in entry.accounts if whose.account in (None, a))
    if entry.ps_idnat != whose.ps_idnat or not chosen:
        return (entry,)
    rest = tuple(a for a in entry.accounts if a not in chosen)
    parts = (
        msgspec.structs.replace(entry, accounts=rest) if rest else None,
        change(msgspec.structs.replace(entry, accounts=chosen)),
    )
    return tuple(part for part in parts if part is not None)


def _entry(holder: Holder) -> str:
    """Return one entry as it stands in the file; `_decode` checks what came out."""
    lines = ["[[holder]]"]
    for name, value in msgspec.to_builtins(holder, builtin_types=(date,)).items():
        # A JSON string or array of strings is a TOML one (TOML 1.0, strings and arrays).
        is_day = isinstance(value, date)
        lines.append(f"{name} = {value if is_day else json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*lines, ""])


def _read(path: Path) -> bytes:
    try:
        return read_protected(path, MAX_ACCOUNTS_BYTES)
    except FileNotFoundError:
        return b""


@lru_cache(maxsize=1)  # asked several times for each login
def _decode(path: Path, content: bytes) -> Accounts:
    return decode_toml(path, content, Accounts)
