"""The return codes of PC/SC as errors for a person. Pure: one table, no library.

The words and the next step of each error are in `cps_auth.wording`, by class and by cause.

Source of the values: [MS-ERREF] section 2.1.1 facility 0x010 (SCARD), as in pcsc-lite's
pcsclite.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from cps_auth.errors import (
    CardBusy,
    CardMisbehaved,
    CardRemoved,
    CpsAuthError,
    NoCard,
    NoReader,
    ReaderServiceLost,
    ReaderServiceRefused,
    UnsupportedCard,
)

SUCCESS: Final = 0x00000000
CANCELLED: Final = 0x80100002
INVALID_HANDLE: Final = 0x80100003
UNKNOWN_READER: Final = 0x80100009
TIMEOUT: Final = 0x8010000A
SHARING_VIOLATION: Final = 0x8010000B
NO_READERS_AVAILABLE: Final = 0x8010002E
RESET_CARD: Final = 0x80100068

OF_ONE_NAME: Final = frozenset({UNKNOWN_READER, 0x80100004, 0x80100011, 0x80100017})
"""What SCardGetStatusChange says of one name: unknown, invalid (twice), unavailable."""

NOT_LET_IN: Final = 0x8010006A
MAYBE_NOT_LET_IN: Final = frozenset({0x80100013, 0x8010001D})
"""What SCardEstablishContext also says where polkit said no, by how far both sides had come."""

_NOT_TRANSACTED: Final = 0x80100016

Meaning = Callable[[str], CpsAuthError]
"""Makes the error, given the call and the code in words for the log."""


def _removed(_said: str) -> CpsAuthError:
    return CardRemoved()


def _busy(_said: str) -> CpsAuthError:
    return CardBusy()


def _unsupported(_said: str) -> CpsAuthError:
    return UnsupportedCard()


def _no_card(_said: str) -> CpsAuthError:
    return NoCard()


def _no_reader(_said: str) -> CpsAuthError:
    return NoReader()


def _refused(said: str) -> CpsAuthError:
    return ReaderServiceRefused(said)


def _lost(said: str, cause: str = "") -> CpsAuthError:
    return ReaderServiceLost(said, cause)


def _misbehaved(said: str, cause: str = "") -> CpsAuthError:
    return CardMisbehaved(said, cause=cause)


# Each cause has words of its own in cps_auth.wording
_not_running = partial(_lost, cause="not-running")
_no_answer = partial(_lost, cause="no-answer")
_too_many = partial(_lost, cause="too-many")
_mute = partial(_misbehaved, cause="mute")
_unpowered = partial(_misbehaved, cause="unpowered")


class Row(NamedTuple):
    """One return code.

    Attributes:
        name: as in pcsclite.h.
        in_use: what it means of a card in use, or of the service.
        connecting: what SCardConnect means by it, where that differs.
    """

    name: str
    in_use: Meaning
    connecting: Meaning | None = None


CODES: Final[Mapping[int, Row]] = {
    0x80100001: Row("SCARD_F_INTERNAL_ERROR", _lost),
    CANCELLED: Row("SCARD_E_CANCELLED", _lost),
    INVALID_HANDLE: Row("SCARD_E_INVALID_HANDLE", _lost),  # another pcscd runs now
    0x80100006: Row("SCARD_E_NO_MEMORY", _too_many),  # pcscd: "Too many handles"
    0x80100008: Row("SCARD_E_INSUFFICIENT_BUFFER", _misbehaved),  # longer than any APDU
    UNKNOWN_READER: Row("SCARD_E_UNKNOWN_READER", _removed, _no_reader),
    TIMEOUT: Row("SCARD_E_TIMEOUT", _no_answer),
    SHARING_VIOLATION: Row("SCARD_E_SHARING_VIOLATION", _busy),
    0x8010000C: Row("SCARD_E_NO_SMARTCARD", _removed, _no_card),
    0x8010000F: Row("SCARD_E_PROTO_MISMATCH", _misbehaved),
    0x80100010: Row("SCARD_E_NOT_READY", _unpowered),
    0x80100013: Row("SCARD_F_COMM_ERROR", _lost),  # pcscd died with us in it
    0x80100015: Row("SCARD_E_INVALID_ATR", _mute),
    _NOT_TRANSACTED: Row("SCARD_E_NOT_TRANSACTED", _removed),  # what pcscd says of a pulled card
    0x80100017: Row("SCARD_E_READER_UNAVAILABLE", _removed, _no_reader),
    0x80100019: Row("SCARD_E_PCI_TOO_SMALL", _misbehaved),
    0x8010001C: Row("SCARD_E_CARD_UNSUPPORTED", _unsupported),
    0x8010001D: Row("SCARD_E_NO_SERVICE", _not_running),
    0x8010001E: Row("SCARD_E_SERVICE_STOPPED", _not_running),
    NO_READERS_AVAILABLE: Row("SCARD_E_NO_READERS_AVAILABLE", _no_reader),
    0x8010002F: Row("SCARD_E_COMM_DATA_LOST", _misbehaved),
    0x80100065: Row("SCARD_W_UNSUPPORTED_CARD", _unsupported),
    0x80100066: Row("SCARD_W_UNRESPONSIVE_CARD", _mute),
    0x80100067: Row("SCARD_W_UNPOWERED_CARD", _unpowered),
    RESET_CARD: Row("SCARD_W_RESET_CARD", _removed),  # power was lost in a transaction
    0x80100069: Row("SCARD_W_REMOVED_CARD", _removed, _no_card),
    # polkit said no, where a program connects; elsewhere pcscd died with us in it
    NOT_LET_IN: Row("SCARD_W_SECURITY_VIOLATION", _lost, _refused),
}
"""Every code that says something of its own. Any other is a lost service: the answer that locks."""

_OTHER: Final = Row("unknown", _lost)
_POLKIT_IS_ASKED: Final = frozenset({"SCardEstablishContext", "SCardConnect"})
_SERVICE_ERRORS: Final = (ReaderServiceLost, ReaderServiceRefused)


def unsigned(code: int) -> int:
    """Return a code as the tables have it; pyscard gives some as negative numbers."""
    return code & 0xFFFFFFFF


def _said(code: int, call: str) -> str:
    return f"{call}: {code:08X} {CODES.get(code, _OTHER).name}"


def service_error(code: int, call: str) -> CpsAuthError:
    """Return the error for a failed call about the service or about all readers."""
    code = unsigned(code)
    row = CODES.get(code, _OTHER)
    meaning = row.connecting if row.connecting and call in _POLKIT_IS_ASKED else row.in_use
    error = meaning(_said(code, call))
    return error if isinstance(error, _SERVICE_ERRORS) else _lost(_said(code, call))


def card_error(code: int, call: str) -> CpsAuthError:
    """Return the error for a failed call about a card in use."""
    code = unsigned(code)
    return CODES.get(code, _OTHER).in_use(_said(code, call))


def connect_error(code: int, reader: str) -> CpsAuthError:
    """Return the error for a failed SCardConnect."""
    code = unsigned(code)
    row = CODES.get(code, _OTHER)
    error = (row.connecting or row.in_use)(_said(code, "SCardConnect"))
    return NoReader(reader) if isinstance(error, NoReader) else error


def control_error(code: int) -> CpsAuthError:
    """Return the error for a failed SCardControl: most readers know no command of their own."""
    code = unsigned(code)
    error = CODES.get(code, _OTHER).in_use(_said(code, "SCardControl"))
    is_gone = isinstance(error, CardRemoved) and code != _NOT_TRANSACTED
    return error if is_gone else CardMisbehaved(_said(code, "SCardControl"))
