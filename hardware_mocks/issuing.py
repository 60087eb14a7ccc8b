"""Issues cards for software that remembers them, such as middleware with a cache on disk."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hardware_mocks.igc import FakeIgcSante
from hardware_mocks.personas import find_persona
from hardware_mocks.virtual_card import VirtualCard


def issue_card(igc: FakeIgcSante, persona: str = "doctor", kind: str = "cps3") -> VirtualCard:
    """Return a new card whose chip is its own: another one per fake IGC-Santé, persona and kind.

    Middleware keeps files by serial number, on disk and for ever: the certificate of an earlier
    fake IGC-Santé, or the EF.DIR of the contact side, must not be taken for those of this card.

    Raises:
        KeyError: no such persona, or no such kind.
    """
    holder, credentials = find_persona(persona), igc.credentials(persona)
    digest = hashlib.sha256(credentials.authentication_certificate_der + kind.encode()).digest()
    chip_serial = f"9{int.from_bytes(digest[:8]) % 10**7:07d}"
    return VirtualCard(replace(holder, chip_serial=chip_serial), credentials, kind)
