"""Reading card files is bounded by what was asked, not by what the card says."""

from __future__ import annotations

import pytest

from cps_auth.card.native.dialect import CHIPDOC, IAS_ECC, Dialect
from cps_auth.card.native.files import MAX_FILE_BYTES, CardFiles
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
    assert CardFiles(card, IAS_ECC).read(PATH) == content  # type: ignore[arg-type]  # what a read needs
    assert all(wanted <= 256 for _, wanted in card.reads)


def test_part_of_a_file() -> None:
    """A part is read without what is before and after it."""
    card = OneFile(bytes(range(100)))
    assert CardFiles(card, IAS_ECC).read(PATH, offset=10, length=5) == bytes(range(10, 15))  # type: ignore[arg-type]  # as above
    assert card.reads == [(10, 5)]


def test_shorter_than_claimed() -> None:
    """A file that ends before its claimed size is what was there."""
    card = OneFile(b"abc", claimed=1000)
    assert CardFiles(card, IAS_ECC).read(PATH) == b"abc"  # type: ignore[arg-type]  # as above
    assert card.reads == [(0, 256)]


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
        CardFiles(card, IAS_ECC).read(PATH)  # type: ignore[arg-type]  # as above
    assert card.reads == []


def test_more_than_asked() -> None:
    """A card that answers more than was asked is not believed."""

    class Generous(OneFile):
        def transmit(self, command: bytes) -> bytes:
            answer = super().transmit(command)
            return answer if command[1] == 0xA4 else b"\x00" * 20 + b"\x90\x00"

    with pytest.raises(CardMisbehaved):
        CardFiles(Generous(bytes(12)), IAS_ECC).read(PATH)  # type: ignore[arg-type]  # as above


class ShortWay(OneFile):
    """A T=0 card: SELECT returns nothing, and reading past the end is answered somehow."""

    protocol = 0

    def __init__(self, content: bytes, past_the_end: bytes, *, quiet: bool = True) -> None:
        super().__init__(content)
        self._past_the_end = past_the_end
        self._quiet = quiet
        self.selects: list[int] = []

    def transmit(self, command: bytes) -> bytes:
        """Serve SELECT without data, or refuse it; say `past_the_end` where it applies."""
        if command[1] == 0xA4:
            self.selects.append(command[3])
            if command[3] == 0x0C:
                return b"\x90\x00" if self._quiet else b"\x6a\x86"
            return self._fcp + b"\x90\x00"
        offset, wanted = int.from_bytes(command[2:4], "big"), command[4] or 256
        if offset + wanted <= len(self._content):
            return super().transmit(command)
        self.reads.append((offset, wanted))
        left = len(self._content) - offset
        if self._past_the_end == b"\x6c":
            return b"\x6c" + bytes((left,)) if left else b"\x6b\x00"
        part = b"" if self._past_the_end[0] == 0x67 else self._content[offset:]
        return part + (self._past_the_end if part or left else b"\x6b\x00")


@pytest.mark.parametrize("size", [1, 12, 231, 256, 257, 512, 2103])
@pytest.mark.parametrize("past_the_end", ["9000", "6282", "6C", "6700"])
@pytest.mark.parametrize("quiet", [True, False])
def test_every_card_has_a_way(size: int, past_the_end: str, quiet: bool) -> None:
    """However a card answers a read past the end, or a SELECT without data, the file is read."""
    content = bytes(n % 251 for n in range(size))
    card = ShortWay(content, bytes.fromhex(past_the_end), quiet=quiet)
    assert CardFiles(card, IAS_ECC).read(PATH) == content  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("kind", [IAS_ECC, CHIPDOC])
def test_a_file_is_selected_either_way(protocol: int, kind: Dialect) -> None:
    """A card that wants to describe every file it selects is let; the refusal is remembered."""
    card = ShortWay(b"content", b"\x90\x00", quiet=False)
    card.protocol = protocol
    files = CardFiles(card, kind)  # type: ignore[arg-type]  # as above
    for _ in range(2):
        files.select(PATH)
        assert files.read_current(2, 3) == b"nte"
    assert card.selects == [0x0C, kind.template_p2, kind.template_p2]


def test_a_file_that_ends_before_it_began() -> None:
    """End of file without a byte is a refusal, not an empty file: the size is asked for first."""

    class Curt(ShortWay):
        def transmit(self, command: bytes) -> bytes:
            answer = super().transmit(command)
            return answer if answer[-2:] == b"\x90\x00" else b"\x62\x82"

    content = bytes(range(101))
    assert CardFiles(Curt(content, b"\x62\x82"), IAS_ECC).read(PATH) == content  # type: ignore[arg-type]  # as above


def test_an_object_is_read_without_padding() -> None:
    """Of a file of 4096 bytes that holds a certificate of 600 only the certificate is read."""
    content = bytes.fromhex("30820254") + bytes(0x254)
    card = ShortWay(content + bytes(3500), b"\x90\x00")
    assert CardFiles(card, IAS_ECC).read_object(PATH) == content  # type: ignore[arg-type]  # as above
    assert card.reads == [(0, 256), (256, 256), (512, 88)]


def test_dialects() -> None:
    """The two families name the same file in their own ways."""
    assert IAS_ECC.describe(PATH).encode(0).hex() == "00a40904043f00d003"
    assert CHIPDOC.describe(PATH).encode(1).hex() == "01a4080002d00300"
