"""Reading card files is bounded by what was asked, not by what the card says."""

from __future__ import annotations

import pytest

from cps_auth.card.files import MAX_FILE_BYTES, CardFiles
from cps_auth.errors import CardMisbehaved

PATH = bytes.fromhex("3F00D003")


class OneFile:
    """A T=1 card with one file, whose FCP may lie about its size."""

    protocol = 1

    def __init__(self, content: bytes, claimed: int | None = None, fcp_tag: int = 0x62) -> None:
        self._content = content
        size = len(content) if claimed is None else claimed
        self._fcp = bytes((fcp_tag, 4, 0x80, 2)) + size.to_bytes(2, "big")
        self.reads: list[tuple[int, int]] = []

    def transmit(self, command: bytes) -> bytes:
        """Serve SELECT and READ BINARY."""
        if command[1] == 0xA4:
            return self._fcp + b"\x90\x00"
        offset, wanted = int.from_bytes(command[2:4], "big"), command[4] or 256
        self.reads.append((offset, wanted))
        part = self._content[offset : offset + wanted]
        return part + (b"\x90\x00" if len(part) == wanted else b"\x62\x82")


@pytest.mark.parametrize("size", [0, 1, 12, 230, 231, 232, 462, 1068, 2103])
def test_whole_file(size: int) -> None:
    """Any size is read whole, in pieces that a real card is known to serve."""
    content = bytes(n % 251 for n in range(size))
    card = OneFile(content)
    assert CardFiles(card).read(PATH) == content  # type: ignore[arg-type]  # what a read needs
    assert all(wanted <= 0xE7 for _, wanted in card.reads)


def test_part_of_a_file() -> None:
    """A part is read without what is before and after it."""
    card = OneFile(bytes(range(100)))
    assert CardFiles(card).read(PATH, offset=10, length=5) == bytes(range(10, 15))  # type: ignore[arg-type]  # as above
    assert card.reads == [(10, 5)]


def test_shorter_than_claimed() -> None:
    """A file that ends before its claimed size is what was there."""
    card = OneFile(b"abc", claimed=1000)
    assert CardFiles(card).read(PATH) == b"abc"  # type: ignore[arg-type]  # as above
    assert len(card.reads) == 1


@pytest.mark.parametrize(
    "card",
    [
        OneFile(b"", claimed=MAX_FILE_BYTES + 1),
        OneFile(b"", claimed=0xFFFF),
        OneFile(b"", fcp_tag=0x30),
    ],
)
def test_not_a_card_file(card: OneFile) -> None:
    """A file too large, or without control parameters, is not read at all."""
    with pytest.raises(CardMisbehaved):
        CardFiles(card).read(PATH)  # type: ignore[arg-type]  # as above
    assert card.reads == []


def test_more_than_asked() -> None:
    """A card that answers more than was asked is not believed."""

    class Generous(OneFile):
        def transmit(self, command: bytes) -> bytes:
            answer = super().transmit(command)
            return answer if command[1] == 0xA4 else b"\x00" * 20 + b"\x90\x00"

    with pytest.raises(CardMisbehaved):
        CardFiles(Generous(bytes(12))).read(PATH)  # type: ignore[arg-type]  # as above
