"""Any sequence of commands at every kind of card, against a small model of the PIN rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hardware_mocks.card.virtual_card import CARD_KINDS, VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, CardCredentials

_PIN, _PUK = 1, 2
_MAX = 3
_PINS = ("1234", "4321", "0000")
_PUKS = ("12345678", "00000000")
_PIN_INSTRUCTIONS = (0x20, 0x24, 0x2C)

# What each dialect sends: how to use a key, and how to change and unblock a PIN.
_USE_KEY = {
    "cps3": ("002241A406800102840182", "008800000142"),
    "cps3-contactless": ("002241A406800102840183", "00880000014200"),
    "cps4": ("012281B60491022CA0", "012A9E9A20" + "42" * 32 + "00"),
    "cps4-t0": ("012281B60491022CA0", "012A9E9A20" + "42" * 32),
    "cps4-rc": ("012281B60491022CA0", "012A9E9A20" + "42" * 32 + "00"),
}
_OTHER_USES = {
    "cps3": (("002241B606800142840181", "002A9E9A20" + "42" * 32),),
    "cps3-contactless": (),
    "cps4": (
        ("012281B60491022890", "012A9E9A20" + "42" * 32 + "00"),
        ("012241B803830120", "112A8086FF" + "00" * 255, "012A8086010100"),
    ),
    "cps4-t0": (("012281B60491022890", "012A9E9A20" + "42" * 32),),
    "cps4-rc": (),
}
_CONTACT_KINDS = [kind for kind in CARD_KINDS if kind != "cps3-contactless"]

_HEADERS = [
    "00200001", "00200002", "01200001", "00240001", "01240101", "002C0201", "002C0301", "012C0381",
    "002241A4", "002241B6", "002241B8", "002241AA", "012281B6", "012241B8", "002A9E9A", "012A9E9A",
    "002A8086", "102A8086", "112A8086", "012A8086", "002A90A0", "00880000", "00840000", "00CB3FFF",
    "00A40904", "00A4040C", "01A40800", "00A4000C", "00B00000", "00B09C00", "00D60000", "00C00000",
    "01C00000", "A0A40000", "A0C00000", "A0B00000",
]  # fmt: skip
_BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"1234", b"0000", b"12345678", b"12344321", bytes.fromhex("800102840182"),
            bytes.fromhex("91022CA0"), bytes.fromhex("830120"), bytes.fromhex("8025000001FF0100"),
            bytes.fromhex("A0000001510000"), bytes.fromhex("3F00D003"), bytes(32), bytes(255),
        ]
    ),
)  # fmt: skip
PLAUSIBLE = st.builds(
    lambda header, body, le: bytes.fromhex(header) + bytes([len(body)]) + body + le,
    st.sampled_from(_HEADERS),
    _BODIES,
    st.sampled_from([b"", b"\x00", b"\x08"]),
)


@pytest.mark.parametrize("kind", sorted(CARD_KINDS))
@settings(max_examples=120, deadline=None)
@given(commands=st.lists(st.one_of(st.binary(max_size=300), PLAUSIBLE), max_size=15))
def test_any_bytes_are_answered(igc: FakeIgcSante, kind: str, commands: list[bytes]) -> None:
    """Whatever comes in: data and a status word, at most 258 bytes, no exception."""
    card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), kind)
    for command in commands:
        answer = card.transmit(command)
        assert 2 <= len(answer) <= 258
        assert answer[-2] >> 4 in (6, 9)


class PinRules(RuleBasedStateMachine):
    """PIN and PUK: values, counters, what is verified, and what may be set anew."""

    credentials: CardCredentials
    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.card = VirtualCard(PERSONAS["doctor"], self.credentials, self.kind)
        self.is_chipdoc = self.kind.startswith("cps4")
        self.cla = 1 if self.is_chipdoc else 0
        self.values = {_PIN: b"1234", _PUK: b"12345678"}
        self.left = {_PIN: _MAX, _PUK: _MAX}
        self.verified: set[int] = set()
        self.may_be_set = False

    def ask(self, header_hex: str, data: bytes = b"") -> str:
        """Send a PIN command in the card's own class."""
        body = bytes([len(data)]) + data
        if not data and self.card.protocol == 1:
            body = b""
        return (
            self.card.transmit(bytes([self.cla]) + bytes.fromhex(header_hex) + body).hex().upper()
        )

    def present(self, reference: int, value: bytes) -> str:
        """Update the model for one comparison; return the status word that it deserves."""
        if self.left[reference] == 0:
            return "6983"
        self.verified.discard(reference)
        if value == self.values[reference]:
            self.left[reference] = _MAX
            self.verified.add(reference)
            return "9000"
        self.left[reference] -= 1
        return f"63C{self.left[reference]}" if self.left[reference] else "6983"

    @rule(pin=st.sampled_from(_PINS))
    def verify_pin(self, pin: str) -> None:
        """Right restores, wrong spends and ends the verification, blocked compares nothing."""
        assert self.ask("200001", pin.encode()) == self.present(_PIN, pin.encode())

    @rule(puk=st.sampled_from(_PUKS))
    def verify_puk(self, puk: str) -> None:
        """The PUK has its own counter."""
        assert self.ask("200002", puk.encode()) == self.present(_PUK, puk.encode())

    @rule(reference=st.sampled_from([_PIN, _PUK]))
    def ask_state(self, reference: int) -> None:
        """Costs nothing; only a CPS3 says whether the PIN is verified."""
        says_verified = reference in self.verified and not self.is_chipdoc
        left = self.left[reference]
        expected = "9000" if says_verified else f"63C{left}"
        assert self.ask(f"2000{reference:02X}") == (expected if left else "6983")

    @rule(old=st.sampled_from(_PINS), new=st.sampled_from(_PINS))
    @precondition(lambda self: not self.is_chipdoc)
    def change_with_old(self, old: str, new: str) -> None:
        """The old one is compared as by VERIFY."""
        expected = self.present(_PIN, old.encode())
        assert self.ask("240001", old.encode() + new.encode()) == expected
        if expected == "9000":
            self.values[_PIN] = new.encode()

    @rule(new=st.sampled_from(_PINS))
    def change_alone(self, new: str) -> None:
        """Only when it is verified or, on a CPS4, has just been unblocked."""
        allowed = _PIN in self.verified or self.may_be_set
        assert self.ask("240101", new.encode()) == ("9000" if allowed else "6982")
        if allowed:
            self.values[_PIN], self.may_be_set = new.encode(), False

    @rule(new=st.sampled_from(_PINS))
    def unblock(self, new: str) -> None:
        """Only after the PUK does the counter rise; that alone uses no key."""
        allowed = _PUK in self.verified
        if self.is_chipdoc:
            answer = self.ask("2C0381")
            self.may_be_set = self.may_be_set or allowed
        else:
            answer = self.ask("2C0201", new.encode())
        assert answer == ("9000" if allowed else "6982")
        if allowed:
            self.left[_PIN] = _MAX
            if not self.is_chipdoc:
                self.values[_PIN] = new.encode()

    @rule(how=st.sampled_from(["reset", "power_off", "power_on"]))
    def lose_power(self, how: str) -> None:
        """Everything verified is forgotten; values and counters stay."""
        getattr(self.card, how)()
        self.verified.clear()
        self.may_be_set = False

    @rule()
    def select_card_manager(self) -> None:
        """On a CPS4 leaving the applet forgets what was verified; a CPS3 has none to leave for."""
        answer = self.ask("A4040C", bytes.fromhex("A0000001510000"))
        assert answer == ("9000" if self.is_chipdoc else "6A82")
        self.ask("A4040C", bytes.fromhex("8025000001FF0100"))
        if self.is_chipdoc:
            self.verified.clear()
            self.may_be_set = False

    @rule(noise=PLAUSIBLE)
    def other_command(self, noise: bytes) -> None:
        """Nothing else touches the PIN, nor stays when another applet is selected."""
        if noise[1] in _PIN_INSTRUCTIONS or b"\xa0\x00\x00\x01\x51" in noise:
            return
        self.card.transmit(noise)

    @rule(length=st.sampled_from([1, 3, 5, 8]), reference=st.sampled_from([_PIN, _PUK]))
    def wrong_length(self, length: int, reference: int) -> None:
        """Is not compared, and spends nothing."""
        if length != len(self.values[reference]):
            expected = "6700" if self.left[reference] else "6983"
            assert self.ask(f"2000{reference:02X}", b"1" * length) == expected

    @invariant()
    def counters_agree(self) -> None:
        """They rise by a success or an unblocking, and by nothing else."""
        assert self.card.pin_attempts_left == self.left[_PIN]
        assert self.card.puk_attempts_left == self.left[_PUK]

    @invariant()
    def keys_follow_the_pin(self) -> None:
        """Every key works exactly while the PIN is verified."""
        for commands in (_USE_KEY[self.kind], *_OTHER_USES[self.kind]):
            for command in commands:
                answer = self.card.transmit(bytes.fromhex(command))
            is_used = answer[-2:] in (b"\x90\x00", b"\x61\x00")
            assert is_used is (_PIN in self.verified), (commands, answer[-2:].hex())


@pytest.mark.parametrize("kind", _CONTACT_KINDS)
def test_the_pin_rules(igc: FakeIgcSante, kind: str) -> None:
    """No sequence uses a key without the PIN, or raises a counter for free."""
    names = {"kind": kind, "credentials": igc.credentials("doctor")}
    machine = type("Card", (PinRules,), names)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None)
    )


@settings(max_examples=60, deadline=None)
@given(noise=st.lists(PLAUSIBLE, max_size=10))
def test_the_contactless_key_needs_no_pin(igc: FakeIgcSante, noise: list[bytes]) -> None:
    """Whatever was said before: its one key signs, no PIN appears, no other key exists."""
    card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), "cps3-contactless")
    for command in noise:
        card.transmit(command)
    environment, use = _USE_KEY["cps3-contactless"]
    assert card.transmit(bytes.fromhex(environment)) == b"\x90\x00"
    assert card.transmit(bytes.fromhex(use))[-2:] == b"\x90\x00"
    assert card.pin_attempts_left is None
    assert card.transmit(bytes.fromhex("002000010431323334")) == b"\x6a\x88"
    assert card.transmit(bytes.fromhex("002241A406800102840182")) == b"\x6a\x88"
