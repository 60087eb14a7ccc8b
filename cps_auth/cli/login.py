"""`cps-auth show` and `cps-auth login`: whose card it is, and the proof of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cps_auth.card.port import Card
from cps_auth.cli.errors import now, surface
from cps_auth.cli.options import Options, card_options
from cps_auth.cli.report import card_lines, holder_lines, object_line
from cps_auth.login.verify import admit, prove, show_holder
from cps_auth.model import Practitioner
from cps_auth.pin_entry import pin_from_pipe, pin_from_terminal
from cps_auth.wording import pin_prompt, translations

ORIGIN = "cps-auth:command-line"
"""What the card signs for when it is asked from here; no website can have this origin."""


@click.command()
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


@click.command()
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
