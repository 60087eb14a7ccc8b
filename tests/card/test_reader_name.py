"""A reader that was plugged in again has another number in its name."""

from __future__ import annotations

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.card.reader_name import name_today
from cps_auth.errors import NoReader
from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

TWIN, OTHER = "Gemalto PC Twin Reader (C4F1A2B3)", "Gemalto PC Twin Reader (C4F1A2B4)"


@pytest.mark.parametrize(
    ("names", "wanted", "today"),
    [
        (("A 00 00",), None, None),
        (("A 00 00",), "A 00 00", "A 00 00"),
        (("A 01 00",), "A 00 00", "A 01 00"),
        (("A 0A 00",), "A 00 00", "A 0A 00"),
        (("A 01 01",), "A 00 00", "A 00 00"),  # another slot of it
        (("A 01 00", "A 02 00"), "A 00 00", "A 00 00"),  # nobody can tell which
        (("A 00 00", "A 01 00"), "A 01 00", "A 01 00"),
        ((TWIN + " 01 00", OTHER + " 00 00"), TWIN + " 00 00", TWIN + " 01 00"),
        (("B 00 00",), "A 00 00", "A 00 00"),
        (("A",), "A 00 00", "A 00 00"),
        ((r"n\xb01 00 00", r"n\xb01 01 00"), "n\udcb01 00 00", r"n\xb01 00 00"),
        ((r"n\xb01 01 00",), "n\udcb01 00 00", r"n\xb01 01 00"),
        ((r"n\xb01 01 00",), r"n\xb01 00 00", r"n\xb01 01 00"),
        ((), "A 00 00", "A 00 00"),
    ],
)
def test_names(names, wanted, today) -> None:
    """The same name, or that of the only reader alike; never a guess between two."""
    snapshot = Snapshot(tuple(ReaderState(name, None) for name in names))
    assert name_today(snapshot, wanted) == today


def test_a_replugged_reader_is_opened(igc: FakeIgcSante) -> None:
    """The card is opened in the reader that a setting named before; in no other."""
    readers = VirtualReaders(TWIN + " 01 00", OTHER + " 00 00")
    card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))
    readers.insert(TWIN + " 01 00", card)
    cards = NativeCards(readers.service)
    with cards.open_card(TWIN + " 00 00") as opened:
        assert opened.description.reader == TWIN + " 01 00"
    with pytest.raises(NoReader):
        cards.open_card("Another 00 00")
