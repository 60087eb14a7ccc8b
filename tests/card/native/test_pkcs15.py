"""PKCS#15 directory files, in the encodings that real cards are known to use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.card.native.driver import padded_pin
from cps_auth.card.native.pkcs15 import (
    Certificate,
    Directory,
    FileReference,
    PasswordFlag,
    PrivateKey,
    authentication_keys,
    resolve,
)
from cps_auth.card.native.pkcs15_parse import (
    read_aodf,
    read_cdf,
    read_dir,
    read_odf,
    read_prkdf,
    read_token_label,
)
from cps_auth.errors import CardMisbehaved

AID = bytes.fromhex("E828BD080F8025000001FF0010")
APPLICATION = bytes.fromhex("3F000001")
SIGN, NON_REPUDIATION = 2, 9


def der(tag: int, *parts: bytes | str) -> bytes:
    """Return one data object around parts given as bytes or hexadecimal."""
    value = b"".join(bytes.fromhex(part) if isinstance(part, str) else part for part in parts)
    assert len(value) < 0x80
    return bytes((tag, len(value))) + value


def key_entry(
    label: str, key_id: str, usage: str, reference: str, *, auth_id: str = "040101"
) -> bytes:
    """Return one PrivateRSAKey as the CPS3 writes it, with an empty value path."""
    return der(
        0x30,
        der(0x30, der(0x0C, label.encode()), "03020780", auth_id),
        der(0x30, der(0x04, key_id), usage, "0302030D", reference),
        der(0xA1, der(0x30, "30020400", "02020800")),
    )


def certificate_entry(key_id: str, path: bytes) -> bytes:
    """Return one X509Certificate whose value is in a file."""
    return der(
        0x30,
        der(0x30, der(0x0C, b"Certificat"), "030100"),
        der(0x30, der(0x04, key_id)),
        der(0xA1, der(0x30, path)),
    )


def pin_entry(
    pin_flags: str = "030100", numbers: str = "020104020104020104", reference: str = "800101"
) -> bytes:
    """Return one PIN as the CPS3 writes it."""
    return der(
        0x30,
        der(0x30, der(0x0C, b"Code porteur"), "030100", "040102"),
        der(0x30, "040101"),
        der(0xA1, der(0x30, pin_flags, "0A0101", numbers, reference, "0401FF")),
    )


def test_dir_with_two_applications() -> None:
    """EF.DIR of the real size lists both applications, padded with zeros."""
    contact = der(0x61, der(0x4F, AID), der(0x50, b"CPS IAS"), "51043F000001", "7302 4F00")
    contactless = der(0x61, der(0x4F, AID[:-1] + b"\x20"), "51043F000002")
    applications = read_dir((contact + contactless).ljust(101, b"\x00"))
    assert [(one.aid[-1], one.label, one.path.hex()) for one in applications] == [
        (0x10, "CPS IAS", "3f000001"),
        (0x20, "", "3f000002"),
    ]


def test_odf_in_any_order() -> None:
    """Directory files are found whatever their order; other kinds and rubbish are left out."""
    odf = der(0xA8, "3004040270 01") + der(0xA1, "300404027003") + der(0xA7, "300404027006")
    odf += der(0xA7, "3000") + der(0xA7, "31") + der(0xA7, "A000") + der(0xA0, "300404027002")
    assert read_odf(odf + b"\x00\x00") == (
        (Directory.AUTHENTICATION_OBJECTS, FileReference(bytes.fromhex("7001"))),
        (Directory.DATA_OBJECTS, FileReference(bytes.fromhex("7006"))),
        (Directory.PRIVATE_KEYS, FileReference(bytes.fromhex("7002"))),
    )


def test_token_label() -> None:
    """The label of TokenInfo is read with and without the optional fields around it."""
    label = der(0x80, b"CPS3v3-2900099999")
    rich = der(0x30, "020100", der(0x0C, b"ASIP SANTE"), label, "030206C0", "A2023000", "850131")
    assert read_token_label(rich) == "CPS3v3-2900099999"
    assert read_token_label(der(0x30, "020100", label)) == "CPS3v3-2900099999"
    assert read_token_label(der(0x30, "020100")) == ""


@pytest.mark.parametrize("path", ["7002", "00017002", "3F0000017002"])
def test_paths(path: str) -> None:
    """Paths are relative to the application, of any length, or absolute."""
    base = bytes.fromhex("3F00") if path == "00017002" else APPLICATION
    assert resolve(base, bytes.fromhex(path)) == bytes.fromhex("3F0000017002")


@pytest.mark.parametrize("path", ["70", "3F0000", "00" * 18])
def test_bad_paths(path: str) -> None:
    """What is no list of file identifiers is refused."""
    with pytest.raises(CardMisbehaved):
        resolve(APPLICATION, bytes.fromhex(path))


@pytest.mark.parametrize("flags", ["030100", "030107", "03020040", "03020640"])
def test_user_pin(flags: str) -> None:
    """The PIN is read even when its empty flags carry an odd unused-bits octet."""
    (password,) = read_aodf(pin_entry(flags))
    assert (password.auth_id, password.reference, password.stored_length) == (b"\x01", 1, 4)
    assert password.is_user_pin
    assert padded_pin(password, bytearray(b"1234")) == b"1234"


def test_padded_pin() -> None:
    """A PIN object that says so is padded to its stored length."""
    (password,) = read_aodf(pin_entry("03020204", "020104020108020108"))
    assert PasswordFlag.NEEDS_PADDING in password.flags
    assert padded_pin(password, bytearray(b"1234")) == b"1234\xff\xff\xff\xff"


@pytest.mark.parametrize("flags", ["03020001", "03020102"])
def test_puk_is_no_user_pin(flags: str) -> None:
    """A PUK or an administrator's code is never taken for the holder's PIN."""
    (password,) = read_aodf(pin_entry(flags))
    assert not password.is_user_pin


def test_unreadable_entries_are_left_out() -> None:
    """An authentication object of another kind does not hide the PIN behind it."""
    biometric = der(0x30, der(0x30, "040102"), der(0x30, "040103"), der(0xA3, "0400"))
    odd = pin_entry(numbers="020104")
    assert len(read_aodf(biometric + odd + pin_entry())) == 1


@pytest.mark.parametrize("reference", ["02020082", "020182"])
def test_keys(reference: str) -> None:
    """Usage and reference are read; 82 may be written as a negative integer."""
    (key,) = read_prkdf(key_entry("CPS_PRIV_AUT", AID.hex() + "02", "03020560", reference))
    assert key.usage == {1, SIGN}
    assert (key.reference, key.auth_id, key.path) == (0x82, b"\x01", b"")
    assert key.key_id == AID + b"\x02"


def test_key_without_pin() -> None:
    """The key of the contactless application says that no PIN guards it."""
    (key,) = read_prkdf(key_entry("TECH", "03", "03020520", "02020083", auth_id=""))
    assert key.auth_id is None


def test_certificate_in_part_of_a_file() -> None:
    """A path may name a part of a file: offset and length."""
    path = der(0x30, der(0x04, "B002"), "020104", "80020400")
    (certificate,) = read_cdf(certificate_entry("02", path))
    assert certificate.file == FileReference(bytes.fromhex("B002"), 4, 0x400)


def test_negative_offset_is_no_certificate() -> None:
    """A path before the start of its file is left out."""
    assert read_cdf(certificate_entry("02", der(0x30, der(0x04, "B002"), "0201FF", "800101"))) == ()


def _key(key_id: bytes, *usage: int) -> PrivateKey:
    return PrivateKey("", key_id, b"\x01", frozenset(usage), 0x82, b"")


def _certificate(key_id: bytes) -> Certificate:
    return Certificate("", key_id, FileReference(key_id))


def test_authentication_key_by_usage() -> None:
    """The key that signs without non-repudiation is chosen, whatever its label and order."""
    certificates = [_certificate(b"1"), _certificate(b"2")]
    keys = [_key(b"1", NON_REPUDIATION), _key(b"2", 1, SIGN)]
    for order in (keys, keys[::-1]):
        ((key, certificate),) = authentication_keys(order, certificates)
        assert (key.key_id, certificate.key_id) == (b"2", b"2")


@pytest.mark.parametrize(
    "keys",
    [
        [_key(b"1", NON_REPUDIATION), _key(b"2", NON_REPUDIATION)],
        [_key(b"1", SIGN, NON_REPUDIATION), _key(b"2", NON_REPUDIATION)],
        [_key(b"1", 1), _key(b"2", 1)],
        [_key(b"1", SIGN), _key(b"2", SIGN)],
    ],
)
def test_no_single_authentication_key(keys: list[PrivateKey]) -> None:
    """Where the usages single none out nothing is guessed: the certificates have to tell."""
    certificates = [_certificate(b"1"), _certificate(b"2")]
    assert len(authentication_keys(keys, certificates)) == 2


def test_renewed_certificate_of_one_key() -> None:
    """Two certificates of the authentication key are both candidates; others are none."""
    certificates = [_certificate(b"1"), Certificate("new", b"1", FileReference(b"3"))]
    keys = [_key(b"1", SIGN), _key(b"2", NON_REPUDIATION), _key(b"9", SIGN)]
    found = authentication_keys(keys, [*certificates, _certificate(b"2")])
    assert [certificate for _, certificate in found] == certificates


def test_too_many_entries() -> None:
    """A directory file of absurd length is refused, not worked through."""
    with pytest.raises(CardMisbehaved):
        read_cdf(b"\x30\x00" * 65)


PARSERS: list[Callable[[bytes], object]] = [
    read_dir,
    read_odf,
    read_token_label,
    read_aodf,
    read_prkdf,
    read_cdf,
]


@pytest.mark.parametrize("parse", PARSERS)
def test_any_bytes(parse: Callable[[bytes], object]) -> None:
    """Only our own error leaves a parser, for any bytes and for any damage to a good file."""
    good = pin_entry() + key_entry("K", "01", "03020520", "02020082") + certificate_entry("01", b"")

    @given(st.binary(max_size=200), st.integers(0, len(good) - 1), st.integers(0, 255))
    def run(unverified: bytes, position: int, value: int) -> None:
        damaged = good[:position] + bytes((value,)) + good[position + 1 :]
        for content in (unverified, damaged):
            with contextlib.suppress(CardMisbehaved):
                parse(content)

    run()
