"""The length of five walks through the code: calls, functions, files, and jumps between files.

A call is one of a function of `cps_auth` or `pam_helper` (a generator that goes on counts again).
Jumps are counted in two ways, and a bound holds for both:

- *jumps*: calls whose caller stands in another file. The caller is the nearest function of the
  project on the stack; what libraries, the virtual card and the tests call in between is looked
  through. The first call of a thread is no jump.
- *turns*: calls made right after a call of another file, in the order of time: what a debugger that
  steps into every function shows. A reader comes back to the caller's file in this one.

Everything that happens in any thread while a walk lasts is counted, so a daemon's watcher that
wakes up in the middle adds a few.

`./dev bench hops --explain WALK` prints the walk itself.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType, FrameType

from flask import Flask, render_template_string
from flask_login import login_required

from cps_auth.flask import CpsLogin
from cps_auth.flask.signals import session_ended
from cps_auth.login.verify import log_in
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.flask_client import CpsClient, stop_watching
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PIN
from hardware_mocks.readers.cps_reader import CpsReader
from tests.pam.conftest import DEADLINE_S, READER, running_pc

ROOT = Path(__file__).parents[1]
PROJECT = tuple(f"{ROOT}/{tree}/" for tree in ("cps_auth", "pam_helper"))

BOUNDS = {
    "certificate": (12, 50),
    "pin": (14, 45),
    "pam": (30, 200),
    "pam-known": (30, 200),
    "web": (45, 500),
    "web-known": (45, 500),
    "removal": (5, 9),
}
"""Files and jumps that the row of this name may have at most."""

_QUIET_S = 0.2


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function of the project.

    Attributes:
        file: where the function stands, from the project's root.
        caller: file of the nearest function of the project on the stack, None for the first.
        depth: how many functions of the project are below it.
    """

    file: str
    name: str
    caller: str | None
    depth: int

    @property
    def is_jump(self) -> bool:
        """Whether it leads from one file to another."""
        return self.caller not in (None, self.file)


@dataclass
class Recorder:
    """A profile function of every thread that starts after it; notes calls while it is on."""

    calls: list[Call] = field(default_factory=list)
    _is_on: bool = False
    _files: dict[CodeType, str | None] = field(default_factory=dict)

    @contextmanager
    def walk(self) -> Iterator[list[Call]]:
        """Note what is called inside the block, in this thread and in others."""
        self.calls = []
        self._is_on = True
        try:
            yield self.calls
        finally:
            self._is_on = False

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """See `sys.setprofile`."""
        if not self._is_on or event != "call":
            return
        file = self._file(frame.f_code)
        if file is None:
            return
        below = [found for found in map(self._file, _codes_below(frame)) if found is not None]
        name = frame.f_code.co_qualname
        self.calls.append(Call(file, name, below[0] if below else None, len(below)))

    def _file(self, code: CodeType) -> str | None:
        if code not in self._files:
            path = code.co_filename
            inside = path.startswith(PROJECT) and path.endswith(".py")  # templates are no code
            self._files[code] = path.removeprefix(f"{ROOT}/") if inside else None
        return self._files[code]


def _codes_below(frame: FrameType) -> Iterator[CodeType]:
    below = frame.f_back
    while below is not None:
        yield below.f_code
        below = below.f_back


@contextmanager
def recording() -> Iterator[Recorder]:
    """Profile this thread and those that start inside the block."""
    recorder = Recorder()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@dataclass(frozen=True)
