"""The part of pyscard's wrapper of the PC/SC C API that cps_auth.card.pcsc.service uses."""

# The names are those of PC/SC:
# ruff: noqa: N802, N803

from collections.abc import Sequence
from typing import Final

INFINITE: Final[int]

SCARD_SCOPE_SYSTEM: Final[int]

SCARD_SHARE_EXCLUSIVE: Final[int]
SCARD_SHARE_SHARED: Final[int]
SCARD_PROTOCOL_T0: Final[int]
SCARD_PROTOCOL_T1: Final[int]
SCARD_PCI_T0: Final[int]
SCARD_PCI_T1: Final[int]

SCARD_LEAVE_CARD: Final[int]
SCARD_RESET_CARD: Final[int]
SCARD_UNPOWER_CARD: Final[int]

SCARD_STATE_UNAWARE: Final[int]
SCARD_STATE_IGNORE: Final[int]
SCARD_STATE_UNKNOWN: Final[int]
SCARD_STATE_UNAVAILABLE: Final[int]
SCARD_STATE_EMPTY: Final[int]
SCARD_STATE_PRESENT: Final[int]
SCARD_STATE_MUTE: Final[int]

def SCardEstablishContext(dwScope: int, /) -> tuple[int, int]: ...
def SCardReleaseContext(hcontext: int, /) -> int: ...
def SCardListReaders(hcontext: int, readergroups: Sequence[str], /) -> tuple[int, list[str]]: ...
def SCardGetStatusChange(
    hcontext: int, dwTimeout: int, readerstatelist: Sequence[tuple[str, int]], /
) -> tuple[int, list[tuple[str, int, list[int]]]]: ...
def SCardCancel(hcontext: int, /) -> int: ...
def SCardConnect(
    hcontext: int, readername: str, dwShareMode: int, dwPreferredProtocols: int, /
) -> tuple[int, int, int]: ...
def SCardReconnect(
    hcard: int, dwShareMode: int, dwPreferredProtocols: int, dwInitialization: int, /
) -> tuple[int, int]: ...
def SCardDisconnect(hcard: int, dwDisposition: int, /) -> int: ...
def SCardBeginTransaction(hcard: int, /) -> int: ...
def SCardEndTransaction(hcard: int, dwDisposition: int, /) -> int: ...
def SCardTransmit(
    hcard: int, pioSendPci: int, apducommand: Sequence[int], /
) -> tuple[int, list[int]]: ...
def SCardControl(
    hcard: int, controlcode: int, inbuffer: Sequence[int], /
) -> tuple[int, list[int]]: ...
def SCardGetErrorMessage(errorcode: int, /) -> str: ...
def SCardStatus(hcard: int, /) -> tuple[int, str, int, int, list[int]]: ...
