"""Opening a CPS3 from its files alone, in contact and contactless, with odd but legal layouts.

The card here is a dictionary of files written by hand; the virtual card has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.card_cache import CardCache
from cps_auth.card.native.source import open_native
from cps_auth.errors import (
    CardMisbehaved,
    ContactlessNotEnough,
    NoAuthenticationCertificate,
    UnsupportedCard,
)
from cps_auth.model import CardKind, Challenge, ReaderState
from tests.card.native.lone_card import model_of

CONTACT_AID, CONTACTLESS_AID = "E828BD080F8025000001FF0010", "E828BD080F8025000001FF0020"
CERTIFICATE = bytes.fromhex("300401020304")


def _der(tag: str, *parts: str) -> str:
    value = "".join(parts)
    return f"{tag}{len(value) // 2:02X}{value}"


def _application(aid: str, path: str) -> str:
    return _der("61", _der("4F", aid), _der("51", path))


def _path(path: str) -> str:
    return _der("30", _der("04", path))


def _key(key_id: str, usage: str, reference: str, auth_id: str) -> str:
    return _der(
        "30",
        _der("30", "0C014B", auth_id),
        _der("30", _der("04", key_id), usage, reference),
        _der("A1", _der("30", _path(""), "02020800")),
    )


def _certificate(key_id: str, path: str) -> str:
    return _der("30", "3000", _der("30", _der("04", key_id)), _der("A1", _der("30", _path(path))))


PIN = _der("30", "3000", "3003040101", _der("A1", _der("30", "030100", "0A0101", "020104" * 3)))
FILES = {
    "3F00D003": "5A0A8025000001992138450F",
    "3F002F00": _application(CONTACT_AID, "3F000001") + _application(CONTACTLESS_AID, "0002"),
    "3F0000015031": _der("A8", _path("3F0000017001")) + _der("A0", _path("7002"))
    + _der("A4", _path("7003")) + _der("A4", _path("7004")) + "0000",
    "3F0000015032": _der("30", "020100", "8004" + b"CPS3".hex()),
    "3F0000017001": PIN,
    "3F0000017002": _key("01", "0303060040", "020101", "040101")
    + _key("02", "03020520", "020182", "040101"),
    "3F0000017003": _certificate("01", "B001"),
    "3F0000017004": _certificate("02", "C0DE"),
    "3F000001C0DE": CERTIFICATE.hex() + "00" * 300,
    "3F0000025031": _der("A0", _path("7002")) + _der("A4", _path("7005")),
    "3F0000025032": "3000",
    "3F0000027002": _key("03", "03020520", "020183", ""),
    "3F0000027005": _certificate("03", "B003"),
    "3F000002B003": CERTIFICATE.hex(),
}  # fmt: skip


class FilesOnly:
    """A T=1 card that serves its files and refuses everything else."""

    protocol = 1

    def __init__(self, files: dict[str, str]) -> None:
        self._files = {path: bytes.fromhex(content) for path, content in files.items()}
        self._selected = b""
        self.refused: list[str] = []

    def will_verify(self) -> None:
        """Nothing is noted here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def transmit(self, command: bytes) -> bytes:
        """Serve SELECT by path from the MF and READ BINARY."""
        if command[:4] == bytes.fromhex("00A40904"):
            path = command[5:-1].hex().upper()
            if path not in self._files:
                return b"\x6a\x82"
            self._selected = self._files[path]
            return b"\x62\x04\x80\x02" + len(self._selected).to_bytes(2, "big") + b"\x90\x00"
        if command[:2] == bytes.fromhex("00B0"):
            offset = int.from_bytes(command[2:4], "big")
            return self._selected[offset : offset + (command[4] or 256)] + b"\x90\x00"
        self.refused.append(command.hex())
        return b"\x6d\x00"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else is there."""
        yield

    def reset(self) -> None:
        """Nothing is verified."""

    def close(self) -> None:
        """Nothing is held."""


def _open(kind: CardKind = CardKind.CPS3, **changed: str) -> tuple[NativeCard, FilesOnly]:
    files = FILES | {f"3F00{path}": content for path, content in changed.items()}
    transport = FilesOnly({path: content for path, content in files.items() if content != "none"})
    card = open_native(
        transport,
        insertion=ReaderState("r", b"\x3b"),
        model=model_of(kind),
        owned=ExitStack(),
        has_stayed=lambda: True,
        cache=CardCache(),
        at=datetime.now(UTC),
    )
    return card, transport


def test_contact() -> None:
    """In contact the key with PIN is found, and its certificate without the file's padding."""
    card, transport = _open()
    assert card.description.serial == "99213845"
    assert (card.read_label(), card.description.atr_hex) == ("CPS3", "3B")
    assert card.read_authentication_certificate() == CERTIFICATE
    assert transport.refused == []


