"""Reads `CPS_…` keys of a configuration and collects every mistake, to tell them all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from cps_auth.errors import ConfigurationError
from cps_auth.flask.guards.addresses import is_safe_next, read_origin

T = TypeVar("T")

_LONGEST = timedelta(days=3660)
_SECOND = timedelta(seconds=1)


class SettingReader:
    """Typed values of an application's configuration; what is wrong is kept until `finish`."""

    def __init__(self, config: Mapping[str, object]) -> None:
        """Read nothing yet.

        Args:
            config: of the application, defaults filled in.
        """
        self._config = config
        self._mistakes: list[str] = []

    def finish(self) -> None:
        """Report every mistake.

        Raises:
            ConfigurationError: there was one, or several.
        """
        if self._mistakes:
            raise ConfigurationError("; ".join(self._mistakes))

    def note(self, mistake: str) -> None:
        """Keep a mistake that a caller found."""
        self._mistakes.append(mistake)

    def attempt(self, read: Callable[[], T], otherwise: T) -> T:
        """Return what a function reads, or a stand-in where its ConfigurationError was kept."""
        try:
            return read()
        except ConfigurationError as error:
            self.note(error.what)
            return otherwise

    def value(self, key: str) -> object:
        """Return a value as it was set."""
        return self._config[key]

    def flag(self, key: str) -> bool:
        """Return a switch."""
        value = self._config[key]
        if not isinstance(value, bool):
            self.note(f"{key} must be True or False")
        return value is True

    def count(self, key: str) -> int:
        """Return a number from 1."""
        value = self._config[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.note(f"{key} must be a number from 1")
            return 1
        return value

    def duration(
        self, key: str, *, shortest: timedelta = _SECOND, longest: timedelta = _LONGEST
    ) -> timedelta:
        """Return a duration, set as a timedelta or in seconds, as Flask's own settings are."""
        value = self._config[key]
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = value
        else:
            self.note(f"{key} must be a timedelta, or a number of seconds")
            return shortest
        if not shortest.total_seconds() <= seconds <= longest.total_seconds():
            self.note(f"{key} must be between {shortest} and {longest}")
            return shortest
        return timedelta(seconds=seconds)

    def text_or_none(self, key: str) -> str | None:
        """Return a text, None where none was set."""
        value = self._config[key]
        if value is None or (isinstance(value, str) and value):
            return value
        self.note(f"{key} must be a text")
        return None

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return one of a few words."""
        value = self._config[key]
        if not isinstance(value, str) or value not in choices:
            self.note(f"{key} must be one of {', '.join(choices)}")
            return choices[0]
        return value

    def folder(self, key: str) -> Path | None:
        """Return an absolute path, None where none was set."""
        value = self._config[key]
        if value is None:
            return None
        if not isinstance(value, (str, Path)) or not Path(value).is_absolute():
            self.note(f"{key} must be an absolute path")
            return None
        return Path(value)

    def page(self, key: str) -> str:
        """Return the path of a page of this application."""
        value = self._config[key]
        if not isinstance(value, str) or not is_safe_next(value):
            self.note(f"{key} must be a path of this application, such as /home")
            return "/"
        return value

    def origin(self, key: str) -> str:
        """Return an origin, as browsers write it."""
        return self.attempt(lambda: read_origin(self._config[key], key), "https://not.set")
