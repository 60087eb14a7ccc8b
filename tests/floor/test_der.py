"""DER is strict, a card's BER-TLV is what ISO/IEC 7816-4 allows; both stay in their container."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.der import data_object_at, element_at, elements, inside
from hardware_mocks.igc.fake_igc import FakeIgcSante


@pytest.mark.parametrize(
    "unverified",
    [
        "",
        "30",
        "3001",  # says more than there is
        "3080",  # indefinite
        "308100",  # not the shortest form
        "30817f" + "00" * 127,
        "3082007f" + "00" * 127,
        "308200ff" + "00" * 255,
        "30850000000001" + "00",
        "7f4800",  # a tag of several bytes
        "1f00",
    ],
)
def test_what_is_not_der(unverified: str) -> None:
    """Each refused as ValueError, whatever follows."""
    data = bytes.fromhex(unverified)
    with pytest.raises(ValueError):  # noqa: PT011, its words are for people
        element_at(data, 0, len(data))


@pytest.mark.parametrize(
    ("unverified", "tag", "content", "end"),
    [
        ("0400", 0x04, 2, 2),
        ("048100", 0x04, 3, 3),
        ("3082000101", 0x30, 4, 5),
        ("7f480155", 0x7F48, 3, 4),
        ("bf81018001", None, 0, 0),  # a length that says neither how long nor how many bytes
        ("bf810102ffff", 0xBF8101, 4, 6),
        ("bf8101820002ffff", 0xBF8101, 6, 8),
        ("df", None, 0, 0),
        ("1f818101", None, 0, 0),  # a tag of four bytes
        ("5f", None, 0, 0),
        ("8005aa", 0x80, 2, 7),  # announces more than there is
    ],
)
def test_data_objects_of_a_card(unverified: str, tag: int | None, content: int, end: int) -> None:
    """Tags of one to three bytes, any definite length."""
    data = bytes.fromhex(unverified)
    if tag is None:
        with pytest.raises(ValueError):  # noqa: PT011, its words are for people
            data_object_at(data, 0, len(data))
    else:
        assert data_object_at(data, 0, len(data)) == (tag, 0, content, end)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_nothing_else_is_raised(data: bytes, position: int) -> None:
    """Every input is an element or a ValueError, and what DER takes BER-TLV takes, too."""
    try:
        element = element_at(data, position, len(data))
    except ValueError:
        element = None
    try:
        object_ = data_object_at(data, position, len(data))
    except ValueError:
        object_ = None
    if element is not None:
        assert element == object_
        assert element.end <= len(data)


def test_a_certificate_is_walked_whole(igc: FakeIgcSante) -> None:
    """Its parts are those of RFC 5280 section 4.1, one after the other, to the last byte."""
    der = igc.credentials("doctor").authentication_certificate_der
    (whole,) = elements(der, 0, len(der))
    signed, algorithm, signature = inside(der, whole)
    certificate = x509.load_der_x509_certificate(der)
    assert der[signed.start : signed.end] == certificate.tbs_certificate_bytes
    assert der[signature.content + 1 : signature.end] == certificate.signature
    assert (algorithm.end, signature.end) == (signature.start, len(der))
