"""PAM's question looks at the card, and leaves other programs' sessions on it alive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.opensc import needs_login
from tests.system.neighbours import OpenSc
from tests.system.test_pcsc import OtherProgram

pytestmark = pytest.mark.system

PASSWORD = "no four digits"
"""An answer that is not for the card: the question alone reaches it."""


@pytest.fixture
def reader(enrolled: Any, private_pcscd: Any) -> str:
    """The reader that holds the enrolled card."""
    del enrolled
    (name,) = [one for one in private_pcscd.readers if one.endswith("00 00")]
    return name


@pytest.fixture
def opensc(enrolled: Any, private_pcscd: Any) -> Iterator[OpenSc]:
    """OpenSC's session on the enrolled card."""
    del enrolled
    neighbour = OpenSc(private_pcscd.env)
    yield neighbour
    neighbour.close()


def _ask(pc: Any) -> None:
    """Put PAM's question about the card that is there, and give it no PIN."""
    played = pc.pam(PASSWORD)
    assert played["said"][0] == ["prompt", "Card code (3 tries): "], "the card was looked at"


@needs_login
def test_opensc_signs_again_after_the_question(enrolled: Any, opensc: OpenSc) -> None:
    """Its session is alive, its PIN still verified, without asking for it again."""
    assert opensc.sign() == "signed 256"
    _ask(enrolled)
    assert opensc.sign() == "signed 256"


def test_a_verified_pin_outlives_the_question(enrolled: Any, reader: str) -> None:
    """A neighbour of ours that holds one, over PC/SC alone, is not reset."""
    neighbour = OtherProgram(reader)
    try:
        assert neighbour.transmit(bytes.fromhex("0020000104") + b"1234") == b"\x90\x00"
        _ask(enrolled)
        assert neighbour.transmit(bytes.fromhex("0020000100")) == b"\x90\x00"
    finally:
        neighbour.close()
