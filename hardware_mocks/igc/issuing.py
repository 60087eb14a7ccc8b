"""Issues cards for software that remembers them, such as middleware with a cache on disk."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.hashes import SHA256

from hardware_mocks.card.content.quirks import NO_QUIRKS, Quirks
from hardware_mocks.card.virtual_card import CARD_KINDS, VirtualCard, find_kind
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, find_persona


def issue_card(
    igc: FakeIgcSante, persona: str = "doctor", kind: str = "cps3", quirks: Quirks = NO_QUIRKS
) -> VirtualCard:
    """Return a new card whose chip is its own: another one per fake IGC-Santé, persona and kind.

    Middleware keeps files by serial number, on disk and for ever: the certificate of an earlier
    fake IGC-Santé, or the EF.DIR of the contact side, must not be taken for those of this card.

    Raises:
        KeyError: no such persona, or no such kind.
    """
    holder, profile = find_persona(persona), find_kind(kind)
    first = int.from_bytes(igc.authorities["fort"].certificate.fingerprint(SHA256())[:8])
    own = list(PERSONAS).index(persona) * len(CARD_KINDS) + list(CARD_KINDS).index(profile.name)
    chip_serial = f"9{(first + own) % 10**7:07d}"
    return VirtualCard(
        replace(holder, chip_serial=chip_serial), igc.credentials(persona), kind, quirks
    )
