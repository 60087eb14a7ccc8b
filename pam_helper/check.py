"""Walks the chain from the reader to the locker and says what is broken. Spends no PIN attempt.

Whether a screen is really locked only a lock can tell: asked for it, the walk locks an account's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cps_auth.config import Settings, read_settings
from cps_auth.errors import (
    ConfigurationError,
    CpsAuthError,
    DaemonUnreachable,
    LastAttempt,
    NoReader,
    PinBlocked,
)
from cps_auth.login.verify import show_holder
from cps_auth.wording import explain
from pam_helper.accounts import read_accounts
from pam_helper.daemon import DaemonOptions, cards_of, locking_of, trust_folder
from pam_helper.fresh_judge import judge_of
from pam_helper.logind import Logind
from pam_helper.manifest import read_manifest
from pam_helper.setup_command import services_that_use_us
from pam_helper.system_files import pam_side, planned_files

_DAEMON_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One link of the chain."""

    link: str  # short name, in English: scripts read it
    ok: bool
    text: str  # what was found, or what is wrong and what to do


def walk(
    options: DaemonOptions, language: str | None = None, *, lock: str | None = None
) -> Iterator[Finding]:
    """Look at every link, whatever the others say.

    Args:
        options: where things are.
        language: of the texts, that of the settings by default.
        lock: an account whose sessions are locked, to see that it is confirmed.

    Yields:
        One finding per link, in the order of the chain.
    """
    try:
        settings = read_settings(options.config)
    except ConfigurationError as error:
        yield Finding("settings", False, explain(error, language or "fr").text)
        return
    links: dict[str, Callable[[DaemonOptions, Settings], str]] = {
        "settings": _settings,
        "reader": _reader,
        "trust": _trust,
        "card": _card,
        "accounts": _accounts,
        "daemon": _daemon,
        "pam": _pam,
        "logind": _logind,
        "lockers": _lockers,
    }
    if lock is not None:
        links["confirm"] = lambda _, settings: _confirmation(lock, settings)
    for link, look in links.items():
        try:
            yield Finding(link, True, look(options, settings))
        except CpsAuthError as error:
            yield Finding(link, False, explain(error, language or settings.language).text)


def _settings(options: DaemonOptions, _settings: Settings) -> str:
    return str(options.config) if options.config.exists() else f"{options.config}: none, defaults"


def _reader(_options: DaemonOptions, settings: Settings) -> str:
    names = [state.name for state in cards_of(settings).readers()]
    wanted = settings.card.reader
    if not names or wanted not in (None, *names):
        raise NoReader(wanted)
    return ", ".join(names)


def _trust(options: DaemonOptions, settings: Settings) -> str:
    return judge_of(trust_folder(options, settings))().trust.name


def _card(options: DaemonOptions, settings: Settings) -> str:
    """Judge the card in the reader, with the age of the revocation evidence."""
    judge, at = judge_of(trust_folder(options, settings))(), datetime.now(UTC)
    with cards_of(settings).open_card(settings.card.reader) as card:
        judged = show_holder(card, judge=judge, at=at)
        left = card.pin_attempts_left()
    if left == 0:
        raise PinBlocked
    if left == 1:
        raise LastAttempt(left)
    oldest = min((at - piece.this_update for piece in judged.revocation), default=None)
    ps_idnat = judged.certificate.practitioner.ps_idnat
    attempts = "an unknown number of" if left is None else left
    return f"{ps_idnat}, {attempts} PIN attempts left, oldest revocation list: {oldest}"


def _accounts(options: DaemonOptions, _settings: Settings) -> str:
    accounts = read_accounts(options.accounts)
    named = {account for holder in accounts.holder for account in holder.accounts}
    if not named:
        raise ConfigurationError(f"{options.accounts}: nobody is enrolled")
    for account in sorted(named):
        try:
            pwd.getpwnam(account)
        except KeyError:
            raise ConfigurationError(f"{options.accounts}: no account {account!r}") from None
    return f"{len(named)} account(s)"


def _daemon(options: DaemonOptions, _settings: Settings) -> str:
    """Look who listens, and that it answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_DAEMON_WITHIN_S)
        try:
            connection.connect(str(options.socket))
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            connection.sendall(b"cps1 ping root check\n")
            answered = connection.recv(100)
        except OSError:
            raise DaemonUnreachable from None
        if not answered:
            raise DaemonUnreachable
    pid, uid, _ = struct.unpack("3i", peer)
    if uid != 0:
        raise ConfigurationError(f"{options.socket}: served by uid {uid}, not by root")
    return f"{options.socket}, process {pid}"


def _pam(_options: DaemonOptions, settings: Settings) -> str:
    """Compare what is installed with what this version installs, and say who uses it."""
    root = Path("/")
    manifest = read_manifest(root)
    if not manifest.files:
        raise ConfigurationError("not installed: python -m pam_helper install")
    side = pam_side(root, settings, want_module=any("pam_cps" in p for p in manifest.files))
    for file in planned_files(side, settings):
        path = Path(file.place)
        if not path.is_file():
            raise ConfigurationError(f"{path} is not installed")
        if not file.is_settings and path.read_bytes() != file.content:
            raise ConfigurationError(f"{path} is not this version's: install again")
    used_by = sorted(services_that_use_us(root))
    if not used_by:
        raise ConfigurationError("installed, and no service in /etc/pam.d uses it")
    return f"{'pam_cps.so' if side.module else 'pam_exec'}, used by {', '.join(used_by)}"


def _logind(_options: DaemonOptions, _settings: Settings) -> str:
    if Logind().sessions(pwd.getpwuid(os.getuid()).pw_name) is None:
        raise ConfigurationError("logind does not answer on the system bus: nothing can be locked")
    return "answers"


def _lockers(_options: DaemonOptions, settings: Settings) -> str:
    """Look whether the configured command is there; whether it locks, only a lock can tell."""
    command = settings.lock.command
    if "command" in settings.lock.lockers and shutil.which(command[0]) is None:
        raise ConfigurationError(f"lock.command: {command[0]!r} cannot be run")
    return ", ".join(settings.lock.lockers)


def _confirmation(account: str, settings: Settings) -> str:
    """Lock the account's sessions as the daemon would, but for ending what nobody locks."""
    locking = locking_of(settings)
    left = locking.desktop.sessions(account)
    if not left:
        raise ConfigurationError(f"{account} has no session at this computer to lock")
    said = []
    for locker in locking.lockers:
        started_s = time.monotonic()
        confirmed = locker.lock(left, lambda *_: None) if left else frozenset()
        took_s, left = time.monotonic() - started_s, left - confirmed
        said += [f"{one.session_id} by {locker.name} in {took_s:.2f} s" for one in confirmed]
    if left:
        unlocked = ", ".join(sorted(session.session_id for session in left))
        raise ConfigurationError(f"no locker confirmed {unlocked}: without a card it is ended")
    return ", ".join(said)
