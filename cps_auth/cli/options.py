"""Options shared by the commands that use a card, and `--trace`."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cps_auth.card.open import open_cards
from cps_auth.card.port import CardSource
from cps_auth.cli.errors import language_of_environment, surface, to_json
from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError

if TYPE_CHECKING:
    from cps_auth.pki.judge import Judge

_ReadSettings = Callable[[], tuple[Settings, ConfigurationError | None]]

_TRACE = "cps_auth.card.native.apdu.trace"


@dataclass(frozen=True, slots=True)
class Options:
    """The options that every command takes."""

    json: bool
    reader: str | None
    module: str | None  # a path, or the name of a known module
    trust: Path | None  # replaces the pinned authorities
    settings: Settings
    language: str
    settings_error: ConfigurationError | None = None  # with it, `settings` are the defaults

    def cards(self) -> CardSource:
        """Open the source of cards, from the options or the settings file.

        Raises:
            ConfigurationError, ModuleUnusable
        """
        return open_cards(self.module)

    def judge(self) -> Judge:
        """Load the trust store, production unless another was named.

        Raises:
            TrustStoreUnusable
        """
        from cps_auth.pki.open import open_judge  # here: it reads certificates, `readers` does not

        settings = self.settings.trust
        return open_judge(
            self.trust,
            grace_hours=settings.grace_hours,
            ask_responders=settings.ocsp,
            nonce_required=settings.ocsp_nonce,
        )

    def print(self, value: object, lines: list[str]) -> None:
        """Print a result, as one line of JSON or for a person."""
        click.echo(to_json(value) if self.json else "\n".join(lines))


def card_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command takes; they come as one `Options`, the first argument."""
    return _with_options(command, _read_settings_or_raise)


def card_options_despite_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add them to a command that runs with the defaults where the settings cannot be used."""
    return _with_options(command, _read_settings_or_defaults)


def _with_options(command: Callable[..., None], read: _ReadSettings) -> Callable[..., None]:
    @functools.wraps(command)
    def run(
        *,
        as_json: bool,
        reader: str | None,
        module: str | None,
        trust: Path | None,
        trace: bool,
        **own: Any,
    ) -> None:
        with surface(as_json):
            settings, error = read()
            options = Options(
                json=as_json,
                reader=reader or settings.card.reader,
                module=module or settings.card.module or None,
                trust=trust or settings.trust.path,
                settings=settings,
                language=language_of_environment(),
                settings_error=error,
            )
        if trace:
            _show_trace()
        command(options, **own)

    folder = click.Path(path_type=Path)  # whether it is one, the trust store says
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One line of JSON a result."),
        click.option("--reader", metavar="NAME", help="The reader, where there are several."),
        click.option(
            "--module",
            metavar="ans|opensc|PATH",
            help="A PKCS#11 module, in place of our driver.",
        ),
        click.option("--trust", type=folder, help="A trust folder, in place of production."),
        click.option(
            "--trace",
            is_flag=True,
            help="Show what is said to the card on standard error, PIN and PUK hidden.",
        ),
    ):
        run = option(run)
    return run


def _read_settings_or_raise() -> tuple[Settings, None]:
    return read_settings(), None


def _read_settings_or_defaults() -> tuple[Settings, ConfigurationError | None]:
    try:
        return _read_settings_or_raise()
    except ConfigurationError as error:
        return Settings(), error


def _show_trace() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    trace = logging.getLogger(_TRACE)
    trace.addHandler(handler)
    trace.setLevel(logging.DEBUG)
