"""The program that a browser starts: checks who calls, then holds the conversation."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cps_auth.card.open import open_cards
from cps_auth.card.port import CardSource
from cps_auth.config import Settings, read_settings
from cps_auth.errors import CpsAuthError, PinEntryCancelled, TrustStoreUnusable
from cps_auth.exit_codes import EXIT_CODES, UNFORESEEN
from cps_auth.native_host.callers import identify
from cps_auth.native_host.conversation import UNFORESEEN_REPLY, Host, error_reply
from cps_auth.native_host.framing import write_message
from cps_auth.native_host.pin_window import PinWindow

if TYPE_CHECKING:
    from cps_auth.pki.judge import Judge

_log = logging.getLogger(__name__)

DEBUG, ALLOW = "--debug", "--allow"
"""Options that the launcher may put before what the browser says."""


def main() -> NoReturn:
    """Serve one connection; the exit code is 0 when nothing was refused."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no PIN in a core dump
    options, said_by_browser = split_arguments(sys.argv[1:])
    level = logging.DEBUG if DEBUG in options else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="cps-auth: %(message)s")
    browser_in, browser_out = _take_the_pipes()
    allowed = frozenset(option for option in options if not option.startswith("--"))
    sys.exit(run(said_by_browser, allowed, browser_in, browser_out))


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the launcher's options, which come first, from what the browser appended."""
    end = 0
    while end < len(arguments) and arguments[end] in (DEBUG, ALLOW):
        end += 2 if arguments[end] == ALLOW else 1
    return arguments[:end], arguments[end:]


def run(
    said_by_browser: list[str], also_allowed: frozenset[str], browser_in: int, browser_out: int
) -> int:
    """Check the caller, hold the conversation.

    Args:
        said_by_browser: the arguments that the browser gave.
        also_allowed: extensions that were named at installation, besides those of the settings.
        browser_in: what the browser writes to.
        browser_out: what it reads from.

    Returns:
        The exit code, of the table of the command line.
    """
    try:
        try:
            settings = read_settings()
            allowed = also_allowed.union(settings.browser.extensions)
            extension = identify(said_by_browser, also_allowed=allowed)
        except CpsAuthError as refusal:
            with contextlib.suppress(BrokenPipeError):
                write_message(browser_out, error_reply(refusal))
            raise
        _log.debug("asked by extension %s", extension)
        _host(settings, browser_in, browser_out).serve()
    except PinEntryCancelled as gave_up:
        _log.debug("%s", gave_up)
        return EXIT_CODES[PinEntryCancelled]
    except CpsAuthError as refusal:
        _log.warning("%s", refusal)
        return EXIT_CODES[type(refusal)]
    except Exception:
        _log.exception("unforeseen: nothing was signed, or nobody was told")
        with contextlib.suppress(OSError):
            write_message(browser_out, UNFORESEEN_REPLY)
        return UNFORESEEN
    return 0


def _host(settings: Settings, browser_in: int, browser_out: int) -> Host:
    return Host(
        browser_in=browser_in,
        browser_out=browser_out,
        cards=_cards(settings),
        reader=settings.card.reader,
        judge=_judge(settings),
        window=PinWindow,
        clock=lambda: datetime.now(UTC),
        language=settings.language,
    )


def _cards(settings: Settings) -> Callable[[], CardSource]:
    module = settings.card.module
    return lambda: open_cards(Path(module) if module else None)


def _judge(settings: Settings) -> Callable[[], Judge | None]:
    """Load what this computer trusts, if anything: the website is who judges."""
    trust = settings.trust

    def judge() -> Judge | None:
        # Imported here: neither greeting nor window waits for the cryptography
        from cps_auth.pki.open import open_judge

        try:
            return open_judge(trust.path, grace_hours=trust.grace_hours)
        except TrustStoreUnusable as unusable:
            _log.debug("the holder is shown unverified: %s", unusable)
            return None

    return judge


def _take_the_pipes() -> tuple[int, int]:
    """Keep the browser's pipes for messages only: nothing else reads or prints there."""
    browser_in, browser_out = os.dup(0), os.dup(1)  # not inherited by the window
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return browser_in, browser_out
