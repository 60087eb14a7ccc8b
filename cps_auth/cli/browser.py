"""`cps-auth browser`: lets the browsers of this computer ask for the card."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from cps_auth.cli.errors import language_of_environment, surface, to_json
from cps_auth.config import read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.native_host import manifests
from cps_auth.native_host.manifests import BROWSERS, Browser, Place, Registration
from cps_auth.native_host.pin_window import can_open_where_there_is_a_display
from cps_auth.wording import translations


@click.group()
def browser() -> None:
    """Register this computer's card with Chromium, Chrome and Firefox."""


def _common(command: click.decorators.FC) -> click.decorators.FC:
    folder = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One line of JSON."),
        click.option("--root", type=folder, default="/", help="A folder in place of /."),
        click.option("--system", is_flag=True, help="For everybody on this computer (as root)."),
    ):
        command = option(command)
    return command


def _place(root: Path, system: bool) -> Place:
    return Place.of_system(root) if system else Place.of_user(_home(), root)


def _home() -> Path:
    """Return this user's folder.

    Raises:
        ConfigurationError: neither HOME nor the passwd file names one.
    """
    try:
        home = Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigurationError("HOME is not set") from None
    if not home.is_absolute():
        raise ConfigurationError(f"HOME is {home}, which is no absolute path")
    return home


@browser.command()
@_common
@click.option(
    "--browser",
    "browsers",
    type=click.Choice(BROWSERS),
    multiple=True,
    help="Only this one; may be given again.",
)
@click.option("--extension-id", "also_allowed", multiple=True, help="Allow one more extension.")
@click.option("--replace", is_flag=True, help="Take the place of an installed Web eID application.")
def install(
    as_json: bool,
    root: Path,
    system: bool,
    browsers: tuple[str, ...],
    also_allowed: tuple[str, ...],
    replace: bool,
) -> None:
    """Let the extension of Web eID, and ours, reach the card."""
    with surface(as_json):
        chosen = cast(tuple[Browser, ...], browsers or BROWSERS)
        allowed = dict.fromkeys((*read_settings().browser.extensions, *also_allowed))
        rows = manifests.install(
            _place(root, system), browsers=chosen, also_allowed=tuple(allowed), replace=replace
        )
        _print(rows, as_json)


@browser.command()
@_common
def uninstall(as_json: bool, root: Path, system: bool) -> None:
    """Remove what `install` wrote; another program's registration stays."""
    with surface(as_json):
        place = _place(root, system)
        manifests.uninstall(place)
        _print(manifests.look(place), as_json)


@browser.command()
@_common
def status(as_json: bool, root: Path, system: bool) -> None:
    """Show which browsers reach the card."""
    with surface(as_json):
        _print(manifests.look(_place(root, system)), as_json)


def _print(rows: Sequence[Registration], as_json: bool) -> None:
    has_window = can_open_where_there_is_a_display()
    if as_json:
        click.echo(to_json({"ok": True, "registrations": rows, "pin_window": has_window}))
        return
    tr = translations(language_of_environment())
    words = {
        "ours": tr.gettext("registered"),
        "other": tr.gettext("another program is registered"),
        "broken": tr.gettext("registered, and its program is gone: install again"),
        "absent": tr.gettext("not registered"),
    }
    for row in rows:
        click.echo(f"{row.browser:9} {row.name:17} {words[row.state]}  {row.path}")
    if not has_window:
        click.echo(tr.gettext("The PIN window cannot open: install python3-tk."), err=True)
