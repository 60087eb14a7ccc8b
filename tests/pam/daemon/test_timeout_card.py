"""A card that does not answer in time: the client is told, once, and nothing comes of it later."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import pytest

from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.source import NativeCards
from hardware_mocks.card.virtual_card import VirtualCard
from pam_helper.daemon.answering import answer
from pam_helper.daemon.authority import Authority
from pam_helper.daemon.card_worker import CardWorker
from pam_helper.daemon.protocol import Peer

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import

DEADLINE_S = 10.0


class SlowCards(NativeCards):
    """Cards that are found only when they are let go."""

    def __init__(self, cards: NativeCards) -> None:
        self._cards = cards
        self.begun, self.go_on = threading.Event(), threading.Event()

    def open_card(self, reader: str | None = None) -> NativeCard:
        """Wait, then open the card as ever."""
        self.begun.set()
        assert self.go_on.wait(DEADLINE_S)
        return self._cards.open_card(reader)


@pytest.fixture
def card(pc: CabinetPc) -> VirtualCard:
    """The doctor's card, inserted."""
    return pc.insert("doctor")


@pytest.fixture
def slow(pc: CabinetPc, card: VirtualCard) -> SlowCards:
    """The cabinet's cards, slowed down."""
    assert card
    assert isinstance(pc.authority._cards, NativeCards)
    return SlowCards(pc.authority._cards)


def _with(authority: Authority, **parts: object) -> Authority:
    """Return the same authority with other parts."""
    other = copy(authority)
    for name, part in parts.items():
        setattr(other, name, part)
    return other


@contextmanager
def _asked(
    authority: Authority, request: bytes
) -> Iterator[tuple[socket.socket, threading.Thread]]:
    """Send one request; yield the client's end, and the thread that serves it."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    peer = Peer(os.getpid(), 0)

    def serve() -> None:
        with theirs:
            answer(theirs, peer, authority, "en")

    with ours:
        ours.sendall(request)
        thread = threading.Thread(target=serve)
        thread.start()
        yield ours, thread
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("verb", ["verify", "last"])
def test_the_client_is_told_while_the_card_is_stuck(
    pc: CabinetPc, slow: SlowCards, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    """One refusal, one audit line, the end of the connection; a later success changes nothing."""
    authority = _with(pc.authority, _cards=slow, _worker=CardWorker(1, 0.2))
    secret = b"\x041234"
    with (
        caplog.at_level(logging.INFO),
        _asked(authority, f"cps1 {verb} root login\n".encode() + secret) as (client, thread),
    ):
        assert slow.begun.wait(DEADLINE_S)
        said = client.makefile("rb").read()
        assert thread.is_alive()
        first = said.removeprefix(b"PAM_AUTHINFO_UNAVAIL alive - -\n").split(b"\n")[0]
        assert first.split()[1] == b"card-busy"
        slow.go_on.set()
    audit = [one.getMessage() for one in caplog.records if one.name == "cps_auth.audit"]
    assert len(audit) == 1
    assert "outcome=card-busy" in audit[0]
    assert pc.owners.all() == {}


def test_the_next_request_is_served_while_one_is_stuck(
    pc: CabinetPc, slow: SlowCards, card: VirtualCard
) -> None:
    """Another thread, another connection to the card, and no attempt spent by the first."""
    worker = CardWorker(5, 0.2)
    stuck = _with(pc.authority, _cards=slow, _worker=worker)
    well = _with(pc.authority, _worker=worker)
    with _asked(stuck, b"cps1 verify root login\n\x041234") as (client, _thread):
        assert b"card-busy" in client.makefile("rb").read()
        worker._done_within_s = DEADLINE_S  # on a busy machine too
        with _asked(well, b"cps1 verify root login\n\x041234") as (other, _):
            assert other.makefile("rb").read() == b"PAM_SUCCESS verified - -\n"
        assert "root" in pc.owners.all()
        assert card.pin_attempts_left == 3
        slow.go_on.set()
    assert card.pin_attempts_left == 3
