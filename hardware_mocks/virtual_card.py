"""A card in the hand: the object that readers, pcscd and tests share."""

from __future__ import annotations

from hardware_mocks.card.contents import CardProfile
from hardware_mocks.card.cps3 import CPS3
from hardware_mocks.card.engine import ApduEngine
from hardware_mocks.personas import CardCredentials, Persona

CARD_KINDS: dict[str, CardProfile] = {profile.name: profile for profile in (CPS3,)}
"""Every kind of card that can be made, by the name that the command line takes."""


class VirtualCard:
    """One card of one persona. Counters, PINs and files outlive power; verifications don't."""

    def __init__(self, persona: Persona, credentials: CardCredentials, kind: str = "cps3") -> None:
        """Personalise a new card.

        Raises:
            KeyError: no such kind in CARD_KINDS.
        """
        self._profile = CARD_KINDS[kind]
        self.persona = persona
        self._contents = self._profile.personalise(persona, credentials)
        self._engine = ApduEngine(self._contents)

    @property
    def kind(self) -> str:
        """Return its name in CARD_KINDS."""
        return self._profile.name

    @property
    def atr(self) -> bytes:
        """Return its answer to reset."""
        return self._profile.atr

    @property
    def protocol(self) -> int:
        """Return 0 for T=0, 1 for T=1."""
        return self._profile.protocol

    @property
    def pin_attempts_left(self) -> int:
        """Return the counter of the code porteur, without asking the card."""
        return self._contents.pins[1].attempts_left

    @property
    def puk_attempts_left(self) -> int:
        """Return the counter of the PUK, without asking the card."""
        return self._contents.pins[2].attempts_left

    def transmit(self, command: bytes) -> bytes:
        """Answer any byte string with data, SW1, SW2."""
        return self._engine.answer(command)

    def power_on(self) -> None:
        """Begin anew: at the master file, nothing verified."""
        self._engine = ApduEngine(self._contents)

    def power_off(self) -> None:
        """Forget what only power keeps."""
        self._engine = ApduEngine(self._contents)

    def reset(self) -> None:
        """Warm reset: as power off and on."""
        self._engine = ApduEngine(self._contents)
