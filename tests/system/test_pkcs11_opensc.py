"""Log in through OpenSC's PKCS#11 module with the virtual CPS3 behind the real pcscd."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cps_auth.card.open import open_cards
from cps_auth.errors import (
    CardRemoved,
    LastAttempt,
    NoCard,
    NoReader,
    PinBlocked,
    ReaderServiceLost,
    UnsupportedCard,
    WrongPin,
)
from cps_auth.login.challenge import issue_challenge
from cps_auth.model import CardKind, Challenge

pytestmark = pytest.mark.system

OPENSC = Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so")


@pytest.fixture
def challenge() -> Challenge:
    """A fresh challenge."""
    return issue_challenge("https://cabinet.example", at=datetime.now(UTC))


def test_the_same_holder_as_natively(private_pcscd, challenge) -> None:
    """OpenSC finds the certificate that we find without it, and its key signs."""
    inserted = private_pcscd.insert("cps3", "doctor")
    with open_cards().open_card() as native:
        expected = native.read_authentication_certificate()
    with open_cards(OPENSC).open_card() as card:
        assert card.description.kind is CardKind.VENDOR_MODULE
        assert card.description.reader == inserted.reader
        assert card.read_authentication_certificate() == expected
        card.prove(bytearray(b"1234"), challenge)
