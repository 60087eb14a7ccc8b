"""The `cps-auth` command. Exit code 0 only for yes; every other code is in `exit_codes`."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from cps_auth.browser_cli import browser as browser_commands
from cps_auth.card.atr import kind_of
from cps_auth.card.open import open_cards
from cps_auth.card.port import Card, CardSource
from cps_auth.config import read_settings
from cps_auth.errors import NoReader
from cps_auth.login.verify import admit, prove, show_holder
from cps_auth.model import CardEvent, CardEventKind, Practitioner
from cps_auth.pin_entry import pin_from_pipe, pin_from_terminal
from cps_auth.pki.judge import Judge, folder_judge, production_judge
from cps_auth.report import card_lines, holder_lines, reader_line
from cps_auth.surface import language_of_environment, now, surface, to_json
from cps_auth.trust_cli import trust as trust_commands
from cps_auth.wording import pin_prompt

ORIGIN = "cps-auth:command-line"
"""What the card signs for when it is asked from here; no website can have this origin."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every command takes."""

    json: bool
    reader: str | None
    module: Path | None
    trust: Path | None
    language: str

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
        return folder_judge(self.trust) if self.trust else production_judge()

    def print(self, value: object, lines: list[str]) -> None:
        """Print a result, as one line of JSON or for a person."""
        click.echo(to_json(value) if self.json else "\n".join(lines))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cps-auth")
@click.option("--debug", is_flag=True, help="Log in detail on standard error; never a PIN.")
def cli(debug: bool) -> None:
    """Read a CPS card, and log its holder in."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.CRITICAL, stream=sys.stderr)


def _common(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options that every command takes."""
    folder = click.Path(exists=False, file_okay=False, path_type=Path)
    module = click.Path(exists=False, dir_okay=False, path_type=Path)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One line of JSON a result."),
        click.option("--reader", metavar="NAME", help="The reader, where there are several."),
        click.option("--module", type=module, help="A PKCS#11 module, in place of our driver."),
        click.option("--trust", type=folder, help="A trust folder, in place of production."),
    ):
        command = option(command)
    return command


def _options(as_json: bool, reader: str | None, module: Path | None, trust: Path | None) -> Options:
    settings = read_settings()
    return Options(
        json=as_json,
        reader=reader or settings.card.reader,
        module=module or (Path(settings.card.module) if settings.card.module else None),
        trust=trust or (Path(settings.trust.folder) if settings.trust.folder else None),
        language=language_of_environment(),
    )


@cli.command()
@_common
def readers(as_json: bool, reader: str | None, module: Path | None, trust: Path | None) -> None:
    """List the readers and what is in them."""
    with surface(as_json):
        options = _options(as_json, reader, module, trust)
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
@_common
def show(as_json: bool, reader: str | None, module: Path | None, trust: Path | None) -> None:
    """Show whose card it is and whether it would be accepted. Spends no PIN attempt."""
    with surface(as_json):
        options = _options(as_json, reader, module, trust)
        judge = options.judge()
        with options.cards().open_card(options.reader) as card:
            attempts_left = card.pin_attempts_left()
            judged = show_holder(card, judge=judge, at=now())
            value = {
                "ok": True,
                "card": card.description,
                "attempts_left": attempts_left,
                "holder": judged.certificate.practitioner,
                "certificate_sha256": judged.certificate.sha256_hex,
                "not_after": judged.certificate.x509.not_valid_after_utc,
                "trust": judged.trust,
                "revocation": judged.revocation,
            }
            lines = card_lines(card.description, attempts_left, options.language)
            lines += holder_lines(judged, options.language)
        options.print(value, lines)


@cli.command()
@_common
@click.option("--pin-stdin", is_flag=True, help="Read the PIN from standard input.")
@click.option("--use-last-attempt", is_flag=True, help="Send the PIN even on the last attempt.")
def login(
    as_json: bool,
    reader: str | None,
    module: Path | None,
    trust: Path | None,
    pin_stdin: bool,
    use_last_attempt: bool,
) -> None:
    """Log the holder in: card, certificate, PIN and a fresh signature."""
    with surface(as_json):
        options = _options(as_json, reader, module, trust)
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


def _ask_pin(
    card: Card, from_pipe: bool, language: str
) -> contextlib.AbstractContextManager[bytearray]:
    if from_pipe:
        return pin_from_pipe()
    return pin_from_terminal(pin_prompt(card.pin_attempts_left(), language))


def _anybody(practitioner: Practitioner) -> None:
    """Step 6 on the command line: whoever the card proves, there is no account to open."""


@cli.command()
@_common
def watch(as_json: bool, reader: str | None, module: Path | None, trust: Path | None) -> None:
    """Tell every card and reader event until interrupted."""
    with surface(as_json):
        options = _options(as_json, reader, module, trust)
        events: queue.SimpleQueue[CardEvent] = queue.SimpleQueue()
        watching = options.cards().watch(events.put)
        try:
            while (event := events.get()).kind is not CardEventKind.WATCHER_STOPPED:
                if event.reader in ("", options.reader) or options.reader is None:
                    _print_event(options, event)
        finally:
            watching.stop()


def _print_event(options: Options, event: CardEvent) -> None:
    value = {
        "event": event.kind.value,
        "reader": event.reader,
        "atr": None if event.atr is None else event.atr.hex().upper(),
        "generation": event.generation,
        "at": now(),
    }
    options.print(value, [f"{event.kind.value}  {event.reader}".rstrip()])
    sys.stdout.flush()


cli.add_command(trust_commands)
cli.add_command(browser_commands)


def main() -> None:
    """Run the command."""
    cli.main(prog_name="cps-auth")
