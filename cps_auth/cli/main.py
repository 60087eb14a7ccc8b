"""The `cps-auth` command. Exit code 0 only for yes; every other code is in `exit_codes`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import click

from cps_auth.card.native.models import kind_of
from cps_auth.card.port import Card
from cps_auth.cli.browser import browser as browser_commands
from cps_auth.cli.doctor import doctor as doctor_command
from cps_auth.cli.errors import misused, now, surface
from cps_auth.cli.options import Options, card_options
from cps_auth.cli.pin import pin as pin_commands
from cps_auth.cli.report import card_lines, event_line, holder_lines, object_line, reader_line
from cps_auth.cli.trust import trust as trust_commands
from cps_auth.errors import NoReader
from cps_auth.exit_codes import INTERRUPTED
from cps_auth.login.verify import admit, prove, show_holder
from cps_auth.main_thread import MainThreadQueue
from cps_auth.model import CardEvent, CardEventKind, Practitioner
from cps_auth.pin_entry import pin_from_pipe, pin_from_terminal
from cps_auth.wording import pin_prompt, translations

ORIGIN = "cps-auth:command-line"
"""What the card signs for when it is asked from here; no website can have this origin."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cps-auth")
@click.option("--debug", is_flag=True, help="Log in detail on standard error; never a PIN.")
def cli(debug: bool) -> None:
    """Read a CPS card, and log its holder in."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.CRITICAL, stream=sys.stderr)


@cli.command()
@card_options
def readers(options: Options) -> None:
    """List the readers and what is in them."""
    with surface(options.json):
        states = [s for s in options.cards().readers() if options.reader in (None, s.name)]
        if not states:
            raise NoReader(options.reader)
        rows = [
            {
                "reader": state.name,
                "card": None if state.atr is None else kind_of(state.atr).value,
                "atr": None if state.atr is None else state.atr.hex().upper(),
            }
            for state in states
        ]
        lines = [reader_line(state, options.language) for state in states]
        options.print({"ok": True, "readers": rows}, lines)


@cli.command()
@card_options
@click.option("--objects", is_flag=True, help="Also the free data objects; they prove nothing.")
def show(options: Options, objects: bool) -> None:
    """Show whose card it is and whether it would be accepted. Spends no PIN attempt."""
    with surface(options.json):
        judge = options.judge()
        with options.cards().open_card(options.reader) as card:
            label, attempts_left = card.read_label(), card.pin_attempts_left()
            judged = show_holder(card, judge=judge, at=now())
            value = {
                "ok": True,
                "card": card.description,
                "label": label,
                "attempts_left": attempts_left,
                "holder": judged.certificate.practitioner,
                "certificate_sha256": judged.certificate.sha256_hex,
                "not_after": judged.certificate.not_after,
                "trust": judged.trust,
                "revocation": judged.revocation,
            }
            lines = card_lines(card.description, label, attempts_left, options.language)
            lines += holder_lines(judged, options.language)
            if objects:
                free = card.read_public_objects()
                value["objects"] = [
                    {"label": one.label, "unverified_hex": one.unverified_content.hex()}
                    for one in free
                ]
                lines += [object_line(one, options.language) for one in free]
        options.print(value, lines)


@cli.command()
@card_options
@click.option("--pin-stdin", is_flag=True, help="Read the PIN from standard input.")
@click.option("--use-last-attempt", is_flag=True, help="Send the PIN even on the last attempt.")
def login(
    options: Options,
    pin_stdin: bool,
    use_last_attempt: bool,
) -> None:
    """Log the holder in: card, certificate, PIN and a fresh signature."""
    with surface(options.json):
        judge = options.judge()
        with options.cards().open_card(options.reader) as card:
            admission = admit(card, judge=judge, allow=_anybody, at=now())
            with _ask_pin(card, pin_stdin, options.language) as pin:
                holder = prove(
                    card,
                    pin,
                    admission,
                    origin=ORIGIN,
                    clock=now,
                    last_attempt_allowed=use_last_attempt,
                )
        options.print(
            {"ok": True, "holder": holder.practitioner, "login": holder},
            [holder.practitioner.display_name, holder.practitioner.ps_idnat],
        )


@contextmanager
def _ask_pin(card: Card, from_pipe: bool, language: str) -> Iterator[bytearray | None]:
    """Give the PIN, None when it is typed on the reader, which is preferred."""
    if from_pipe:
        with pin_from_pipe() as pin:
            yield pin
    elif card.has_pin_pad:
        prompt = pin_prompt(card.pin_attempts_left(), language).rstrip(" :")
        on_pad = translations(language).gettext("type it on the reader's keypad")
        click.echo(f"{prompt}: {on_pad}", err=True)
        yield None
    else:
        with pin_from_terminal(pin_prompt(card.pin_attempts_left(), language)) as pin:
            yield pin


def _anybody(practitioner: Practitioner) -> None:
    """Step 6 on the command line: whoever the card proves, there is no account to open."""


@cli.command()
@card_options
def watch(options: Options) -> None:
    """Tell every card and reader event until interrupted."""
    with surface(options.json), MainThreadQueue[CardEvent]() as events, ExitStack() as at_end:
        at_end.callback(options.cards().watch(events.put).stop)
        while True:
            event = events.get()
            if event and (event.reader in ("", options.reader) or options.reader is None):
                _print_event(options, event)
            if event and event.kind is CardEventKind.WATCHER_STOPPED:
                raise RuntimeError(event.reason)  # nobody watches, and nobody asked for that


def _print_event(options: Options, event: CardEvent) -> None:
    value = {
        "event": event.kind.value,
        "reader": event.reader,
        "atr": None if event.atr is None else event.atr.hex().upper(),
        "generation": event.generation,
        "at": now(),
    }
    options.print(value, [event_line(event, options.language)])
    sys.stdout.flush()


cli.add_command(doctor_command)
cli.add_command(pin_commands)
cli.add_command(trust_commands)
cli.add_command(browser_commands)


def main() -> None:
    """Run the command."""
    try:
        sys.exit(cli.main(prog_name="cps-auth", standalone_mode=False))
    except click.ClickException as error:
        misused(error, "--json" in sys.argv)
    except click.Abort:
        sys.exit(INTERRUPTED)
