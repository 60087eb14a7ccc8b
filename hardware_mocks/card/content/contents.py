"""The make-up of any kind of card: its profile, and what one card holds for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from hardware_mocks.card.content.file_system import AccessRules, DedicatedFile
from hardware_mocks.card.content.quirks import NO_QUIRKS, Quirks
from hardware_mocks.card.dialect import Dialect
from hardware_mocks.personas import CardCredentials, Persona


@dataclass(slots=True)
class PinObject:
    """A PIN or PUK: what it is, and how many wrong tries it still bears."""

    reference: int
    value: bytearray = field(repr=False)
    attempts_left: int
    attempts_max: int
    rules: AccessRules  # of the object itself, as GET DATA shows them

    @property
    def is_blocked(self) -> bool:
        """Return whether it is no longer compared with anything."""
        return self.attempts_left == 0


@dataclass(frozen=True, slots=True)
class KeyObject:
    """A private key in the card."""

    reference: int  # as in MANAGE SECURITY ENVIRONMENT and the PrKDF
    rules: AccessRules  # which operation needs what
    private_key: RSAPrivateKey = field(repr=False)
    algorithms: frozenset[int] = frozenset()  # of PSO 9E9A, where the algorithm is the key's


@dataclass(slots=True)
class CardContents:
    """The contents that power-off does not change."""

    chip_serial: str  # 8 digits
    dialect: Dialect
    master_file: DedicatedFile
    pins: dict[int, PinObject]
    keys: dict[int, KeyObject]
    other_applications: tuple[DedicatedFile, ...] = ()  # beside the files; leaving forgets PINs
    cps2ter_volume: DedicatedFile | None = None  # of class A0
    quirks: Quirks = NO_QUIRKS


@dataclass(frozen=True, slots=True)
class CardProfile:
    """One kind of card."""

    name: str  # as on the command line
    atr: bytes
    protocol: int  # 0 for T=0, 1 for T=1
    personalise: Callable[[Persona, CardCredentials, Quirks], CardContents]
