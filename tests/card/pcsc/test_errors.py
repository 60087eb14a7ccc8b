"""PC/SC return codes, as a person meets them."""

from __future__ import annotations

import pytest

from cps_auth.card.pcsc.errors import (
    CODES,
    card_error,
    connect_error,
    control_error,
    service_error,
    unsigned,
)
from cps_auth.errors import (
    CardBusy,
    CardMisbehaved,
    CardRemoved,
    CpsAuthError,
    NoCard,
    NoReader,
    ReaderServiceLost,
    ReaderServiceRefused,
)
from cps_auth.wording import LANGUAGES, explain


@pytest.mark.parametrize(
    ("code", "in_use", "connecting"),
    [
        (0x80100069, CardRemoved, NoCard),  # REMOVED_CARD
        (0x80100068, CardRemoved, CardRemoved),  # RESET_CARD
        (0x80100016, CardRemoved, CardRemoved),  # NOT_TRANSACTED
        (0x8010000C, CardRemoved, NoCard),  # NO_SMARTCARD
        (0x80100009, CardRemoved, NoReader),  # UNKNOWN_READER
        (0x80100017, CardRemoved, NoReader),  # READER_UNAVAILABLE
        (0x8010000B, CardBusy, CardBusy),  # SHARING_VIOLATION
        (0x80100066, CardMisbehaved, CardMisbehaved),  # UNRESPONSIVE_CARD
        (0x8010000F, CardMisbehaved, CardMisbehaved),  # PROTO_MISMATCH
        (0x8010001D, ReaderServiceLost, ReaderServiceLost),  # NO_SERVICE
        (0x80100013, ReaderServiceLost, ReaderServiceLost),  # COMM_ERROR: pcscd died
        (0x80100003, ReaderServiceLost, ReaderServiceLost),  # INVALID_HANDLE: another pcscd
        (0x8010006A, ReaderServiceLost, ReaderServiceRefused),  # SECURITY_VIOLATION: polkit
        (0xDEADBEEF, ReaderServiceLost, ReaderServiceLost),  # nobody knows
    ],
)
def test_codes(code: int, in_use: type[CpsAuthError], connecting: type[CpsAuthError]) -> None:
    """Each code has its error, also when it comes as a negative number."""
    for written in (code, code - 0x100000000):
        assert type(card_error(written, "SCardTransmit")) is in_use
        assert type(connect_error(written, "reader")) is connecting
    assert unsigned(code - 0x100000000) == code


def test_a_refusal_by_polkit() -> None:
    """Asked when a program connects to the service; later the same code is a pcscd that died."""
    refused = service_error(0x8010006A, "SCardEstablishContext")
    assert type(refused) is ReaderServiceRefused
    assert refused.data() == {
        "reason": "SCardEstablishContext: 8010006A SCARD_W_SECURITY_VIOLATION"
    }
    assert type(service_error(0x8010006A, "SCardListReaders")) is ReaderServiceLost


def test_errors_say_what_was_called() -> None:
    """The log learns the call and the code."""
    error = service_error(0x8010001D - 0x100000000, "SCardEstablishContext")
    assert error.data() == {
        "reason": "SCardEstablishContext: 8010001D SCARD_E_NO_SERVICE",
        "cause": "not-running",
    }
    assert connect_error(0x80100009, "reader").data() == {"reader": "reader", "devices": ()}


@pytest.mark.parametrize("code", CODES, ids=lambda code: CODES[code].name)
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_refusal_has_its_words(code: int, language: str) -> None:
    """Whatever PC/SC says, each call has an error with words and a next step, and no other name."""
    for error in (
        service_error(code, "SCardEstablishContext"),
        service_error(code, "SCardGetStatusChange"),
        connect_error(code, "reader"),
        card_error(code, "SCardTransmit"),
        control_error(code),
    ):
        words = explain(error, language)
        assert words.happened
        assert words.to_do
        cause = str(error.data().get("cause", ""))
        if cause and cause != "no-answer":
            assert words != explain(type(error)(""), language)  # type: ignore[call-arg]  # has data


def test_what_is_different_is_told_apart() -> None:
    """Not authorised, not running, too many, busy, unpowered, mute, unsupported: each its words."""
    words = {
        explain(error, "en").text
        for error in (
            service_error(0x8010006A, "SCardEstablishContext"),
            service_error(0x8010001D, "SCardEstablishContext"),
            service_error(0x80100006, "SCardEstablishContext"),
            service_error(0x8010000A, "SCardEstablishContext"),
            connect_error(0x8010000B, "reader"),
            connect_error(0x80100067, "reader"),
            connect_error(0x80100066, "reader"),
            connect_error(0x80100065, "reader"),
            connect_error(0x80100069, "reader"),
            connect_error(0x80100009, "reader"),
        )
    }
    assert len(words) == 10
