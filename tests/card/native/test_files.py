"""Reading card files is bounded by what was asked, not by what the card says."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest

from cps_auth.card.native.chipdoc import ChipDoc
from cps_auth.card.native.driver import CardDriver
from cps_auth.card.native.files import MAX_FILE_BYTES, read_current, read_file, read_object
from cps_auth.card.native.iasecc import IasEcc
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

    def exclusive(self) -> AbstractContextManager[None]:
        """Be nobody else's."""
        return nullcontext()

    def will_verify(self) -> None:
        """Nothing is verified here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to let go of."""

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
    assert read_file(IasEcc(card), PATH) == content
    assert all(wanted <= 256 for _, wanted in card.reads)


def test_part_of_a_file() -> None:
    """A part is read without what is before and after it."""
    card = OneFile(bytes(range(100)))
    assert read_file(IasEcc(card), PATH, offset=10, length=5) == bytes(range(10, 15))
    assert card.reads == [(10, 5)]


def test_shorter_than_claimed() -> None:
    """A file that ends before its claimed size is what was there."""
    card = OneFile(b"abc", claimed=1000)
    assert read_file(IasEcc(card), PATH) == b"abc"
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
        read_file(IasEcc(card), PATH)
    assert card.reads == []


def test_more_than_asked() -> None:
    """A card that answers more than was asked is not believed."""

    class Generous(OneFile):
        def transmit(self, command: bytes) -> bytes:
            answer = super().transmit(command)
            return answer if command[1] == 0xA4 else b"\x00" * 20 + b"\x90\x00"

    with pytest.raises(CardMisbehaved):
        read_file(IasEcc(Generous(bytes(12))), PATH)


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
    assert read_file(IasEcc(card), PATH) == content


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("family", [IasEcc, ChipDoc])
def test_a_file_is_selected_either_way(protocol: int, family: type[CardDriver]) -> None:
    """A card that wants to describe every file it selects is let; the refusal is remembered."""
    card = ShortWay(b"content", b"\x90\x00", quiet=False)
    card.protocol = protocol
    driver = family(card)
    for _ in range(2):
        driver.select(PATH)
        assert read_current(driver, 2, 3) == b"nte"
        driver.select(PATH[:2])
    p2 = family.dialect.template_p2
    assert card.selects == [0x0C, p2, p2, p2, p2]


def test_a_file_that_ends_before_it_began() -> None:
    """End of file without a byte is a refusal, not an empty file: the size is asked for first."""

    class Curt(ShortWay):
        def transmit(self, command: bytes) -> bytes:
            answer = super().transmit(command)
            return answer if answer[-2:] == b"\x90\x00" else b"\x62\x82"

    content = bytes(range(101))
    assert read_file(IasEcc(Curt(content, b"\x62\x82")), PATH) == content


def test_an_object_is_read_without_padding() -> None:
    """Of a file of 4096 bytes that holds a certificate of 600 only the certificate is read."""
    content = bytes.fromhex("30820254") + bytes(0x254)
    card = ShortWay(content + bytes(3500), b"\x90\x00")
    assert read_object(IasEcc(card), PATH) == content
    assert card.reads == [(0, 256), (256, 256), (512, 88)]


@pytest.mark.parametrize("most", [16, 80, 0xE7])
@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("is_object", [True, False])
def test_a_card_that_answers_less_than_asked(most: int, protocol: int, is_object: bool) -> None:
    """A short answer with 9000 is no end of file: DER or its parameters say where it is."""

    class Sparing(OneFile):
        def transmit(self, command: bytes) -> bytes:
            answer = super().transmit(command)
            if command[1] == 0xA4:
                return b"\x90\x00" if command[3] == 0x0C else answer
            part = answer[:-2][:most]
            return part + (b"\x90\x00" if part else b"\x6b\x00")

    content = bytes.fromhex("30820254") + bytes(0x254)
    card = Sparing(content)
    card.protocol = protocol
    read = read_object if is_object else read_file
    assert read(IasEcc(card), PATH) == content


def test_dialects() -> None:
    """The two families name the same file in their own ways."""
    sent: list[str] = []

    class Listening(OneFile):
        def transmit(self, command: bytes) -> bytes:
            sent.append(command.hex())
            return super().transmit(command)

    IasEcc(Listening(b"")).describe(PATH)
    ChipDoc(Listening(b"")).describe(PATH)
    assert sent == ["00a40904043f00d00300", "01a4080002d00300"]
