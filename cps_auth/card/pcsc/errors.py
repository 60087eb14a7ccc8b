"""What the return codes of PC/SC mean to a person. Pure: one table, no library.

Source of the values: [MS-ERREF] section 2.1.1 facility 0x010 (SCARD), as in pcsc-lite's
pcsclite.h.
"""

from __future__ import annotations

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

SUCCESS = 0x00000000
CANCELLED = 0x80100002
INVALID_HANDLE = 0x80100003
UNKNOWN_READER = 0x80100009
TIMEOUT = 0x8010000A
NO_READERS_AVAILABLE = 0x8010002E
RESET_CARD = 0x80100068

_REFUSED = 0x8010006A  # SECURITY_VIOLATION: polkit said no. Elsewhere, pcscd died with us in it
_BUSY = 0x8010000B  # SHARING_VIOLATION
_NO_CARD = 0x8010000C  # NO_SMARTCARD
_READER_UNAVAILABLE = 0x80100017
_REMOVED_CARD = 0x80100069

_NOT_TRANSACTED = 0x80100016

_GONE = frozenset(
    {
        _REMOVED_CARD,
        RESET_CARD,  # in the middle of a transaction: power was lost
        0x80100067,  # UNPOWERED_CARD
        _NOT_TRANSACTED,  # the exchange broke off, what pcscd says of a pulled card
        _NO_CARD,
        UNKNOWN_READER,
        _READER_UNAVAILABLE,
    }
)
_ASKS_POLKIT = frozenset({"SCardEstablishContext", "SCardConnect"})
_CARD = frozenset(
    {
        0x8010000F,  # PROTO_MISMATCH
        0x80100015,  # INVALID_ATR
        0x80100019,  # PCI_TOO_SMALL
        0x8010001C,  # CARD_UNSUPPORTED
        0x8010002F,  # COMM_DATA_LOST
        0x80100065,  # UNSUPPORTED_CARD
        0x80100066,  # UNRESPONSIVE_CARD
        0x80100008,  # INSUFFICIENT_BUFFER: an answer longer than any APDU
    }
)


def unsigned(code: int) -> int:
    """Return a code as the tables have it; pyscard gives some as negative numbers."""
    return code & 0xFFFFFFFF


def service_error(code: int, call: str) -> CpsAuthError:
    """Return the error for a failed call about the service or about all readers."""
    code = unsigned(code)
    refused = code == _REFUSED and call in _ASKS_POLKIT
    return (ReaderServiceRefused if refused else ReaderServiceLost)(f"{call}: {code:08X}")


def card_error(code: int, call: str) -> CpsAuthError:
    """Return the error for a failed call about a card in use.

    What is not known to be about the card is taken for a lost service: the answer that locks.
    """
    code = unsigned(code)
    if code in _GONE:
        return CardRemoved()
    if code == _BUSY:
        return CardBusy()
    if code in _CARD:
        return CardMisbehaved(f"{call}: {code:08X}")
    return service_error(code, call)


def control_error(code: int) -> CpsAuthError:
    """Return the error for a failed SCardControl: most readers know no command of their own."""
    code = unsigned(code)
    return (
        CardRemoved()
        if code in _GONE - {_NOT_TRANSACTED}
        else CardMisbehaved(f"SCardControl: {code:08X}")
    )


def connect_error(code: int, reader: str) -> CpsAuthError:
    """Return the error for a failed SCardConnect."""
    code = unsigned(code)
    if code in (UNKNOWN_READER, _READER_UNAVAILABLE):
        return NoReader(reader)
    if code in (_NO_CARD, _REMOVED_CARD):
        return NoCard()
    return card_error(code, "SCardConnect")
