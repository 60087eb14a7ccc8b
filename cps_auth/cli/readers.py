"""`cps-auth readers` and `cps-auth watch`: what is in the readers, now and from now on."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack

import click

from cps_auth.card.native.models import kind_of
from cps_auth.card.port import CardSource
from cps_auth.card.reader_name import name_today, readers_wanted
from cps_auth.cli.errors import now, surface
from cps_auth.cli.options import Options, card_options
from cps_auth.cli.report import event_line, reader_line
from cps_auth.errors import ReaderServiceUnavailable
from cps_auth.exit_codes import INTERRUPTED
from cps_auth.main_thread import MainThreadQueue
from cps_auth.model import CardEvent, CardEventKind, Snapshot


@click.command()
@card_options
def readers(options: Options) -> None:
    """List the readers and what is in them."""
    with surface(options.json):
        states = readers_wanted(options.cards().readers(), options.reader)
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


@click.command()
@card_options
def watch(options: Options) -> None:
    """Print every card and reader event until interrupted."""
    gc.enable()  # this one stays
    with surface(options.json):
        try:
            _print_events(options)
        except KeyboardInterrupt:  # its normal end: what was printed so far is whole
            sys.exit(INTERRUPTED)


def _print_events(options: Options) -> None:
    cards = options.cards()
    name = options.reader
    with MainThreadQueue[CardEvent]() as events, ExitStack() as at_end:
        at_end.callback(cards.watch(events.put).stop)
        while True:
            event = events.get()
            before, name = name, _name_now(cards, options.reader, name)
            if event and (options.reader is None or event.reader in ("", before, name)):
                _print_event(options, event)
            if event and event.kind is CardEventKind.WATCHER_STOPPED:
                raise RuntimeError(event.reason)  # nobody watches, and nobody asked for that


def _name_now(cards: CardSource, wanted: str | None, before: str | None) -> str | None:
    """Return the name that the wanted reader has now, or had before where nobody can tell."""
    if wanted is None:
        return None
    try:
        return name_today(Snapshot(cards.readers()), wanted)
    except ReaderServiceUnavailable:
        return before


def _print_event(options: Options, event: CardEvent) -> None:
    value = {
        "event": event.kind.value,
        "reader": event.reader,
        "atr": None if event.atr is None else event.atr.hex().upper(),
        "generation": event.generation,
        "at": now(),
    }
    options.print(value, [event_line(event, options.language)])