class Walk:
    """One walk that was taken."""

    name: str
    what: str
    calls: tuple[Call, ...]

    @property
    def files(self) -> int:
        """Return how many files it comes through."""
        return len({call.file for call in self.calls})

    @property
    def jumps(self) -> int:
        """Return how many calls lead from one file to another."""
        return sum(call.is_jump for call in self.calls)

    @property
    def turns(self) -> int:
        """Return how many calls stand in another file than the call before them."""
        pairs = zip(self.calls, self.calls[1:], strict=False)
        return sum(earlier.file != later.file for earlier, later in pairs)

    @property
    def functions(self) -> int:
        """Return how many functions it comes through."""
        return len({(call.file, call.name) for call in self.calls})

    def row(self) -> str:
        """Return its figures beside its bound, if it has one."""
        counts = (len(self.calls), self.functions, self.files, self.jumps, self.turns)
        figures = " ".join(f"{count:5}" for count in counts)
        if self.name not in BOUNDS:
            return f"  {self.name:20} {figures}  {'':8}  {self.what}"
        files, jumps = BOUNDS[self.name]
        is_held = self.files <= files and max(self.jumps, self.turns) <= jumps
        bound = f"{files:3}/{jumps:<3} {'' if is_held else '!'}"
        return f"  {self.name:20} {figures}  {bound:8}  {self.what}"

    def explanation(self) -> str:
        """Return every call, indented by its caller, then each file and whence it is entered."""
        lines = [
            f"{'  ' * call.depth}{call.name}" + (f"    -> {call.file}" if call.is_jump else "")
            if call.caller is not None
            else f"{call.file}: {call.name}"
            for call in self.calls
        ]
        entered = Counter(call.file for call in self.calls if call.caller != call.file)
        pairs = Counter((call.caller, call.file) for call in self.calls if call.is_jump)
        lines += ["", "entered, and from where:"]
        for file, count in entered.most_common():
            sources = ", ".join(
                f"{source} {times}" for (source, to), times in pairs.most_common() if to == file
            )
            lines.append(f"  {count:4} {file}  <- {sources or 'a thread'}")
        return "\n".join(lines)


def _certificates(recorder: Recorder, igc: FakeIgcSante, judge: Judge) -> Iterator[Walk]:
    """A verdict on the very first certificate, on another of the same issuer, on that again."""
    for name, what, persona in (
        ("certificate-first", "verdict on the first certificate of a new judge", "doctor"),
        ("certificate", "verdict on an unseen certificate, warm judge", "pharmacist"),
        ("certificate-seen", "verdict on a certificate seen before", "pharmacist"),
    ):
        certificate_der = igc.credentials(persona).authentication_certificate_der
        with recorder.walk() as calls:
            judge.judge(certificate_der, at=_now())
        yield Walk(name, what, tuple(calls))


def _pins(recorder: Recorder, igc: FakeIgcSante, judge: Judge) -> Iterator[Walk]:
    """The nine steps of a login in a process that has seen the certificate."""
    reader = CpsReader(igc)
    reader.insert("doctor")
    for name, what in (
        ("pin-unknown", "PIN to a card never seen: the nine steps, certificate seen"),
        ("pin", "PIN to a known card: the nine steps, certificate seen"),
    ):
        with recorder.walk() as calls, reader.cards.open_card() as card:
            log_in(
                card,
                bytearray(PIN),
                origin="bench",
                judge=judge,
                allow=lambda _practitioner: None,
                clock=_now,
            )
        yield Walk(name, what, tuple(calls))


def _practice_pc(recorder: Recorder, igc: FakeIgcSante, judge: Judge) -> Iterator[Walk]:
    """The daemon on virtual hardware: logins over its socket, then the removal."""
    with (
        tempfile.TemporaryDirectory(prefix="pc-") as folder,
        running_pc(Path(folder), igc, judge) as pc,
    ):
        pc.desktop.log_in("root")
        pc.insert("doctor")
        _settle()
        for name, what in (
            ("pam", "PIN from the daemon's socket to the session bound, card never seen"),
            ("pam-known", "the same, known card, session bound before"),
        ):
            with recorder.walk() as calls:
                _require(pc.ask("verify", pin=PIN)["result"] == "PAM_SUCCESS")
            yield Walk(name, what, tuple(calls))
        _settle()
        with recorder.walk() as calls:
            pc.readers.remove(READER)
            _await_quiet(calls)
        _require(len(pc.desktop.locked) == 1)
        yield Walk("removal", "card pulled, until the lock is confirmed", tuple(calls))


