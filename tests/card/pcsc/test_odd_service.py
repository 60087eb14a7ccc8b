"""Readers and refusals as they are out there: one never takes another away, nothing spins.

PC/SC is a library of one's own in processes of their own, since no pcscd can be made to say this.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cps_auth.errors import (
    CardBusy,
    CardMisbehaved,
    CardRemoved,
    CpsAuthError,
    NoCard,
    NoReader,
    ReaderServiceLost,
    ReaderServiceRefused,
    UnsupportedCard,
)
from cps_auth.exit_codes import EXIT_CODES

DEADLINE_S = 30.0
GOOD = [b"Reader %02d 00 00" % number for number in range(16)]
WITH_CARD = b"The card's reader 00 00"
NOT_UTF8 = b"Lecteur n\xb0 1 00 00"
UTF8 = "Lecteur n° 2 00 00".encode()
LONGEST = b"x" * 127  # MAX_READERNAME, with its zero byte
TOO_LONG = b"y" * 200
ODD_READERS = {
    # its name, the letter of its state, whether it can be used
    "latin-1": (NOT_UTF8, "e", True),
    "utf-8": (UTF8, "e", True),
    "no-encoding": (b"\xff\xfe\x80" * 30, "e", True),
    "longest": (LONGEST, "e", True),
    "too-long": (TOO_LONG, "e", False),
    "mute": (b"Mute 00 00", "m", True),
    "broken-driver": (b"Broken 00 00", "b", False),
    "listed-and-unknown": (b"Unknown 00 00", "u", False),
}


def written(name: bytes) -> str:
    """Return a name as it is shown."""
    return name.decode(errors="backslashreplace")


def run(odd: Any, *words: str | bytes) -> Any:
    """Run a command to its end, which has no traceback, and return it."""
    done = subprocess.run(
        [sys.executable, "-m", "cps_auth", *words],
        capture_output=True,
        env=odd.env,
        timeout=DEADLINE_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done


def answer(done: Any) -> Any:
    """Return the one document that `--json` printed."""
    (line,) = done.stdout.decode("utf-8", "strict").splitlines()
    return json.loads(line)


@contextmanager
def running(odd: Any, *command: str) -> Iterator[Callable[[], str]]:
    """Run a program and return what reads its next line; it is ended afterwards."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=odd.env,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline
        finally:
            process.terminate()


# --- Readers ---------------------------------------------------------------------


@pytest.mark.parametrize("odd_one", ODD_READERS)
@pytest.mark.parametrize("position", ["first", "last"])
def test_readers_beside_an_odd_one(odd_pcsc: Any, odd_one: str, position: str) -> None:
    """The good ones are all there, and the card in one of them."""
    name, state, is_shown = ODD_READERS[odd_one]
    names, states = [*GOOD[:3], WITH_CARD], "eeep"
    first = position == "first"
    odd_pcsc.attach(
        *([name, *names] if first else [*names, name]),
        states=state + states if first else states + state,
    )
    done = run(odd_pcsc, "readers", "--json")
    assert done.returncode == 0
    shown = {row["reader"]: row["card"] for row in answer(done)["readers"]}
    assert shown.keys() >= set(map(written, names))
    assert shown[written(WITH_CARD)] == "cps3"
    assert (written(name) in shown) == is_shown


@pytest.mark.parametrize("name", [NOT_UTF8, UTF8, LONGEST])
def test_an_odd_reader_is_named(odd_pcsc: Any, name: bytes) -> None:
    """By its own bytes, and by what is shown of them."""
    odd_pcsc.attach(GOOD[0], name, states="ep")
    for asked in (name, written(name).encode()):
        done = run(odd_pcsc, "readers", "--json", "--reader", asked)
        assert [row["reader"] for row in answer(done)["readers"]] == [written(name)]
        # A card that says 6D00 to everything: it was reached
        shown = run(odd_pcsc, "pin", "status", "--json", "--reader", asked)
        assert shown.returncode == EXIT_CODES[CardMisbehaved], shown.stdout


