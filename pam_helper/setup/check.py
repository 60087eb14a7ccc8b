"""Walks the chain from the reader to the locker and says what is broken. Spends no PIN attempt."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cps_auth.audit.verify import verify_journal
from cps_auth.cli.diagnostics import Finding, find_card, find_lists, find_readers, look_at
from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError, DaemonUnreachable
from cps_auth.files import as_configuration_error, is_protected
from cps_auth.pki.judge import Judge
from cps_auth.wording import explain, translations
from pam_helper.accounts.accounts import read_accounts
from pam_helper.daemon.fresh_judge import judge_of
from pam_helper.daemon.protocol import ping
from pam_helper.daemon.run import DaemonOptions, cards_of, trust_folder
from pam_helper.locking.locker_order import locking_of
from pam_helper.locking.lockers import DesktopSession, Locker, LockProof
from pam_helper.locking.logind import Logind
from pam_helper.setup import profile
from pam_helper.setup.profile import under

_DAEMON_WITHIN_S = 2.0


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_NO_FILE = _("{path}: none, so the defaults")
_NOBODY = _("{path}: nobody is enrolled")
_NO_ACCOUNT = _("{path}: there is no account {account}")
_ACCOUNTS = _("{count} accounts enrolled")
_NOT_ROOTS = _("{path} is served by uid {uid}, not by root")
_SERVED = _("{path}, process {pid}")
_OTHERS_PROGRAM = _("{path}: others than root could change it, and root runs what is there")
_NO_MODULE = _("{path} is missing: install the package cps-auth again")
_UNUSED = _("no service in /etc/pam.d uses the card: cps-auth pc setup")
_NOT_REQUIRED = _("common-auth does not require the card in exactly {services}: cps-auth pc setup")
_USED_BY = _("{side}, used by {services}")
_NO_LOGIND = _("logind does not answer on the system bus: nothing can be locked")
_ANSWERS = _("it answers")
_NO_COMMAND = _("lock.command: {command} cannot be run")
_NO_SESSION = _("{account} has no session at this computer: nothing to lock")
_CONFIRMED = _("{session} by {locker} in {seconds} s")
_ROOT_ONLY = _("only root may look: sudo cps-auth doctor")
_NO_JOURNAL = _("{path}: no entry yet")
_ALTERED = _("{place}: {finding}, the journal is not as it was written")
_INTACT = _("{path}: {count} lines, as they were written")
_UNCONFIRMED = _("no locker confirmed {sessions}: without a card it is ended")


def walk(
    options: DaemonOptions, language: str | None = None, *, lock: str | None = None
) -> Iterator[Finding]:
    """Look at every link, whatever the others say.

    Args:
        options: where things are.
        language: of the texts, that of the settings by default.
        lock: an account whose sessions are locked, to see the lock confirmed; None for nobody's.

    Yields:
        One finding per link, in the order of the chain.
    """
    try:
        settings = read_settings(options.config)
    except ConfigurationError as error:
        yield Finding("settings", explain(error, language or "fr").text, error)
        return
    pc = PcLinks(options, settings, language or settings.language)
    confirm = {} if lock is None else {"confirm": lambda: pc.confirm(lock)}
    yield from look_at({**pc.card_links(), **pc.links(), **confirm}, pc.language)


def pc_under(root: Path, settings: Settings, language: str) -> PcLinks:
    """Return the links of the PC whose files are under a folder, / for this one."""
    places = DaemonOptions()
    options = DaemonOptions(
        accounts=under(root, places.accounts), socket=under(root, places.socket)
    )
    return PcLinks(options, settings, language, root)


@dataclass(frozen=True, slots=True)
class PcLinks:
    """The links of one PC, beside those that every computer with a card has."""

    options: DaemonOptions
    settings: Settings
    language: str
    root: Path = Path("/")
    program: tuple[Path, ...] = (Path(sys.prefix), Path(__file__).parent)

    def is_set_up(self) -> bool:
        """Return whether the card was ever meant to open this PC's sessions."""
        files = (self.options.accounts, self.options.socket)
        # os.access: Path.exists raises where this user may not look into the folder
        return any(os.access(file, os.F_OK, effective_ids=True) for file in files) or bool(
            profile.services_that_use_us(self.root)
        )

    def card_links(self) -> dict[str, Callable[[], str]]:
        """Return by name what looks at the links to the card, as the daemon reads it."""
        return {
            "settings": self._settings,
            "reader": lambda: find_readers(
                cards_of(self.settings), self.settings.card.reader, self.language
            ),
            "trust": lambda: self._judge().trust.name,
            "lists": lambda: find_lists(self._judge(), self.language, at=datetime.now(UTC)),
            "card": self._card,
        }

    def links(self) -> dict[str, Callable[[], str]]:
        """Return by name what looks at each link from the program to the screen locker."""
        return {
            "program": self._program,
            "accounts": self._accounts,
            "daemon": self._daemon,
            "pam": self._pam,
            "logind": self._logind,
            "lockers": self._lockers,
            "journal": self._journal,
        }

    def _text(self, sentence: str, **facts: object) -> str:
        return translations(self.language).gettext(sentence).format(**facts)

    def _broken(self, cause: str, sentence: str, **facts: object) -> ConfigurationError:
        return ConfigurationError(self._text(sentence, **facts), cause)

    def _judge(self) -> Judge:
        return judge_of(self.settings.trust, trust_folder(self.options, self.settings))()

    def _settings(self) -> str:
        path = self.options.config
        return str(path) if path.exists() else self._text(_NO_FILE, path=path)

    def _card(self) -> str:
        cards, reader = cards_of(self.settings), self.settings.card.reader
        return find_card(cards, reader, self._judge(), self.language, at=datetime.now(UTC))

    def _accounts(self) -> str:
        path = self.options.accounts
        if os.geteuid() != 0 and not os.access(path, os.R_OK, effective_ids=True):
            return self._text(_ROOT_ONLY)
        named = {account for row in read_accounts(path).holder for account in row.accounts}
        if not named:
            raise self._broken("nobody-enrolled", _NOBODY, path=path)
        for account in sorted(named):
            try:
                pwd.getpwnam(account)
            except KeyError:
                raise self._broken("no-account", _NO_ACCOUNT, path=path, account=account) from None
        return self._text(_ACCOUNTS, count=len(named))

    def _daemon(self) -> str:
        """Look who listens, and that it answers."""
        path = self.options.socket
        peer = ping(str(path), _DAEMON_WITHIN_S)
        if peer is None:
            raise DaemonUnreachable
        if peer.uid != 0:
            raise self._broken("not-roots-daemon", _NOT_ROOTS, path=path, uid=peer.uid)
        return self._text(_SERVED, path=path, pid=peer.pid)

    def _program(self) -> str:
        """Look whether anybody else could change what root runs: the files, and the way there."""
        for path in self.program:
            for place in (path, *path.parents):
                if not is_protected(place):
                    raise self._broken("others-program", _OTHERS_PROGRAM, path=place)
        return sys.prefix

    def _pam(self) -> str:
        """Look whether the module is there, who uses it, and where no password counts."""
        if not any((self.root / "usr/lib").glob(f"*/security/{profile.MODULE}")):
            raise self._broken("no-pam-module", _NO_MODULE, path=profile.MODULE)
        used_by = sorted(profile.services_that_use_us(self.root))
        if not used_by:
            raise self._broken("pam-unused", _UNUSED)
        required = self.settings.pam.card_required
        if profile.COMMON_AUTH in used_by and not profile.is_required(required, self.root):
            raise self._broken("not-required", _NOT_REQUIRED, services=", ".join(required) or "-")
        return self._text(_USED_BY, side=profile.MODULE, services=", ".join(used_by))

    def _logind(self) -> str:
        if Logind().sessions(pwd.getpwuid(os.getuid()).pw_name) is None:
            raise self._broken("no-logind", _NO_LOGIND)
        return self._text(_ANSWERS)

    def _lockers(self) -> str:
        """Look whether the configured command is there; whether it locks, only a lock can tell."""
        lock = self.settings.lock
        if "command" in lock.lockers and shutil.which(lock.command[0]) is None:
            raise self._broken("no-locker-command", _NO_COMMAND, command=lock.command[0])
        return ", ".join(lock.lockers)

    def _journal(self) -> str:
        """Verify the audit journal."""
        folder = under(self.root, self.settings.audit.path)
        if os.geteuid() != 0 and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
            return self._text(_ROOT_ONLY)
        with as_configuration_error(folder):
            verified = verify_journal(folder)
        if not verified.lines:
            return self._text(_NO_JOURNAL, path=folder)
        if not verified.is_intact:
            fault = verified.faults[0]
            place = f"{folder / fault.file}:{fault.line}"
            raise self._broken("journal-altered", _ALTERED, place=place, finding=fault.finding)
        return self._text(_INTACT, path=folder, count=verified.lines)

    def confirm(self, account: str) -> str:
        """Lock the account's sessions as the daemon would, but for ending what nobody locks."""
        locking = locking_of(self.settings, self.options.state)
        left = locking.desktop.sessions(account)
        if left is None:
            raise self._broken("no-logind", _NO_LOGIND)
        if not left:
            raise self._broken("no-session", _NO_SESSION, account=account)
        said = []
        for locker, session in itertools.product(locking.lockers, sorted(left, key=_session_id)):
            started_s = time.monotonic()
            if session not in left or not _is_locked_by(locker, session):
                continue
            left -= {session}
            seconds = f"{time.monotonic() - started_s:.2f}"
            name = session.session_id
            said.append(self._text(_CONFIRMED, session=name, locker=locker.name, seconds=seconds))
        if left:
            names = ", ".join(sorted(session.session_id for session in left))
            raise self._broken("unconfirmed", _UNCONFIRMED, sessions=names)
        return ", ".join(said)


def _is_locked_by(locker: Locker, session: DesktopSession) -> bool:
    # A locker that goes later goes because somebody was let in: nobody watches it here.
    return locker.lock(session, lambda _let_in: None, opening=False) is not LockProof.NONE


def _session_id(session: DesktopSession) -> str:
    return session.session_id
