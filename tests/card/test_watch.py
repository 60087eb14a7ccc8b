"""What the watcher tells, and that it never falls silent."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterator

import pytest

from cps_auth.card import watch
from cps_auth.card.watch import CardWatcher, asleep_s, changes, with_generations
from cps_auth.errors import ConfigurationError
from cps_auth.model import CardEvent, CardEventKind, ReaderState, Snapshot
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

K = CardEventKind
ATR, OTHER = b"\x3b\x00", b"\x3b\x01"
DEADLINE_S = 10.0


def _state(name: str, atr: bytes | None, count: int = 0) -> ReaderState:
    return ReaderState(name, atr, count)


def _kinds(before: Snapshot, after: Snapshot) -> list[tuple[CardEventKind, str]]:
    return [(event.kind, event.reader) for event in changes(before, after)]


def _up(*states: ReaderState) -> Snapshot:
    return Snapshot(states)


DOWN = Snapshot(service_up=False)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (_up(), _up(), []),
        (_up(), _up(_state("a", None)), [(K.READER_ADDED, "a")]),
        (_up(), _up(_state("a", ATR)), [(K.READER_ADDED, "a"), (K.CARD_INSERTED, "a")]),
        (_up(_state("a", None)), _up(_state("a", ATR, 1)), [(K.CARD_INSERTED, "a")]),
        (_up(_state("a", ATR, 1)), _up(_state("a", None, 2)), [(K.CARD_REMOVED, "a")]),
        (_up(_state("a", ATR, 1)), _up(_state("a", ATR, 3)), [(K.CARD_SWAPPED, "a")]),
        (_up(_state("a", ATR, 1)), _up(_state("a", OTHER, 1)), [(K.CARD_SWAPPED, "a")]),
        (_up(_state("a", ATR, 0xFFFF)), _up(_state("a", ATR, 1)), [(K.CARD_SWAPPED, "a")]),
        (_up(_state("a", ATR, 1)), _up(_state("a", ATR, 1)), []),
        (_up(_state("a", None, 2)), _up(_state("a", None, 2)), []),
        (_up(_state("a", None, 0)), _up(_state("a", None, 2)), [(K.CARD_REMOVED, "a")]),
        (_up(_state("a", None)), _up(_state("a", b"")), [(K.CARD_INSERTED, "a")]),
        (_up(_state("a", None)), _up(), [(K.READER_GONE, "a")]),
        (_up(_state("a", ATR)), _up(), [(K.CARD_REMOVED, "a"), (K.READER_GONE, "a")]),
        (_up(_state("a", ATR)), DOWN, [(K.SERVICE_LOST, "")]),
        (DOWN, DOWN, []),
        (DOWN, _up(), [(K.SERVICE_BACK, "")]),
        (
            DOWN,
            _up(_state("a", ATR)),
            [(K.SERVICE_BACK, ""), (K.READER_ADDED, "a"), (K.CARD_INSERTED, "a")],
        ),
    ],
)
def test_changes(before: Snapshot, after: Snapshot, told: list[tuple[CardEventKind, str]]) -> None:
    """Every difference between two snapshots is told, in order, and nothing else."""
    assert _kinds(before, after) == told


def test_two_readers_change_at_once() -> None:
    """Changes of several readers in one snapshot are all told."""
    before = _up(_state("a", ATR, 1), _state("b", None))
    after = _up(_state("a", None, 2), _state("b", OTHER, 1))
    assert _kinds(before, after) == [(K.CARD_REMOVED, "a"), (K.CARD_INSERTED, "b")]


def test_generations_rise_with_the_card() -> None:
    """A generation stays as long as the card does and is never given twice."""
    first, latest = with_generations(_up(), _up(_state("a", ATR, 1), _state("b", None)), 0)
    assert [state.generation for state in first.readers] == [1, 2]
    second, latest = with_generations(first, _up(_state("a", ATR, 1), _state("b", ATR, 1)), latest)
    assert [state.generation for state in second.readers] == [1, 3]
    after_loss, latest = with_generations(DOWN, _up(_state("a", ATR, 1)), latest)
    assert [state.generation for state in after_loss.readers] == [4]
    assert latest == 4


class Heard:
    """A listener that keeps events, and hands them over with a deadline."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[CardEvent] = queue.SimpleQueue()

    def __call__(self, event: CardEvent) -> None:
        """Take one event."""
        self._events.put(event)

    def next(self) -> CardEvent:
        """Return the next event."""
        return self._events.get(timeout=DEADLINE_S)

    def expect(self, *kinds: CardEventKind) -> None:
        """The next events are of these kinds."""
        assert [self.next().kind for _ in kinds] == list(kinds)

    @property
    def is_silent(self) -> bool:
        """Whether nothing more was said."""
        return self._events.empty()


