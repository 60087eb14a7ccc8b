"""`cps-auth pin status|change|unblock`: the codes of a card's holder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from cps_auth.card.port import Card
from cps_auth.cli.errors import surface
from cps_auth.cli.options import Options, card_options
from cps_auth.cli.report import pin_lines
from cps_auth.errors import ContactlessNotEnough, NewPinsDiffer
from cps_auth.pin_entry import pin_from_pipe, pin_from_terminal
from cps_auth.wording import translations

_from_stdin = click.option(
    "--pin-stdin", is_flag=True, help="Read the codes from standard input, one a line."
)
_last_attempt = click.option(
    "--use-last-attempt", is_flag=True, help="Send the code even on the last attempt."
)


@click.group()
def pin() -> None:
    """Show, change or unblock the PIN (code porteur)."""


@pin.command()
@card_options
def status(options: Options) -> None:
    """Show how many attempts PIN and PUK have left. Spends none."""
    with surface(options.json), _card(options) as card:
        left, puk_left = card.pin_attempts_left(), card.puk_attempts_left()
        value = {
            "ok": True,
            "card": card.description,
            "attempts_left": left,
            "puk_attempts_left": puk_left,
            "pin_pad": card.has_pin_pad,
        }
        options.print(value, pin_lines(left, puk_left, options.language))


@pin.command()
@card_options
@_from_stdin
@_last_attempt
def change(options: Options, pin_stdin: bool, use_last_attempt: bool) -> None:
    """Replace the PIN: asks for the old one, then twice for the new one.

    From standard input: the old PIN, then the new one.
    """
    tr = translations(options.language)
    with surface(options.json), _card(options) as card:
        with (
            _typed(pin_stdin, tr.gettext("Current PIN: ")) as old,
            _new_pin(options, pin_stdin) as new,
        ):
            card.change_pin(old, new, last_attempt_allowed=use_last_attempt)
        _done(options, card)


@pin.command()
@card_options
@_from_stdin
@_last_attempt
def unblock(options: Options, pin_stdin: bool, use_last_attempt: bool) -> None:
    """Unblock the PIN with the eight-digit PUK (code de déblocage), and choose a new one.

    From standard input: the PUK, then the new PIN.
    """
    tr = translations(options.language)
    with surface(options.json), _card(options) as card:
        prompt = tr.gettext("Unblocking code (8 digits): ")
        with _typed(pin_stdin, prompt) as puk, _new_pin(options, pin_stdin) as new:
            card.unblock(puk, new, last_attempt_allowed=use_last_attempt)
        _done(options, card)


@contextlib.contextmanager
def _card(options: Options) -> Iterator[Card]:
    """Open the card; one that is read without contact has no PIN, so none is asked for.

    Raises:
        ContactlessNotEnough, and what `CardSource.open_card` raises.
    """
    with options.cards().open_card(options.reader) as card:
        if card.description.kind.is_contactless:
            raise ContactlessNotEnough
        yield card


def _typed(from_pipe: bool, prompt: str) -> contextlib.AbstractContextManager[bytearray]:
    return pin_from_pipe() if from_pipe else pin_from_terminal(prompt)


@contextlib.contextmanager
def _new_pin(options: Options, from_pipe: bool) -> Iterator[bytearray]:
    """Ask for the new PIN, twice where a person may mistype it unseen.

    Raises:
        NewPinsDiffer
        PinEntryCancelled: nothing came.
    """
    tr = translations(options.language)
    with _typed(from_pipe, tr.gettext("New PIN (4 digits): ")) as new:
        if not from_pipe:
            with _typed(from_pipe, tr.gettext("New PIN again: ")) as again:
                if new != again:
                    raise NewPinsDiffer
        yield new


def _done(options: Options, card: Card) -> None:
    tr = translations(options.language)
    options.print({"ok": True, "card": card.description}, [tr.gettext("The PIN was changed.")])
