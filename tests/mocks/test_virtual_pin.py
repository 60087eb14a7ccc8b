"""The PIN and PUK rules of the virtual CPS3."""

from __future__ import annotations

import pytest

from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

RIGHT = "002000010431323334"
WRONG = "002000010430303030"
PUK = "00200002083132333435363738"
WRONG_PUK = "00200002083030303030303030"
PIN_STATE = "0020000100"


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """A new CPS3 of the doctor."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


def ask(card: VirtualCard, command_hex: str) -> str:
    """Send one command and return the answer, both in hexadecimal."""
    return card.transmit(bytes.fromhex(command_hex)).hex().upper()


def test_asking_for_the_state_costs_nothing(card: VirtualCard) -> None:
    """An empty VERIFY says 63C3, then 9000 once verified, and spends no attempt."""
    assert [ask(card, PIN_STATE) for _ in range(5)] == ["63C3"] * 5
    assert ask(card, "00200001") == "63C3"
    assert ask(card, RIGHT) == "9000"
    assert ask(card, PIN_STATE) == "9000"
    assert card.pin_attempts_left == 3


def test_three_wrong_pins_block_even_the_right_one(card: VirtualCard) -> None:
    """63C2, 63C1, then 6983 for ever."""
    assert [ask(card, WRONG) for _ in range(4)] == ["63C2", "63C1", "6983", "6983"]
    assert ask(card, RIGHT) == "6983"
    assert ask(card, PIN_STATE) == "6983"


def test_the_right_pin_restores_the_counter(card: VirtualCard) -> None:
    """After a wrong one, the right one gives all three attempts back."""
    ask(card, WRONG)
    ask(card, RIGHT)
    assert card.pin_attempts_left == 3


def test_a_wrong_pin_ends_the_verification(card: VirtualCard) -> None:
    """A card that was verified isn't any more after a wrong PIN."""
    ask(card, RIGHT)
    assert ask(card, WRONG) == "63C2"
    assert ask(card, PIN_STATE) == "63C2"


@pytest.mark.parametrize("length", [1, 3, 5, 8])
def test_a_pin_of_the_wrong_length_is_not_compared(card: VirtualCard, length: int) -> None:
    """6700, and no attempt spent."""
    assert ask(card, f"00200001{length:02X}" + "31" * length) == "6700"
    assert card.pin_attempts_left == 3


@pytest.mark.parametrize("interruption", ["power_off", "power_on", "reset"])
def test_power_takes_the_verification_and_leaves_the_counter(
    card: VirtualCard, interruption: str
) -> None:
    """Verification is lost, counters are kept, and a wrong PIN can't be undone by unplugging."""
    ask(card, RIGHT)
    getattr(card, interruption)()
    assert ask(card, PIN_STATE) == "63C3"
    ask(card, WRONG)
    getattr(card, interruption)()
    assert ask(card, PIN_STATE) == "63C2"


def test_the_puk_unblocks_with_a_new_pin(card: VirtualCard) -> None:
    """RESET RETRY COUNTER after the PUK: full counter, new PIN, the old one is wrong."""
    for _ in range(3):
        ask(card, WRONG)
    assert ask(card, "002C02010434333231") == "6982"
    assert ask(card, PUK) == "9000"
    assert ask(card, "002C02010434333231") == "9000"
    assert ask(card, RIGHT) == "63C2"
    assert ask(card, "002000010434333231") == "9000"
    assert card.pin_attempts_left == 3


def test_the_puk_can_restore_the_counter_alone(card: VirtualCard) -> None:
    """P1=03 keeps the PIN; data with it is refused."""
    ask(card, WRONG)
    ask(card, PUK)
    assert ask(card, "002C03010431323334") == "6700"
    assert ask(card, "002C030100") == "9000"
    assert card.pin_attempts_left == 3
    assert ask(card, RIGHT) == "9000"


def test_unblocking_does_not_verify_the_pin(card: VirtualCard) -> None:
    """Who knows the PUK must still present the new PIN."""
    ask(card, PUK)
    ask(card, "002C02010434333231")
    assert ask(card, PIN_STATE) == "63C3"


def test_the_puk_blocks_too(card: VirtualCard) -> None:
    """Three wrong PUKs, and nothing unblocks the card any more."""
    assert [ask(card, WRONG_PUK) for _ in range(3)] == ["63C2", "63C1", "6983"]
    assert ask(card, PUK) == "6983"
    assert ask(card, "002C02010434333231") == "6982"


def test_change_with_the_old_pin(card: VirtualCard) -> None:
    """24 with old and new: a wrong old one costs an attempt, the right one changes for good."""
    assert ask(card, "0024000108" + "30303030" + "34333231") == "63C2"
    assert ask(card, "0024000108" + "31323334" + "34333231") == "9000"
    card.reset()
    assert ask(card, RIGHT) == "63C2"
    assert ask(card, "002000010434333231") == "9000"


def test_change_without_the_old_pin_needs_a_verification(card: VirtualCard) -> None:
    """24 with P1=01 is refused until VERIFY."""
    assert ask(card, "002401010434333231") == "6982"
    ask(card, RIGHT)
    assert ask(card, "002401010434333231") == "9000"
    assert ask(card, "0024010105" + "34" * 5) == "6700"


@pytest.mark.parametrize(
    ("command_hex", "answer"),
    [
        ("002001010431323334", "6A86"),
        ("002000070431323334", "6A88"),
        ("002402010431323334", "6A86"),
        ("002400010431323334", "6700"),
        ("002C00010431323334", "6A86"),
        ("002C02020431323334", "6985"),
    ],
)
def test_wrong_parameters_spend_nothing(card: VirtualCard, command_hex: str, answer: str) -> None:
    """A PIN command that isn't one has its own status word and no effect."""
    assert ask(card, command_hex) == answer
    assert (card.pin_attempts_left, card.puk_attempts_left) == (3, 3)


@pytest.mark.parametrize(("persona", "answer"), [("pin-blocked", "6983"), ("last-attempt", "63C1")])
def test_a_card_comes_in_the_state_of_its_persona(
    igc: FakeIgcSante, persona: str, answer: str
) -> None:
    """The persona says how many attempts are left on the new card."""
    assert ask(VirtualCard(PERSONAS[persona], igc.credentials(persona)), PIN_STATE) == answer
