"""`cps-auth readers` and `cps-auth watch`: what is in the readers, now and from now on."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from cps_auth.card.native.models import kind_of
from cps_auth.cli.errors import now, surface
from cps_auth.cli.options import Options, card_options
from cps_auth.cli.report import event_line, reader_line
from cps_auth.errors import NoReader
from cps_auth.exit_codes import INTERRUPTED
from cps_auth.main_thread import MainThreadQueue
from cps_auth.model import CardEvent, CardEventKind


@click.command()
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


@click.command()
@card_options
def watch(options: Options) -> None:
    """Print every card and reader event until interrupted."""
    with surface(options.json):
        try:
            _print_events(options)
        except KeyboardInterrupt:  # its normal end: what was printed so far is whole
            sys.exit(INTERRUPTED)


def _print_events(options: Options) -> None:
    with MainThreadQueue[CardEvent]() as events, ExitStack() as at_end:
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
