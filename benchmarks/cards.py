"""What a login says to a card: commands and bytes on the wire, which on a card are the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cps_auth.card.native.source import NativeCards
from cps_auth.login.challenge import issue_challenge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

_PEERS = (
    "published counts, one signature: ANS module 51 then 24 (CPS3), 30 then 13 (CPS4), both"
    " without the certificate; OpenSC 0.23 75 (CPS3), certificate included"
)


class CountedCard(VirtualCard):
    """A card that counts what goes over its contacts."""

    commands = sent_bytes = received_bytes = 0

    def transmit(self, command: bytes) -> bytes:
        """Answer and count."""
        answer = super().transmit(command)
        self.commands += 1
        self.sent_bytes += len(command)
        self.received_bytes += len(answer)
        return answer


@dataclass(frozen=True)
class Wire:
    """The counts of every kind of card."""

    rows: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  ".join(("a login, certificate read included", *self.rows, _PEERS)) + "\n"


def wire(igc: FakeIgcSante, _folder: Path) -> Wire:
    """Commands and bytes of a login on a card never seen, then on a known one, back and there."""
    credentials = igc.credentials("doctor")
    size = len(credentials.authentication_certificate_der)
    rows = []
    for kind in ("cps3", "cps4", "cps4-t0"):
        card = CountedCard(PERSONAS["doctor"], credentials, kind)
        readers = VirtualReaders("Reader")
        cards = NativeCards(readers.service)
        for what in ("never seen", "known, just inserted", "known, still there"):
            if what != "known, still there":
                readers.remove("Reader")
                readers.insert("Reader", card)
            card.commands = card.sent_bytes = card.received_bytes = 0
            _log_in(cards)
            rows.append(
                f"{kind}, {what}: {card.commands} commands,"
                f" {card.sent_bytes} B out, {card.received_bytes} B in"
            )
    return Wire((f"certificate of {size} B", *rows))


def _log_in(cards: NativeCards) -> None:
    challenge = issue_challenge("bench", at=datetime.now(UTC))
    with cards.open_card() as card:
        card.read_authentication_certificate()
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