def test_more_readers_than_one_question_takes(odd_pcsc: Any) -> None:
    """All are listed, and a card in the last one is found."""
    odd_pcsc.attach(
        *GOOD, *(b"More %02d 00 00" % number for number in range(30)), states="e" * 45 + "p"
    )
    rows = answer(run(odd_pcsc, "readers", "--json"))["readers"]
    assert len(rows) == 46
    assert rows[-1]["card"] == "cps3"
    shown = run(odd_pcsc, "pin", "status", "--json")
    assert shown.returncode == EXIT_CODES[CardMisbehaved], shown.stdout


@pytest.mark.parametrize("words", [("readers",), ("pin", "status"), ("doctor",)], ids=" ".join)
def test_a_reader_that_was_counted_anew(
    odd_pcsc: Any, igc_dir: Path, words: tuple[str, ...]
) -> None:
    """Every command finds the reader of the name that it had before."""
    odd_pcsc.attach(b"Maker Model (5331) 05 00", states="p")
    asked = ("--json", "--reader", "Maker Model (5331) 00 00", "--trust", str(igc_dir))
    done = run(odd_pcsc, *words, *asked)
    assert b"no-reader" not in done.stdout
    assert done.returncode in (0, EXIT_CODES[CardMisbehaved]), done.stdout
    odd_pcsc.attach(b"Maker Model (5331) 05 00", b"Maker Model (5331) 06 00", states="pe")
    assert b"no-reader" in run(odd_pcsc, *words, *asked).stdout, "nobody can tell which"


def test_watching_a_reader_that_was_counted_anew(odd_pcsc: Any) -> None:
    """What happens in it is told."""
    name = b"Maker Model (5331) 05 00"
    odd_pcsc.attach(name)
    command = ("-m", "cps_auth", "watch", "--json", "--reader", "Maker Model (5331) 00 00")
    with running(odd_pcsc, *command) as next_line:
        assert json.loads(next_line())["event"] == "reader-added"
        odd_pcsc.attach(name, states="p")
        assert json.loads(next_line())["event"] == "card-inserted"


WATCHERS = {
    "watch": """
from cps_auth.cli.main import main
import sys
sys.argv[1:] = ["watch", "--json"]
main()
""",
    "daemon": """
from cps_auth.card.open import open_cards
from pam_helper.daemon.watcher_restart import RestartingWatcher
import json, threading
def listen(event):
    print(json.dumps({"event": event.kind.value, "reader": event.reader}), flush=True)
watcher = RestartingWatcher(open_cards(stays=True), listen)
threading.Event().wait()
""",
    "flask": """
from cps_auth.card.open import open_cards
from cps_auth.flask.sessions.removal import RemovalWatch
import json, sys, time
class Sessions:
    def end_watch(self, *_, **__): return ()
    def end_reader(self, *_, **__): return ()
watch = RemovalWatch(open_cards(), Sessions(), lambda: None, print)
watch.ensure_running()
told = None
while True:
    now = watch.presence()
    if now["card"] != told:
        told = now["card"]
        kind = "card-inserted" if told else "card-removed"
        print(json.dumps({"event": kind, "reader": ""}), flush=True)
    time.sleep(0.4)
""",
    "native-host": """
from cps_auth.card.open import open_cards
from cps_auth.native_host.card_events import CardEvents
import json, select
news, told = CardEvents(open_cards()), 0
while True:
    select.select([news], [], [])
    news.acknowledge()
    for event in news._events[told:]:
        told += 1
        print(json.dumps({"event": event.kind.value, "reader": event.reader}), flush=True)
""",
}
"""Whatever stays and watches, as a program that prints a line an event."""


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("crowd", ["few", "many"])
def test_watching_beside_odd_readers(odd_pcsc: Any, watcher: str, crowd: str) -> None:
    """Every watcher sees the card come and go in a good reader, and none of them spins."""
    odd = [(name, state) for name, state, _ in ODD_READERS.values()]
    good = GOOD if crowd == "many" else GOOD[:2]
    names = [*(name for name, _ in odd[:4]), *good, WITH_CARD, *(name for name, _ in odd[4:])]
    before, after = "e" * (4 + len(good)), "".join(state for _, state in odd[4:]).replace("m", "e")
    odd_pcsc.attach(*names, states=before + "e" + after)
    with running(odd_pcsc, "-c", WATCHERS[watcher]) as next_line:

        def await_event(kind: str) -> None:
            for line in iter(next_line, ""):
                event = json.loads(line)
                assert event["event"] not in ("service-lost", "watcher-stopped")
                if event["event"] == kind and event["reader"] in ("", written(WITH_CARD)):
                    return
            pytest.fail(f"{watcher} ended without {kind}")

        for kind, state in (("card-inserted", "p"), ("card-removed", "e"), ("card-inserted", "p")):
            odd_pcsc.attach(*names, states=before + state + after)
            await_event(kind)
        calls, began = odd_pcsc.calls, time.monotonic()
        time.sleep(1.5)  # what it measures: how often PC/SC is asked while nothing happens
        looks = (odd_pcsc.calls - calls) / (time.monotonic() - began) / len(names)
        assert looks < 10, "so many questions a second and reader"


