"""The volume of the old card, CPS2ter, on a CPS3: class A0 (facts, section 6.7; T=0 only).

Its answers are those of GSM 11.11: 9Fxx for what waits, 94xx and 98xx for refusals. What it
reads, it reads only after the code porteur, which is presented on the other side.
"""

from __future__ import annotations

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.ber import tlv
from hardware_mocks.card.command import GET_RESPONSE, Command
from hardware_mocks.card.content.file_system import (
    MASTER_FILE,
    USER_PIN,
    DedicatedFile,
    ElementaryFile,
    file_rules,
)
from hardware_mocks.card.session import USER_PIN_REFERENCE, Session

CLASS = 0xA0
BILLING_FID = 0x4000  # CPS_SIT_FACT
FIRST_ACTIVITY_FID = 0x4010  # CPS2TER_ACTIVITY_01_PS
_DIRECTORY_FID = 0x7F01
_SELECT, _READ_BINARY = 0xA4, 0xB0
INSTRUCTIONS = frozenset({_SELECT, _READ_BINARY, GET_RESPONSE})
_WAITING, _NOT_FOUND, _PIN_NEEDED, _PIN_BLOCKED, _NO_FILE = 0x9F00, 0x9404, 0x9804, 0x9840, 0x9400
_MF, _DF, _EF = 1, 2, 4  # type byte of the description


def volume(billing: bytes, activities: dict[int, bytes]) -> DedicatedFile:
    """Return the volume's master file: 7F01/4000 and, beside 7F01, the activities.

    Args:
        billing: content of CPS_SIT_FACT.
        activities: content of each CPS2TER_ACTIVITY_nn_PS by nn, from 1.
    """
    directory = DedicatedFile(_DIRECTORY_FID, children=[_file(BILLING_FID, billing)])
    files = [
        _file(FIRST_ACTIVITY_FID + number - 1, content) for number, content in activities.items()
    ]
    return DedicatedFile(MASTER_FILE, children=[directory, *files])


def _file(fid: int, content: bytes) -> ElementaryFile:
    return ElementaryFile(fid, bytearray(content), rules=file_rules(read=USER_PIN))


class Cps2terVolume:
    """The volume while the card has power: what is selected in it, and what waits."""

    def __init__(self, session: Session, root: DedicatedFile) -> None:
        """Begin at the volume's master file.

        Args:
            session: of the card, for the PIN.
            root: what `volume` returned.
        """
        self._session = session
        self._root = root
        self._current: DedicatedFile | ElementaryFile = root
        self._waiting = b""

    def drop_waiting(self) -> None:
        """Forget what waits: a command of another class came in between."""
        self._waiting = b""

    def answer(self, command: Command) -> tuple[bytes, int]:
        """Return data and status word of one command of class A0, one of INSTRUCTIONS.

        Raises:
            Refusal: any status word that is not a success.
        """
        waiting, self._waiting = self._waiting, b""
        if command.ins == GET_RESPONSE:
            return _described(command, waiting), sw.OK
        if command.ins == _SELECT:
            return self._select(command)
        return self._read(command), sw.OK

    def _select(self, command: Command) -> tuple[bytes, int]:
        if command.p1p2 != 0:
            raise sw.Refusal(sw.OFFSET_OUTSIDE)  # 6B00: to GSM 11.11, wrong parameters
        if len(command.data) != 2:
            raise sw.Refusal(sw.WRONG_LENGTH)
        self._current = self._find(int.from_bytes(command.data))
        self._waiting = _description(self._current)
        return b"", _WAITING | len(self._waiting)

    def _find(self, fid: int) -> DedicatedFile | ElementaryFile:
        if fid == MASTER_FILE:
            return self._root
        here = self._current
        directory = here if isinstance(here, DedicatedFile) else self._root.parent_of(here)
        found = directory.child(fid)
        if found is None:
            raise sw.Refusal(_NOT_FOUND)
        return found

    def _read(self, command: Command) -> bytes:
        if not isinstance(self._current, ElementaryFile):
            raise sw.Refusal(_NO_FILE)
        if USER_PIN_REFERENCE not in self._session.verified:
            blocked = self._session.contents.pins[USER_PIN_REFERENCE].is_blocked
            raise sw.Refusal(_PIN_BLOCKED if blocked else _PIN_NEEDED)
        content = self._current.content
        if command.p1p2 >= max(len(content), 1):
            raise sw.Refusal(sw.OFFSET_OUTSIDE)
        return bytes(content[command.p1p2 : command.p1p2 + (command.le or 256)])


def _description(file: DedicatedFile | ElementaryFile) -> bytes:
    """`85 0D`, size, identifier, type, eight zeros."""
    size = len(file.content) if isinstance(file, ElementaryFile) else 0
    kind = _EF if isinstance(file, ElementaryFile) else _MF if file.fid == MASTER_FILE else _DF
    return tlv(0x85, size.to_bytes(2), file.fid.to_bytes(2), bytes([kind]), bytes(8))


def _described(command: Command, waiting: bytes) -> bytes:
    if command.p1p2 != 0:
        raise sw.Refusal(sw.OFFSET_OUTSIDE)
    if not waiting or (command.le or 256) > len(waiting):
        raise sw.Refusal(sw.WRONG_LENGTH)
    return waiting[: command.le]
