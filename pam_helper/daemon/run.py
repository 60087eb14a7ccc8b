"""The daemon: puts the parts together, runs until it is told to stop, and locks up behind it."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

from cps_auth.card.open import open_cards
from cps_auth.card.port import CardSource
from cps_auth.config import CONFIG_PATH, Settings, read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.files import as_configuration_error, make_folder
from cps_auth.main_thread import MainThreadQueue
from pam_helper.accounts.accounts import ACCOUNTS_PATH
from pam_helper.accounts.one_time_codes import CODES_PATH, OneTimeCodes
from pam_helper.daemon import systemd as service_manager
from pam_helper.daemon.answering import answer
from pam_helper.daemon.authority import Authority
from pam_helper.daemon.fresh_judge import judge_of
from pam_helper.daemon.protocol import SOCKET_PATH, ping
from pam_helper.daemon.server import Server, listen
from pam_helper.daemon.watcher_restart import RestartingWatcher
from pam_helper.journal import keep_journal, note_settings
from pam_helper.locking.desktop_events import DesktopEvents
from pam_helper.locking.locker_order import locking_of
from pam_helper.locking.session import LOCK_UP_WITHIN_S
from pam_helper.locking.session_owners import OWNERS_FILE, SessionOwners
from pam_helper.locking.sessions import BoundSessions

STATE_FOLDER = Path("/run/cps-auth")
"""On a tmpfs, as the sessions that it speaks of do not outlive the boot either."""
UPGRADED_FILE = "upgraded"
"""In the state folder, made by an upgrade of the package: start again once no session is open."""
FIRST_EVENT_WITHIN_S = 1.0
ANSWERS_WITHIN_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """Paths of what the daemon needs; the defaults are those of an installed one."""

    config: Path = CONFIG_PATH
    accounts: Path = ACCOUNTS_PATH
    socket: Path = Path(SOCKET_PATH)
    state: Path = STATE_FOLDER
    codes: Path = CODES_PATH
    trust: Path | None = None  # replaces the settings' trust folder and the production pins


def trust_folder(options: DaemonOptions, settings: Settings) -> Path | None:
    """Return the folder that replaces the production pins, None for production."""
    return options.trust or settings.trust.path


def cards_of(settings: Settings) -> CardSource:
    """Return the source of cards of the settings.

    Raises:
        ConfigurationError, ModuleUnusable
    """
    module = settings.card.module
    return open_cards(Path(module) if module else None, stays=True)


def run(options: DaemonOptions) -> None:
    """Serve until SIGTERM or SIGINT; every session that is open then is locked.

    Args:
        options: where things are.

    Raises:
        ConfigurationError, TrustStoreUnusable, ModuleUnusable: it did not start.
    """
    _forbid_core_dumps()
    with MainThreadQueue[str]() as stop, ExitStack() as closing:
        _stop_on_signals(stop)
        with as_configuration_error(options.state):
            make_folder(options.state)
        upgraded = options.state / UPGRADED_FILE
        upgraded.unlink(missing_ok=True)  # this is the new one
        listening = _listening(options.socket, closing)
        settings, sessions = _lock_left_open(options)
        closing.callback(sessions.close, LOCK_UP_WITHIN_S)
        cards = cards_of(settings)
        judge = judge_of(settings.trust, trust_folder(options, settings))
        codes = OneTimeCodes(options.codes)
        audit = settings.audit.path if settings.audit.folder else options.codes.parent / "audit"
        keep_journal(audit, settings.audit.kept_months)
        note_settings(audit, settings)
        authority = Authority(
            cards,
            settings.card.reader,
            judge,
            options.accounts,
            sessions,
            codes,
            _now,
            settings.pam,
        )
        watching = RestartingWatcher(cards, sessions.feed_card_event)
        closing.callback(watching.stop)
        # A reader told as new after a login would lock the session that it has just opened.
        watching.wait_until_heard(FIRST_EVENT_WITHIN_S)
        events = DesktopEvents(sessions, watching.restart, lock_on_idle=settings.lock.on_idle)
        closing.callback(events.stop)
        events.wait_until_connected(FIRST_EVENT_WITHIN_S)
        server = Server(
            listening, lambda conn, peer: answer(conn, peer, authority, settings.language)
        )
        closing.callback(server.stop)
        _log.info("ready on %s, trust: %s", options.socket, judge().trust.name)
        gc.freeze()  # what stays is not searched again in the middle of a login
        service_manager.notify("READY=1")
        parts = {
            "requests": lambda: _answers(str(options.socket)),
            "readers": lambda: watching.is_alive,
            "logind": lambda: events.is_alive,
            "sessions": sessions.are_watched,
        }
        run_until(stop, lambda: _is_well(parts), partial(may_give_way, upgraded, sessions))
        service_manager.notify("STOPPING=1")


def _lock_left_open(options: DaemonOptions) -> tuple[Settings, BoundSessions]:
    """Lock what an earlier daemon left, before anything else that may fail.

    Returns:
        The settings and the sessions.

    Raises:
        ConfigurationError: the settings cannot be used; it was locked as without any.
    """
    settings, unusable = Settings(), None
    try:
        settings = read_settings(options.config)
    except ConfigurationError as error:
        unusable = error
    sessions = BoundSessions(
        locking_of(settings, options.state), SessionOwners(options.state / OWNERS_FILE)
    )
    sessions.lock_left_open(LOCK_UP_WITHIN_S)
    if unusable is not None:
        raise unusable
    return settings, sessions


def _answers(path: str) -> bool:
    """Return whether this process answers a request of its own."""
    peer = ping(path, ANSWERS_WITHIN_S)
    # A socket that was handed over is the service manager's: process 1.
    return peer is not None and peer.pid in (os.getpid(), 1, os.getppid())


def _listening(path: Path, closing: ExitStack) -> socket.socket:
    """Return the service manager's socket, else one of our own that goes when we do."""
    handed = service_manager.handed_socket()
    if handed is not None:
        return closing.enter_context(handed)
    listening = closing.enter_context(listen(path))
    closing.callback(path.unlink, missing_ok=True)
    return listening


def run_until(
    stop: MainThreadQueue[str], is_well: Callable[[], bool], gives_way: Callable[[], bool]
) -> None:
    """Wait; tell the watchdog twice in its time, and only while everything works.

    Args:
        stop: gets the name of the signal that asks for the end.
        is_well: looks whether everything works.
        gives_way: looks whether the next version is to take over.
    """
    within_s = service_manager.watchdog_s()
    while (signal_name := stop.get(None if within_s is None else within_s / 2)) is None:
        if gives_way():
            _log.info("upgraded, and no session is open: the new version is started")
            return
        if is_well():
            service_manager.notify("WATCHDOG=1")
    _log.info("asked to stop by %s", signal_name)


def may_give_way(upgraded: Path, sessions: BoundSessions) -> bool:
    """Return whether the next version is to take over now: a restart locks what is open."""
    return upgraded.exists() and sessions.stop_if_quiet()


def _is_well(parts: Mapping[str, Callable[[], bool]]) -> bool:
    """Return whether requests are answered, and everything that locks is there."""
    works = {part: is_there() for part, is_there in parts.items()}
    for part in (part for part, is_there in works.items() if not is_there):
        _log.critical("not well: %s", part)
    return all(works.values())


def _stop_on_signals(stop: MainThreadQueue[str]) -> None:
    def asked(number: int, _frame: FrameType | None) -> None:
        stop.put(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def _forbid_core_dumps() -> None:
    """Keep a PIN that is in memory for a moment out of a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _now() -> datetime:
    return datetime.now(UTC)
