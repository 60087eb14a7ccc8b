"""Errors of the command line into words, JSON and exit codes."""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NoReturn

import click

from cps_auth.cli.streams import visible
from cps_auth.errors import CpsAuthError
from cps_auth.exit_codes import EXIT_CODES, INTERRUPTED, UNFORESEEN, USAGE
from cps_auth.wording import explain, translations
from cps_auth.wording.language import language_of

_log = logging.getLogger(__name__)


def to_json(value: object) -> str:
    """Return a value as one line of JSON, in ASCII where standard output is not UTF-8."""
    import json  # here: neither is needed for --help

    import msgspec

    is_utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    plain = _without_stray_bytes(msgspec.to_builtins(value, enc_hook=str))
    return json.dumps(plain, ensure_ascii=not is_utf8, separators=(",", ":"))


def _without_stray_bytes(value: object) -> object:
    """Return a JSON value whose texts can be encoded: file names and arguments are bytes."""
    if isinstance(value, dict):
        return {key: _without_stray_bytes(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_stray_bytes(one) for one in value]
    return visible(value) if isinstance(value, str) else value


def now() -> datetime:
    """Return the time, aware UTC."""
    return datetime.now(UTC)


def language_of_environment() -> str:
    """Return "fr" where the environment asks for French, "en" otherwise."""
    return language_of(os.environ)


@contextlib.contextmanager
def surface(as_json: bool) -> Iterator[None]:
    """Turn every error into words and its exit code; let no traceback out."""
    try:
        yield
    except CpsAuthError as error:
        refuse(error, as_json)
    except KeyboardInterrupt:
        interrupted(as_json)
    except Exception:
        _log.debug("unforeseen", exc_info=True)
        words = translations(language_of_environment()).gettext(
            "Unforeseen error, nothing was granted; --debug tells more."
        )
        _say_no("unforeseen", {}, words, as_json)
        sys.exit(UNFORESEEN)


def refuse(error: CpsAuthError, as_json: bool) -> NoReturn:
    """Report an error in words or JSON, and exit with its code."""
    _log.debug("refused: %s", error)
    words = explain(error, language_of_environment())
    _say_no(error.code, error.data(), words.text, as_json)
    sys.exit(EXIT_CODES[type(error)])


def misused(error: click.ClickException, as_json: bool) -> NoReturn:
    """Report a misused command line and exit with its code."""
    error.show()
    if as_json:
        _say_no("usage", {}, error.format_message(), as_json)
    sys.exit(USAGE)


def interrupted(as_json: bool) -> NoReturn:
    """Exit as after Ctrl-C; a program that reads JSON is told."""
    if as_json:
        words = translations(language_of_environment()).gettext("Interrupted.")
        _say_no("interrupted", {}, words, as_json)
    sys.exit(INTERRUPTED)


def _say_no(code: str, data: Mapping[str, object], words: str, as_json: bool) -> None:
    if as_json:
        click.echo(to_json({"ok": False, "error": code, **data, "message": words}))
    else:
        click.echo(words, err=True)