@pytest.fixture
def readers() -> VirtualReaders:
    """One empty reader."""
    return VirtualReaders("a")


@pytest.fixture
def heard() -> Heard:
    """A listener."""
    return Heard()


@pytest.fixture
def watcher(readers: VirtualReaders, heard: Heard) -> Iterator[CardWatcher]:
    """A watcher of the reader, stopped at the end."""
    watcher = CardWatcher(readers.service, heard)
    yield watcher
    watcher.stop()


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """A CPS3."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


@pytest.mark.usefixtures("watcher")
def test_life_at_a_reader(readers: VirtualReaders, heard: Heard, card: VirtualCard) -> None:
    """Insertion, swap, removal, a second reader: each is told once, with rising generations."""
    heard.expect(K.READER_ADDED)
    readers.insert("a", card)
    inserted = heard.next()
    assert (inserted.kind, inserted.reader, inserted.atr) == (K.CARD_INSERTED, "a", card.atr)
    readers.swap("a", card)
    swapped = heard.next()
    assert swapped.kind is K.CARD_SWAPPED
    assert swapped.generation > inserted.generation
    readers.remove("a")
    heard.expect(K.CARD_REMOVED)
    readers.add_reader("b")
    heard.expect(K.READER_ADDED)
    readers.insert("b", card)
    heard.expect(K.CARD_INSERTED)
    readers.drop_reader("b")
    heard.expect(K.CARD_REMOVED, K.READER_GONE)
    assert heard.is_silent


def test_cards_already_there(readers: VirtualReaders, heard: Heard, card: VirtualCard) -> None:
    """A card that was there before the watcher is told as inserted."""
    readers.insert("a", card)
    watcher = CardWatcher(readers.service, heard)
    heard.expect(K.READER_ADDED, K.CARD_INSERTED)
    watcher.stop()
    heard.expect(K.WATCHER_STOPPED)


def test_the_computer_slept(readers: VirtualReaders, heard: Heard, card: VirtualCard) -> None:
    """After a suspend that is told, and a card that is there is none that was there before."""
    asleep_s = [5.0]
    readers.insert("a", card)
    watcher = CardWatcher(readers.service, heard, asleep_s=lambda: asleep_s[0])
    heard.expect(K.READER_ADDED)
    inserted = heard.next()
    asleep_s[0] += 0.5  # clocks are not read at one moment
    readers.add_reader("b")
    heard.expect(K.READER_ADDED)
    asleep_s[0] += 60
    readers.add_reader("c")
    heard.expect(K.RESUMED)
    swapped = heard.next()
    assert (swapped.kind, swapped.reader) == (K.CARD_SWAPPED, "a")
    assert swapped.generation > inserted.generation
    heard.expect(K.READER_ADDED)
    readers.remove("a")
    heard.expect(K.CARD_REMOVED)
    watcher.stop()
    heard.expect(K.WATCHER_STOPPED)


def test_time_asleep() -> None:
    """What the clocks of this computer say of its suspends does not run while it is awake."""
    assert 0 <= asleep_s() - asleep_s() + 1e-3 < 0.5


@pytest.mark.usefixtures("watcher")
def test_service_dies_and_returns(readers: VirtualReaders, heard: Heard, card: VirtualCard) -> None:
    """The death of the service is told at once, its return too, and then the cards again."""
    heard.expect(K.READER_ADDED)
    readers.insert("a", card)
    heard.expect(K.CARD_INSERTED)
    for _ in range(2):
        readers.stop_service()
        lost = heard.next()
        assert lost.kind is K.SERVICE_LOST
        assert lost.reason
        readers.start_service()
        heard.expect(K.SERVICE_BACK, K.READER_ADDED, K.CARD_INSERTED)
    assert heard.is_silent


def test_start_without_service(readers: VirtualReaders, heard: Heard) -> None:
    """A watcher that starts with no service says so and goes on trying."""
    readers.stop_service()
    watcher = CardWatcher(readers.service, heard)
    heard.expect(K.SERVICE_LOST)
    readers.start_service()
    heard.expect(K.SERVICE_BACK, K.READER_ADDED)
    watcher.stop()
    heard.expect(K.WATCHER_STOPPED)


@pytest.mark.parametrize("service_up", [True, False])
def test_stop_is_quick_and_last(
    readers: VirtualReaders, heard: Heard, service_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits neither for a reader nor for a retry, says so last, and may be stopped twice."""
    for wait in ("_WAIT_S", "_FIRST_RETRY_S", "_LAST_RETRY_S"):
        monkeypatch.setattr(watch, wait, 600.0)
    if not service_up:
        readers.stop_service()
    watcher = CardWatcher(readers.service, heard)
    heard.expect(K.READER_ADDED if service_up else K.SERVICE_LOST)
    watcher.stop()
    watcher.stop()
    heard.expect(K.WATCHER_STOPPED)
    readers.add_reader("b")
    assert heard.is_silent


