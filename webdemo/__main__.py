"""`python -m webdemo`: serve the practice application, with real readers or a virtual one."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cps_auth.audit.handler import LOGGER_NAME
from cps_auth.card.open import open_cards
from cps_auth.errors import CpsAuthError
from cps_auth.main_thread import MainThreadQueue
from cps_auth.pki.judge import Judge, folder_judge, production_judge
from cps_auth.wording import explain
from webdemo.application import create_app, stop_app
from webdemo.serve import DEFAULT_PORT, bind_loopback, origin_of, serving

if TYPE_CHECKING:  # the mocks need not be installed where real cards are used
    from hardware_mocks.pro_sante_connect.stand_in import StandIn
    from webdemo.desk import VirtualDesk

LANGUAGE = "fr"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 0 after a clean stop (with `--once`: only if every step held)."""
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.once:
            return _play(parsed.pki)
        return _serve(parsed)
    except CpsAuthError as error:
        print(f"webdemo: {explain(error, LANGUAGE).text}", file=sys.stderr)
    except OSError as error:
        print(f"webdemo: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m webdemo", description=__doc__)
    parser.add_argument("--mock-reader", action="store_true", help="a virtual reader and cards")
    parser.add_argument(
        "--psc-stand-in", action="store_true", help="a stand-in Pro Santé Connect (needs node 18)"
    )
    parser.add_argument("--once", action="store_true", help="play the whole story, then stop")
    parser.add_argument("--port", type=int, help=f"default {DEFAULT_PORT} or the next; 0: any")
    parser.add_argument("--trust", type=Path, metavar="DIR", help="trust this folder instead")
    parser.add_argument("--pki", type=Path, metavar="DIR", help="where the fake PKI is kept")
    return parser


def _play(pki: Path | None) -> int:
    from webdemo.fake_pki import default_folder, fake_pki
    from webdemo.story import play

    logging.getLogger(LOGGER_NAME).addHandler(logging.NullHandler())  # the story is told once
    folder = pki or default_folder()
    return 0 if play(fake_pki(folder), folder_judge(folder)) else 1


def _serve(parsed: argparse.Namespace) -> int:
    desk = None
    if parsed.mock_reader:
        desk, judge = _virtual_desk(parsed.pki, parsed.trust)
    else:
        judge = folder_judge(parsed.trust) if parsed.trust else production_judge()
    port = DEFAULT_PORT if parsed.port is None else parsed.port
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with MainThreadQueue[int]() as asked_to_stop, ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: asked_to_stop.put(number))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="webdemo-"))
        listener = bind_loopback(port, or_next_free=parsed.port is None)
        origin = origin_of(listener)
        config: dict[str, object] = {
            "CPS_ORIGIN": origin,
            "CPS_DATABASE": Path(folder) / "sessions.sqlite3",
        }
        if parsed.psc_stand_in:
            config |= stack.enter_context(_stand_in(origin)).settings()
        cards = open_cards() if desk is None else desk.cards
        app = create_app(config, cards=cards, judge=judge, mock_panel=desk)
        stack.enter_context(serving(listener, app, stop_app))
        print(f"{app.config['CPS_TITLE']}: {origin}/   (Ctrl-C pour arrêter)", flush=True)
        while asked_to_stop.get() is None:
            pass
    return 0


def _stand_in(origin: str) -> AbstractContextManager[StandIn]:
    from hardware_mocks.pro_sante_connect.stand_in import stand_in

    return stand_in(origin)


def _virtual_desk(pki: Path | None, trust: Path | None) -> tuple[VirtualDesk, Judge]:
    from webdemo.desk import VirtualDesk
    from webdemo.fake_pki import default_folder, fake_pki

    folder = pki or default_folder()
    if not folder.exists():
        print("Création d'une IGC-Santé fictive (une seule fois)…", flush=True)
    igc = fake_pki(folder)
    return VirtualDesk(igc), folder_judge(trust or folder)


if __name__ == "__main__":
    sys.exit(main())
