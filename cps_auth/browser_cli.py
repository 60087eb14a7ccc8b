"""`cps-auth browser install|uninstall|status`: makes the browsers find the card program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from cps_auth.native_host.manifests import (
    BROWSERS,
    Registration,
    install,
    program_path,
    registrations,
    uninstall,
)
from cps_auth.surface import surface, to_json


@click.group()
def browser() -> None:
    """Let web pages ask this computer's card for a login."""


def _common(command: Callable[..., None]) -> Callable[..., None]:
    names = click.Choice(tuple(BROWSERS))
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One line of JSON."),
        click.option("--system", is_flag=True, help="For every user of this computer (root)."),
        click.option("--browser", "names", type=names, multiple=True, help="Only this one."),
    ):
        command = option(command)
    return command


@browser.command("install")
@_common
@click.option("--no-web-eid", is_flag=True, help="Only for the extension of cps-auth.")
@click.option("--replace", is_flag=True, help="Take the place of another Web eID program.")
def install_command(
    as_json: bool, system: bool, names: tuple[str, ...], no_web_eid: bool, replace: bool
) -> None:
    """Register the card program with Chromium, Chrome and Firefox."""
    with surface(as_json):
        _print(
            install(
                system=system,
                home=Path.home(),
                program=program_path(),
                browsers=names or tuple(BROWSERS),
                web_eid=not no_web_eid,
                replace=replace,
            ),
            as_json,
        )


@browser.command("uninstall")
@_common
def uninstall_command(as_json: bool, system: bool, names: tuple[str, ...]) -> None:
    """Undo `install`."""
    with surface(as_json):
        chosen = names or tuple(BROWSERS)
        done = uninstall(system=system, home=Path.home(), program=program_path(), browsers=chosen)
        _print(done, as_json)


@browser.command("status")
@_common
def status_command(as_json: bool, system: bool, names: tuple[str, ...]) -> None:
    """Show what is registered."""
    with surface(as_json):
        chosen = names or tuple(BROWSERS)
        found = registrations(
            system=system, home=Path.home(), program=program_path(), browsers=chosen
        )
        _print(found, as_json)


def _print(found: tuple[Registration, ...], as_json: bool) -> None:
    if as_json:
        rows = [
            {"browser": r.browser, "name": r.name, "file": str(r.file), "state": r.state.value}
            for r in found
        ]
        click.echo(to_json({"ok": True, "registrations": rows}))
        return
    for each in found:
        click.echo(f"{each.browser:9} {each.name:12} {each.state.value:16} {each.file}")
