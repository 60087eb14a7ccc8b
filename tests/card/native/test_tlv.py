"""The BER-TLV reader takes what cards write and refuses what runs past its bounds."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.card.native.tlv import MAX_BYTES, Tlv, read_all
from cps_auth.errors import CardMisbehaved


def test_nested_objects() -> None:
    """Tags of one to three bytes are read, at any depth."""
    (outer,) = read_all(bytes.fromhex("7016BF810112A0109A01039B0102A1088C06F3000013FF00"))
    inner = outer.child(0xBF8101)
    assert inner is not None
    parameters = inner.child(0xA0)
    assert parameters is not None
    assert parameters.child(0x9B) == Tlv(0x9B, b"\x02")
    assert parameters.child(0x9D) is None


def test_padding_is_skipped() -> None:
    """Zeros and FF before, between and after objects mean nothing."""
    objects = read_all(bytes.fromhex("00 0401AA FF00 0401BB 0000FFFF"))
    assert [found.value for found in objects] == [b"\xaa", b"\xbb"]


@pytest.mark.parametrize("length", ["8102", "820002", "83000002"])
def test_long_lengths(length: str) -> None:
    """Lengths may be written longer than they need be."""
    assert read_all(bytes.fromhex("04" + length + "AABB")) == (Tlv(0x04, b"\xaa\xbb"),)


@pytest.mark.parametrize(
    "malformed",
    ["04", "0402AA", "0480AA0000", "04850000000001AA", "0482AA", "1F", "1F8181817F00", "BF81"],
)
def test_malformed(malformed: str) -> None:
    """Whatever is cut short, indefinite or too wide is refused."""
    with pytest.raises(CardMisbehaved):
        read_all(bytes.fromhex(malformed))


def test_too_long() -> None:
    """No more is read than a card can hold."""
    with pytest.raises(CardMisbehaved):
        read_all(bytes(MAX_BYTES + 1))


@given(st.binary(max_size=300))
def test_any_bytes(unverified: bytes) -> None:
    """Only our own error leaves the reader, at every depth."""
    with contextlib.suppress(CardMisbehaved):
        for found in read_all(unverified):
            found.children()
