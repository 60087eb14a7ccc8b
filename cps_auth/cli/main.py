"""The `cps-auth` command. Exit code 0 only for yes; every other code is in `exit_codes`.

Each command is imported when it is asked for: reading certificates takes ten times as long to
import as listing readers does.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from cps_auth.cli.errors import interrupted, language_of_environment, misused, surface
from cps_auth.cli.streams import secure_standard_streams
from cps_auth.cli.usage import speak

COMMANDS: Mapping[str, tuple[str, str]] = {
    # name: the module of cps_auth.cli that has it, and the first line of its help
    "audit": ("audit", "Show, verify and export the audit journal."),
    "browser": ("browser", "Register this computer's card with Chromium, Chrome and Firefox."),
    "doctor": ("doctor.command", "Look at every link from the USB device to the login."),
    "login": ("login", "Log the holder in: card, certificate, PIN and a fresh signature."),
    "pc": ("pc.setup", "Set this computer up so that the CPS card opens and locks its sessions."),
    "pin": ("pin", "Show, change or unblock the PIN (code porteur)."),
    "posture": ("pc.posture", "Look at the six security measures asked of a practice, on this PC."),
    "readers": ("readers", "List the readers and what is in them."),
    "show": ("login", "Show whose card it is and whether it would be accepted."),
    "trust": ("trust", "Show and renew the trusted authorities and their revocation lists."),
    "watch": ("readers", "Print every card and reader event until interrupted."),
}


class _Commands(click.Group):
    """The commands of the table, each imported when it is asked for; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return sorted(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"cps_auth.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cps-auth")
@click.option("--debug", is_flag=True, help="Log in detail on standard error; never a PIN.")
def cli(debug: bool) -> None:
    """Read a CPS card, and log its holder in."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.CRITICAL, stream=sys.stderr)


def main() -> None:
    """Run the command.

    It ends before there are cycles worth collecting: to look for them while it starts and once
    more as it ends would take a quarter of its time.
    """
    gc.disable()
    try:
        secure_standard_streams()
        speak(language_of_environment())
        _run("--json" in sys.argv)
    finally:
        gc.freeze()


def _run(as_json: bool) -> None:
    with surface(as_json):
        try:
            sys.exit(cli.main(prog_name="cps-auth", standalone_mode=False))
        except click.ClickException as error:
            misused(error, as_json)
        except click.Abort:
            interrupted(as_json)