def test_stop_at_once(readers: VirtualReaders) -> None:
    """A watcher stopped right after its start ends too, wherever its thread was."""
    for _ in range(50):
        heard = Heard()
        CardWatcher(readers.service, heard).stop()
        while (event := heard.next()).kind is not K.WATCHER_STOPPED:
            assert event.kind is K.READER_ADDED


def test_stop_from_the_listener(readers: VirtualReaders) -> None:
    """A listener may stop the watcher that calls it."""
    heard = Heard()
    ready, watchers = threading.Event(), []

    def listener(event: CardEvent) -> None:
        heard(event)
        if event.kind is K.READER_ADDED and ready.wait(DEADLINE_S):
            watchers[0].stop()

    watchers.append(CardWatcher(readers.service, listener))
    ready.set()
    heard.expect(K.READER_ADDED, K.WATCHER_STOPPED)


def test_unexpected_error(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    """A watcher that dies of an error of any kind says that it stopped, and why."""

    def no_library() -> VirtualReaders:
        raise ConfigurationError("pyscard is missing")

    CardWatcher(no_library, heard)  # type: ignore[arg-type]  # it only raises
    stopped = heard.next()
    assert (stopped.kind, stopped.reason) == (K.WATCHER_STOPPED, "ConfigurationError")
    assert "the card watcher failed" in caplog.text


def test_a_library_that_fails_ends_no_watcher(readers: VirtualReaders, heard: Heard) -> None:
    """Its exception is a lost service, asked again at growing intervals; then all is as before."""
    left, times = [TypeError("not ASCII")] * 3, []

    class Odd:
        """A service that a name makes fail."""

        def __init__(self) -> None:
            self._service = readers.service()

        def __getattr__(self, name: str) -> object:
            return getattr(self._service, name)

        def snapshot(self) -> Snapshot:
            times.append(time.monotonic())
            if left:
                raise left.pop()
            return self._service.snapshot()

    watcher = CardWatcher(Odd, heard)  # type: ignore[arg-type]  # by __getattr__
    assert heard.next().kind is K.SERVICE_LOST
    assert heard.next().kind is K.SERVICE_BACK
    watcher.stop()
    pauses = [after - before for before, after in itertools.pairwise(times[:4])]
    assert all(pause >= 0.1 * 2**n for n, pause in enumerate(pauses))


def test_listener_that_fails(readers: VirtualReaders, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises has lost an event: the watcher stops and says so, once."""
    heard = Heard()

    def listener(event: CardEvent) -> None:
        heard(event)
        raise ZeroDivisionError

    watcher = CardWatcher(readers.service, listener)
    heard.expect(K.READER_ADDED, K.WATCHER_STOPPED)
    watcher.stop()
    assert heard.is_silent
    assert "the listener failed" in caplog.text
