"""What every command of `cps-auth` shares: language, JSON, and errors into words and exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NoReturn

import click
import msgspec

from cps_auth.errors import CpsAuthError
from cps_auth.exit_codes import EXIT_CODES, INTERRUPTED, UNFORESEEN, USAGE
from cps_auth.wording import explain, translations

_log = logging.getLogger(__name__)


def to_json(value: object) -> str:
    """Return a value as one line of JSON."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def now() -> datetime:
    """Return the time, aware UTC."""
    return datetime.now(UTC)


def language_of_environment() -> str:
    """Return "fr" where the environment asks for French, "en" otherwise (POSIX order)."""
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "fr" if next(filter(None, names), "").lower().startswith("fr") else "en"


@contextlib.contextmanager
def surface(as_json: bool) -> Iterator[None]:
    """Turn every error into words and its exit code; let no traceback out."""
    try:
        yield
    except CpsAuthError as error:
        refuse(error, as_json)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens any more
        sys.exit(UNFORESEEN)
    except Exception:
        _log.debug("unforeseen", exc_info=True)
        words = translations(language_of_environment()).gettext(
            "Unforeseen error, nothing was granted; --debug tells more."
        )
        _say_no("unforeseen", {}, words, as_json)
        sys.exit(UNFORESEEN)


def refuse(error: CpsAuthError, as_json: bool) -> NoReturn:
    """Say what an error means and exit with its code."""
    _log.debug("refused: %s", error)
    words = explain(error, language_of_environment())
    _say_no(error.code, error.data(), words.text, as_json)
    sys.exit(EXIT_CODES[type(error)])


def misused(error: click.ClickException, as_json: bool) -> NoReturn:
    """Say what is wrong with the command line and exit with its code."""
    error.show()
    if as_json:
        _say_no("usage", {}, error.format_message(), as_json)
    sys.exit(USAGE)


def _say_no(code: str, data: Mapping[str, object], words: str, as_json: bool) -> None:
    if as_json:
        click.echo(to_json({"ok": False, "error": code, **data, "message": words}))
    else:
        click.echo(words, err=True)