# --- Refusals --------------------------------------------------------------------


REFUSALS = [
    ("SCardEstablishContext", 0x8010006A, ReaderServiceRefused, None),
    ("SCardEstablishContext", 0x8010001D, ReaderServiceLost, "not-running"),
    ("SCardEstablishContext", 0x80100006, ReaderServiceLost, "too-many"),
    ("SCardListReaders", 0x8010001E, ReaderServiceLost, "not-running"),
    ("SCardListReaders", 0xDEADBEEF, ReaderServiceLost, ""),
    ("SCardGetStatusChange", 0x80100013, ReaderServiceLost, ""),
    ("SCardConnect", 0x8010006A, ReaderServiceRefused, None),
    ("SCardConnect", 0x8010000B, CardBusy, None),
    ("SCardConnect", 0x80100066, CardMisbehaved, "mute"),
    ("SCardConnect", 0x80100067, CardMisbehaved, "unpowered"),
    ("SCardConnect", 0x80100065, UnsupportedCard, ""),
    ("SCardConnect", 0x80100069, NoCard, None),
    ("SCardConnect", 0x80100009, NoReader, None),
    ("SCardTransmit", 0x8010006A, ReaderServiceLost, ""),
    ("SCardTransmit", 0x80100069, CardRemoved, None),
    ("SCardTransmit", 0x8010002F, CardMisbehaved, ""),
    ("SCardBeginTransaction", 0x80100016, CardRemoved, None),
]


@pytest.mark.parametrize(
    ("call", "code", "error", "cause"),
    REFUSALS,
    ids=lambda value: f"{value:X}" if isinstance(value, int) else None,
)
def test_each_refusal_by_its_own_name(
    odd_pcsc: Any, igc_dir: Path, call: str, code: int, error: type[CpsAuthError], cause: str | None
) -> None:
    """`show` and `doctor` say the same, soon, in one document, with the exit code of the error."""
    odd_pcsc.attach(WITH_CARD, states="p")
    odd_pcsc.refuse(**{call: code})
    trust = ("--json", "--trust", str(igc_dir))
    shown = run(odd_pcsc, "show", *trust)
    said = answer(shown)
    assert (shown.returncode, said["error"]) == (EXIT_CODES[error], error.code)
    assert said.get("cause") == cause
    examined = run(odd_pcsc, "doctor", *trust)
    findings = {row["link"]: row for row in answer(examined)["findings"]}
    assert findings["card"]["error"] == error.code
    assert findings["card"].get("cause") == cause
    assert examined.returncode == EXIT_CODES[error]