def _web(recorder: Recorder, igc: FakeIgcSante, judge: Judge) -> Iterator[Walk]:
    """A Flask application with a local reader: the form, the PIN, the page; then the removal."""
    reader = CpsReader(igc)
    ended: list[object] = []
    with tempfile.TemporaryDirectory(prefix="web-") as folder:
        app = _application(Path(folder), reader, judge)
        session_ended.connect(lambda _sender, session, **_more: ended.append(session), app, False)
        try:
            for name, what in (
                ("web", "login form GET, PIN POST, page: card and certificate never seen"),
                ("web-known", "the same, known card, second login of the process"),
            ):
                reader.pull()
                reader.insert("doctor")
                _settle()
                ended.clear()
                browser = CpsClient(app, reader)
                with recorder.walk() as calls:
                    _require(browser.log_in(card=None).status_code == 200)
                yield Walk(name, what, tuple(calls))
            with recorder.walk() as calls:
                reader.pull()
                _await_quiet(calls)
            _require(len(ended) == 1)
            yield Walk(
                "removal-web", "card pulled, until the web session's row ended", tuple(calls)
            )
            with recorder.walk() as calls:
                _require(browser.get("/").status_code != 200)
            yield Walk("removal-request", "the next request, refused", tuple(calls))
        finally:
            stop_watching(app)


def _application(folder: Path, reader: CpsReader, judge: Judge) -> Flask:
    app = Flask(__name__)
    app.config |= {
        "SECRET_KEY": "bench",
        "CPS_ORIGIN": "http://127.0.0.1",
        "CPS_DATABASE": folder / "db",
    }
    CpsLogin(app, cards=reader.cards, judge=judge)
    page = login_required(lambda: render_template_string("{{ current_user.display_name }}"))
    app.add_url_rule("/", "home", view_func=page)
    return app


def _await_quiet(calls: list[Call]) -> None:
    """Wait until other threads have begun, and then done nothing more for a while."""
    until_s = time.monotonic() + DEADLINE_S
    before = 0
    while not calls or len(calls) != before:
        _require(time.monotonic() < until_s)
        before = len(calls)
        time.sleep(_QUIET_S)


def _settle() -> None:
    """Let the threads that are just starting come to rest: they are no part of the next walk."""
    time.sleep(_QUIET_S)


def _require(holds: bool) -> None:
    if not holds:
        raise RuntimeError("the walk did not end where it should")


def _now() -> datetime:
    return datetime.now(UTC)


def walks(igc: FakeIgcSante, folder: Path) -> Iterator[Walk]:
    """Take every walk.

    Args:
        igc: issues the certificates.
        folder: what `igc` was written to.

    Raises:
        RuntimeError: one did not end where it should.
    """
    with recording() as recorder:
        judge = folder_judge(folder)
        yield from _certificates(recorder, igc, judge)
        yield from _pins(recorder, igc, judge)
        yield from _practice_pc(recorder, igc, judge)
        yield from _web(recorder, igc, folder_judge(folder))


@dataclass(frozen=True)
class Hops:
    """Every walk beside its bound."""

    walks: tuple[Walk, ...]

    def __str__(self) -> str:
        head = "length of the walks; bound: files/jumps at most, ! where it is missed"
        names = ("calls", "funcs", "files", "jumps", "turns")
        columns = f"  {'':20} {' '.join(f'{name:>5}' for name in names)}  bound"
        return "\n".join((head, columns, *(walk.row() for walk in self.walks))) + "\n"


def hops(igc: FakeIgcSante, folder: Path) -> Hops:
    """Take every walk and count."""
    return Hops(tuple(walks(igc, folder)))


def explain(name: str, igc: FakeIgcSante, folder: Path) -> str:
    """Return one walk call by call.

    Raises:
        LookupError: no walk has this name; the message lists those there are.
    """
    taken = {walk.name: walk for walk in walks(igc, folder)}
    if name not in taken:
        raise LookupError(f"no walk {name!r}; there are: {', '.join(taken)}")
    walk = taken[name]
    return f"{walk.row().strip()}\n\n{walk.explanation()}\n"


FIGURES = (hops,)
