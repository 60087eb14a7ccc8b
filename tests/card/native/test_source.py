"""Which reader's card the native adapter opens."""

from __future__ import annotations

import pytest

from cps_auth.card.native.source import NativeCards, choose_reader
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    CpsAuthError,
    NoCard,
    NoReader,
    ReaderServiceLost,
    SeveralCards,
    UnsupportedCard,
)
from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

CPS3 = bytes.fromhex("3BAC00402A001225006480000310009000")
CONTACTLESS = bytes.fromhex("3B8F80010031B86404B0ECC1739401808290000E")
CPS4 = bytes.fromhex("3B9B188001001225006480040100009044")
BANK = bytes.fromhex("3B6500002063CB6800")


def _readers(**atrs: bytes | None) -> Snapshot:
    return Snapshot(tuple(ReaderState(name, atr) for name, atr in atrs.items()))


@pytest.mark.parametrize(
    ("snapshot", "reader", "chosen"),
    [
        (_readers(a=CPS3), None, "a"),
        (_readers(a=None, b=CPS3), None, "b"),
        (_readers(a=BANK, b=CPS3), None, "b"),
        (_readers(a=CPS4), None, "a"),
        (_readers(a=CPS4, b=CPS3), "a", "a"),
        (_readers(a=b"", b=CPS3), None, "b"),
        (_readers(a=CONTACTLESS, b=CPS3), None, "b"),
        (_readers(a=CONTACTLESS), None, "a"),
        (_readers(a=CPS3, b=CPS3), "b", "b"),
        (_readers(a=CONTACTLESS, b=CPS3), "a", "a"),
    ],
)
def test_chosen(snapshot: Snapshot, reader: str | None, chosen: str) -> None:
    """The one usable card is chosen, in contact before contactless, or the named one."""
    assert choose_reader(snapshot, reader).name == chosen


@pytest.mark.parametrize(
    ("snapshot", "reader", "error"),
    [
        (_readers(), None, NoReader),
        (_readers(a=CPS3), "b", NoReader),
        (_readers(a=None, b=None), None, NoCard),
        (_readers(a=None, b=CPS3), "a", NoCard),
        (_readers(a=BANK), None, UnsupportedCard),
        (_readers(a=b""), None, UnsupportedCard),
        (_readers(a=BANK, b=CPS3), "a", UnsupportedCard),
        (_readers(a=CPS3, b=CPS3), None, SeveralCards),
        (_readers(a=CPS4, b=CPS3), None, SeveralCards),
        (_readers(a=CONTACTLESS, b=CONTACTLESS), None, SeveralCards),
    ],
)
def test_none_chosen(snapshot: Snapshot, reader: str | None, error: type[CpsAuthError]) -> None:
    """Each way of having no single usable card has its own error."""
    with pytest.raises(error):
        choose_reader(snapshot, reader)


def test_errors_say_which() -> None:
    """The errors name the readers and the unknown card."""
    with pytest.raises(SeveralCards) as several:
        choose_reader(_readers(a=CPS3, b=BANK, c=CPS3), None)
    assert several.value.readers == ("a", "c")
    with pytest.raises(UnsupportedCard) as unsupported:
        choose_reader(_readers(a=BANK), None)
    assert unsupported.value.atr_hex == BANK.hex().upper()
    with pytest.raises(NoReader) as missing:
        choose_reader(_readers(a=BANK), "z")
    assert missing.value.reader == "z"


@pytest.fixture
def doctor(igc: FakeIgcSante) -> VirtualCard:
    """A CPS3 of the doctor."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


class CardWithAtr(VirtualCard):
    """A CPS3 that answers to reset as another card."""

    atr = CONTACTLESS


def test_service_down() -> None:
    """Without a service nothing is said about readers or cards."""
    readers = VirtualReaders("a")
    readers.stop_service()
    cards = NativeCards(readers.service)
    with pytest.raises(ReaderServiceLost):
        cards.readers()
    with pytest.raises(ReaderServiceLost):
        cards.open_card()


def test_card_that_is_no_cps_inside(igc: FakeIgcSante) -> None:
    """A card with the ATR of a contactless CPS3 and no such application is refused."""
    readers = VirtualReaders("a")
    readers.insert("a", CardWithAtr(PERSONAS["doctor"], igc.credentials("doctor")))
    with pytest.raises(CardMisbehaved):
        NativeCards(readers.service).open_card()


def test_swap_while_opening(doctor: VirtualCard, igc: FakeIgcSante) -> None:
    """A card swapped between the choice and the connection is not opened under the old ATR."""
    readers = VirtualReaders("a")
    readers.insert("a", doctor)
    nurse = VirtualCard(PERSONAS["nurse"], igc.credentials("nurse"))

    class Swapping:
        def __init__(self) -> None:
            self._service = readers.service()

        def connect(self, reader: str) -> object:
            readers.swap(reader, nurse)
            return self._service.connect(reader)

        def __getattr__(self, name: str) -> object:
            return getattr(self._service, name)

    with pytest.raises(CardRemoved):
        NativeCards(Swapping).open_card()  # type: ignore[arg-type]  # forwards what it lacks


def test_dual_reader(doctor: VirtualCard, igc: FakeIgcSante) -> None:
    """A dual reader shows one card twice, and it is one card; another one beside it is not."""
    readers = VirtualReaders("contact", "contactless")
    readers.insert("contact", doctor)
    credentials = igc.credentials("doctor")
    readers.insert("contactless", VirtualCard(PERSONAS["doctor"], credentials, "cps3-contactless"))
    cards = NativeCards(readers.service)
    with cards.open_card() as card:
        assert card.description.reader == "contact"
    nurse = VirtualCard(PERSONAS["nurse"], igc.credentials("nurse"), "cps3-contactless")
    readers.swap("contactless", nurse)
    with pytest.raises(SeveralCards) as several:
        cards.open_card()
    assert several.value.readers == ("contact", "contactless")
    with cards.open_card("contact") as card:
        assert card.description.reader == "contact"


def test_what_cannot_be_read_without_contact(doctor: VirtualCard, igc: FakeIgcSante) -> None:
    """A contactless field that shows nothing readable is no second card."""
    readers = VirtualReaders("contact", "contactless")
    readers.insert("contact", doctor)
    readers.insert("contactless", CardWithAtr(PERSONAS["nurse"], igc.credentials("nurse")))
    with NativeCards(readers.service).open_card() as card:
        assert card.description.reader == "contact"
