"""From a command APDU to its answer: parsing, chaining, dispatch, GET RESPONSE."""

from __future__ import annotations

from collections.abc import Container

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.command import CHAINING, GET_RESPONSE, Command, parse_t0, parse_t1
from hardware_mocks.card.content import cps2ter
from hardware_mocks.card.content.contents import CardContents
from hardware_mocks.card.session import new_session

_HEADER_BYTES = 4
_CHAINABLE = frozenset({0x2A})
_CLASSES = frozenset({0x00, 0x01, CHAINING, CHAINING | 0x01})  # channels 0 and 1, chained or not
_CHAIN_MAX_BYTES = 1024  # inferred; a cryptogram is 257


class ApduEngine:
    """One powered card. Power-off is the end of it."""

    def __init__(self, contents: CardContents, protocol: int) -> None:
        """Power a card up under T=0 or T=1."""
        self._commands = contents.dialect.commands
        self._session = new_session(contents)
        old = contents.cps2ter_volume
        self._volume = None if old is None else cps2ter.Cps2terVolume(self._session, old)
        self._protocol = protocol
        self._waiting = b""  # for GET RESPONSE
        self._chain: tuple[tuple[int, int, int], bytes] | None = None  # header, data so far

    def answer(self, unverified_command: bytes) -> bytes:
        """Return data and status word for any byte string."""
        parse = parse_t1 if self._protocol else parse_t0
        try:
            self._check_header(unverified_command)
            data, status_word = self._answer(parse(unverified_command))
        except sw.Refusal as refusal:
            self._drop_unfinished()
            data, status_word = b"", refusal.status_word
        return data + status_word.to_bytes(2)

    @property
    def verified(self) -> frozenset[int]:
        """References of the PINs that count as presented now."""
        return frozenset(self._session.verified)

    def _check_header(self, command: bytes) -> None:
        """Class and instruction come first: a T=0 card sees nothing else before it answers."""
        if len(command) < _HEADER_BYTES:
            raise sw.Refusal(sw.WRONG_LENGTH)
        cla, ins = command[:2]
        if cla == cps2ter.CLASS and self._volume is not None:
            known: Container[int] = cps2ter.INSTRUCTIONS
        elif cla in _CLASSES:
            known = {*self._commands, GET_RESPONSE}
        else:
            raise sw.Refusal(sw.UNKNOWN_CLA)
        if ins not in known:
            raise sw.Refusal(sw.UNKNOWN_INS)

    def _answer(self, command: Command) -> tuple[bytes, int]:
        if command.cla == cps2ter.CLASS and self._volume is not None:
            self._waiting, self._chain = b"", None
            return self._volume.answer(command)
        if self._volume is not None:
            self._volume.drop_waiting()
        if command.ins == GET_RESPONSE:
            return self._next_part(command)
        self._waiting = b""
        whole = self._unchained(command)
        if whole is None:
            return b"", sw.OK
        response = self._commands[command.ins](self._session, whole)
        return self._first_part(response, whole.le)

    def _drop_unfinished(self) -> None:
        self._waiting, self._chain = b"", None
        if self._volume is not None:
            self._volume.drop_waiting()

    def _unchained(self, command: Command) -> Command | None:
        """Return the command with the data of its whole chain; None while more is to come."""
        if command.is_chained and command.ins not in _CHAINABLE:
            raise sw.Refusal(sw.CHAINING_NOT_SUPPORTED)
        before, self._chain = self._chain, None
        header = (command.cla & ~CHAINING, command.ins, command.p1p2)
        same = before is not None and before[0] == header
        data = (before[1] if before is not None and same else b"") + command.data
        if len(data) > _CHAIN_MAX_BYTES:
            raise sw.Refusal(sw.WRONG_LENGTH)
        if command.is_chained:
            self._chain = (header, data)
            return None
        return Command(command.cla, command.ins, command.p1, command.p2, data, command.le)

    def _first_part(self, response: bytes, le: int | None) -> tuple[bytes, int]:
        """Under T=0 the answer to a command with data waits for GET RESPONSE.

        Under T=1 a host that sends no Le wants no data, and gets none (inferred).
        """
        if le is None and self._protocol == 1:
            return b"", sw.OK
        now = response[: le or 0]
        self._waiting = response[len(now) :]
        return now, self._status()

    def _next_part(self, command: Command) -> tuple[bytes, int]:
        if command.p1p2 != 0:
            raise sw.Refusal(sw.WRONG_P1P2)
        if not self._waiting:
            raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
        wanted = command.le or 256
        if wanted > len(self._waiting) and wanted != 256:
            return b"", sw.WRONG_LE | len(self._waiting)
        part, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        return part, self._status()

    def _status(self) -> int:
        """61xx while something waits, 6100 for 256 bytes or more."""
        left = len(self._waiting)
        return sw.MORE_DATA | (left if left < 256 else 0) if left else sw.OK