def test_no_label() -> None:
    """The label is not needed to log in: it is read, and may fail, by itself."""
    card, _ = _open(**{"00015032": "none"})
    with pytest.raises(CardMisbehaved):
        card.read_label()


def test_contactless() -> None:
    """Contactless the technical certificate can be read; attempts and proofs there are none."""
    card, transport = _open(CardKind.CPS3_CONTACTLESS)
    assert card.read_authentication_certificate() == CERTIFICATE
    assert card.pin_attempts_left() is None
    challenge = Challenge("bm9uY2U=", "o", datetime.now(UTC), timedelta(minutes=5))
    with pytest.raises(ContactlessNotEnough):
        card.verify_pin_and_sign(bytearray(b"1234"), challenge, last_attempt_allowed=True)
    assert transport.refused == []


@pytest.mark.parametrize("rubbish", ["", "00" * 50, "FF" * 50, "3082FFFF00", "DEADBEEF"])
def test_rubbish_certificate(rubbish: str) -> None:
    """What is in the certificate's file is handed over to be judged, even if it is rubbish."""
    card, _ = _open(**{"0001C0DE": rubbish})
    assert card.read_authentication_certificate() == bytes.fromhex(rubbish)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("D003", "none"),
        ("D003", "00" * 12),
        ("2F00", "none"),
        ("2F00", ""),
        ("2F00", _application(CONTACTLESS_AID, "3F000002")),
        ("2F00", _application(CONTACT_AID, "")),
        ("2F00", _application(CONTACT_AID, "3F0000")),
        ("00015031", "none"),
        ("00015031", "FFFFFF"),
        ("00017001", "none"),
        ("00017001", ""),
        ("00017002", "30"),
        ("00017002", _key("01", "0303060040", "020101", "040101")),
        ("00017002", _key("02", "03020520", "020182", "040109")),
        ("00017004", ""),
    ],
)
def test_broken_card(path: str, content: str) -> None:
    """A card that lacks something needed, or contradicts itself, is not opened."""
    with pytest.raises((CardMisbehaved, NoAuthenticationCertificate)):
        _open(**{path: content})


def test_another_issuer() -> None:
    """A card with the ATR of a CPS and another issuer's number is no CPS."""
    with pytest.raises(UnsupportedCard):
        _open(D003="5A0A8025000002992138458F")


def _data(label: str, path: str, *about: str) -> str:
    name = _der("0C", label.encode().hex())
    return _der("30", _der("30", name, *about), _der("30", "0C03435053"), _der("A1", _path(path)))


def test_public_objects() -> None:
    """Those that need no PIN by flag and by authId, of as many as a CPS4 has; one is missing."""
    guarded = "".join(
        _data(f"CPS_ACTIVITY_{number:02}_PS", f"D1{number:02}", "03020780", "040101")
        for number in range(1, 41)
    )
    card, _ = _open(
        **{
            "00015031": FILES["3F0000015031"] + _der("A7", _path("7006")),
            "00017006": _data("A", "D201", "030100")
            + guarded
            + _data("B", "D202", "03020780")  # private by its flag alone
            + _data("C", "D203")
            + _data("D", "3F000001D204", "03020640"),
            "0001D201": "0102",
            "0001D204": "0000",
        }
    )
    found = [(one.label, one.unverified_content) for one in card.read_public_objects()]
    assert found == [("A", b"\1\2"), ("D", b"\0\0")]


def test_no_data_objects() -> None:
    """A card without a DODF has none."""
    card, _ = _open()
    assert card.read_public_objects() == ()
