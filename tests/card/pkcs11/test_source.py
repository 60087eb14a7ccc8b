"""The PKCS#11 source of cards, before any module is loaded."""

from __future__ import annotations

import queue
import sys
from pathlib import Path

import pytest

from cps_auth.card.pkcs11 import source
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import ConfigurationError, ModuleUnusable
from cps_auth.model import CardEvent, CardEventKind
from hardware_mocks.readers.virtual_readers import VirtualReaders

NO_MODULE = Path("/nonexistent/module.so")


def test_without_the_binding_the_setting_is_wrong(monkeypatch) -> None:
    """A missing python-pkcs11 is told with what to install, not as a broken module."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ConfigurationError, match=r"cps-auth\[pkcs11\]"):
        Pkcs11Cards(NO_MODULE)


def test_a_missing_module_is_told_at_use() -> None:
    """Listing and opening both say that the module is unusable."""
    cards = Pkcs11Cards(NO_MODULE)
    for use in (cards.readers, cards.open_card):
        with pytest.raises(ModuleUnusable, match="No such file"):
            use()


def test_without_pcsc_the_watcher_says_that_nobody_can_tell() -> None:
    """The first event is that the service is lost, the last that nobody watches."""
    events: queue.Queue[CardEvent] = queue.Queue()
    watch = Pkcs11Cards(NO_MODULE).watch(events.put)
    assert events.get(timeout=5).kind is CardEventKind.SERVICE_LOST
    watch.stop()
    assert events.get(timeout=5).kind is CardEventKind.WATCHER_STOPPED


def test_soft_tokens_are_searched_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a reader each look starts the module: a page that looks all the time does not."""
    started, now_s = [], [0.0]

    def start(*_: object, **__: object) -> None:
        started.append(now_s[0])
        raise ModuleUnusable("none")

    monkeypatch.setattr(source, "ModuleProcess", start)
    monkeypatch.setattr(source, "monotonic", lambda: now_s[0])
    readers = VirtualReaders()
    cards = Pkcs11Cards(NO_MODULE, readers.service)
    while now_s[0] < 60:
        with pytest.raises(ModuleUnusable):
            cards.readers()
        now_s[0] += 0.1
    assert len(started) < 20
    readers.add_reader("Reader")
    assert len(cards.readers()) == 1
    readers.drop_reader("Reader")
    started.clear()
    with pytest.raises(ModuleUnusable):
        cards.readers()
    assert started, "at once, after there was a reader"
