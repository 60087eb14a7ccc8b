"""`python -m hardware_mocks`: a virtual card in the real pcscd, a fake IGC-Santé, the personas."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from hardware_mocks.card.content.quirks import NO_QUIRKS, QUIRK_NAMES, Quirks, parse_quirks
from hardware_mocks.card.virtual_card import CARD_KINDS, Insertable, VirtualCard, find_kind
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.issuing import issue_card
from hardware_mocks.personas import PERSONAS, Persona, find_persona
from hardware_mocks.pro_sante_connect.installed import StandInUnavailable, install
from hardware_mocks.pro_sante_connect.stand_in import stand_in
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.fault_text import parse_fault
from hardware_mocks.transcripts.cards import RecordingCard
from hardware_mocks.vpcd.listing import listing
from hardware_mocks.vpcd.memory import KeptCard
from hardware_mocks.vpcd.reader import DEFAULT_ADDRESS, VpcdUnreachable
from hardware_mocks.vpcd.serving import ServiceGone, serve

EXIT_OK = 0
EXIT_VPCD_GONE = 1
EXIT_USAGE = 2  # as argparse does
EXIT_INTERRUPTED = 130  # as shells say; before there is a card to pull
EXIT_UNREAD = 141  # as shells say of a pipe that nobody reads any more


class _Refused(Exception):
    """The one line that goes to stderr."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except _Refused as refused:
        print(f"hardware_mocks: {refused}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:  # what else could fail has become _Refused
        return _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    """Standard output is full or gone; Python would try again, and complain, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return EXIT_UNREAD
    print(f"hardware_mocks: cannot write: {error.strerror}", file=sys.stderr)
    return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hardware_mocks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    put = commands.add_parser("serve", help="put a virtual card into the real pcscd")
    _add_card(put)
    host, port = DEFAULT_ADDRESS
    put.add_argument(
        "--vpcd", default=f"{host}:{port}", metavar="HOST:PORT", help="default: %(default)s"
    )
    put.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="such as pull:during@0088 or answer=6982@002A9E9A+; see readers/fault_text.py",
    )
    put.add_argument(
        "--quirk",
        action="append",
        default=[],
        metavar="QUIRK",
        help=f"in what the card differs: {', '.join(QUIRK_NAMES)}",
    )
    put.add_argument(
        "--transcript", type=Path, metavar="FILE", help="write what was said, at the end"
    )
    put.add_argument(
        "--memory",
        type=Path,
        metavar="FILE",
        help="PINs, counters and CPS_DATA outlive this process in it; default: a new card",
    )
    put.set_defaults(run=_serve)
    files = commands.add_parser("files", help="list the files of a card")
    _add_card(files)
    files.set_defaults(run=_files)
    pki = commands.add_parser("pki", help="write a fake IGC-Santé")
    pki.add_argument("dir", type=Path, metavar="DIR")
    pki.set_defaults(run=_pki)
    psc = commands.add_parser("psc", help="run a stand-in Pro Santé Connect (needs node 18)")
    psc.add_argument("origin", nargs="*", metavar="ORIGIN", help="default: http://127.0.0.1:5000")
    psc.add_argument("--port", type=int, default=0, help="default: any")
    psc.add_argument("--install", action="store_true", help="install what it needs, then stop")
    psc.set_defaults(run=_psc)
    commands.add_parser("personas", help="list the invented holders").set_defaults(run=_personas)
    return parser


def _add_card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--card", default="cps3", help=f"{', '.join(CARD_KINDS)} (default: cps3)")
    parser.add_argument("--persona", default=next(iter(PERSONAS)), help="default: %(default)s")
    parser.add_argument("--pki", required=True, type=Path, metavar="DIR", help="made by `pki DIR`")


def _files(parsed: argparse.Namespace) -> int:
    for line in listing(_make_card(parsed.card, parsed.persona, parsed.pki).contents):
        print(line)
    return EXIT_OK


def _serve(parsed: argparse.Namespace) -> int:
    try:
        quirks = parse_quirks(parsed.quirk)
    except ValueError as error:
        raise _Refused(str(error)) from error
    card = _make_card(parsed.card, parsed.persona, parsed.pki, quirks)
    recorder = RecordingCard(_with_memory(card, parsed.memory), card.kind)
    try:
        plan = FaultPlan(*(parse_fault(text) for text in parsed.fault))
    except ValueError as error:
        raise _Refused(str(error)) from error
    try:
        serve(card, _address(parsed.vpcd), plan, recorder)
    except VpcdUnreachable as error:
        raise _Refused(str(error)) from error
    except ServiceGone:
        print("hardware_mocks: vpcd closed the connection", file=sys.stderr)
        return EXIT_VPCD_GONE
    finally:
        _tell_faults(plan, parsed.fault)
        _write_transcript(recorder, parsed.transcript)
    return EXIT_OK


def _tell_faults(plan: FaultPlan, texts: list[str]) -> None:
    """Print the faults that happened, in the words of the command line, and at which commands."""
    words = {id(fault): text for fault, text in zip(plan.faults, texts, strict=True)}
    for event in plan.events:
        where = f"{event.header_hex} (#{event.number})"
        print(f"fault {words[id(event.fault)]} happened at {where}", flush=True)


def _with_memory(card: VirtualCard, path: Path | None) -> Insertable:
    if path is None:
        return card
    try:
        return KeptCard(card, path)
    except OSError as error:
        raise _Refused(f"cannot keep a memory in {path}: {error.strerror}") from error
    except ValueError as error:
        raise _Refused(f"{path} is not the memory of this card: {error}") from error


def _write_transcript(recorder: RecordingCard, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.write_text(recorder.transcript.text(), encoding="utf-8")
    except OSError as error:
        raise _Refused(f"cannot write {path}: {error.strerror}") from error


def _make_card(kind: str, persona: str, pki: Path, quirks: Quirks = NO_QUIRKS) -> VirtualCard:
    try:
        find_persona(persona)
        find_kind(kind)
    except KeyError as error:
        raise _Refused(error.args[0]) from error
    try:
        return issue_card(FakeIgcSante.load(pki), persona, kind, quirks)
    except (OSError, ValueError, KeyError) as error:
        raise _Refused(f"no fake IGC-Santé in {pki}; write one with `pki {pki}`") from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _Refused(f"not HOST:PORT: {text!r}")
    return host, int(port)


def _pki(parsed: argparse.Namespace) -> int:
    try:
        FakeIgcSante.create().write(parsed.dir)
    except OSError as error:
        raise _Refused(f"cannot write to {parsed.dir}: {error.strerror}") from error
    print(f"fake IGC-Santé written to {parsed.dir}")
    return EXIT_OK


def _psc(parsed: argparse.Namespace) -> int:
    try:
        if parsed.install:
            install()
            return EXIT_OK
        with stand_in(*(parsed.origin or ["http://127.0.0.1:5000"]), port=parsed.port) as running:
            for key, value in running.settings().items():
                print(f'{key} = "{value}"', flush=True)
            signal.pause()
    except StandInUnavailable as error:
        raise _Refused(str(error)) from error
    return EXIT_OK


def _personas(_parsed: argparse.Namespace) -> int:
    for persona in PERSONAS.values():
        print(_line(persona))
    return EXIT_OK


def _line(persona: Persona) -> str:
    holder = " ".join(name for name in (persona.given_name, persona.surname) if name)
    defect = "" if persona.defect.value == "none" else f"certificate: {persona.defect.value}"
    tries = persona.pin_attempts_left
    attempts = "" if tries == 3 else f"PIN attempts left: {tries}"
    notes = ", ".join(note for note in (defect, attempts) if note)
    name = holder or persona.organisation or ""
    return f"{persona.name:<16}{persona.ps_idnat:<20}{name:<32}{notes}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
