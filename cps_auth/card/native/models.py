"""The models of cards: one row each. An answer to reset (ATR) tells the model, never the card.

Whole-ATR comparison, as ANS's own module does: a changed byte is another product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from cps_auth.model import CardKind

if TYPE_CHECKING:
    from cps_auth.card.native.driver import CardDriver

APPLICATION_CONTACT: Final = bytes.fromhex("E828BD080F8025000001FF0010")
"""AID of the PKCS#15 application "CPS IAS" (EF.DIR of the CPS3)."""
APPLICATION_CONTACTLESS: Final = bytes.fromhex("E828BD080F8025000001FF0020")
"""AID of the PKCS#15 application "CPS IAS CL" (EF.DIR of the CPS3)."""


@dataclass(frozen=True, slots=True)
class CardModel:
    """One model of card: how it is recognised, and what drives it."""

    kind: CardKind
    atrs_hex: tuple[str, ...]
    application: bytes  # AID of its PKCS#15 application
    driver_name: str  # module of this folder, and its class

    def load_driver(self) -> type[CardDriver]:
        """Import the driver: who only lists readers does without."""
        module, name = self.driver_name.split(".")
        driver: type[CardDriver] = getattr(import_module(f"cps_auth.card.native.{module}"), name)
        return driver


MODELS: Final = (
    CardModel(
        CardKind.CPS3,
        # ANS cps3_pkcs11 5.2 card-cps.c; OpenSC card-iasecc.c; pcsc-tools smartcard_list.txt
        ("3BAC00402A001225006480000310009000",),
        APPLICATION_CONTACT,
        "iasecc.IasEcc",
    ),
    CardModel(
        CardKind.CPS3_CONTACTLESS,
        # ANS cps3_pkcs11 5.2 card-cps.c, contactless interface of the CPS3
        ("3B8F80010031B86404B0ECC1739401808290000E",),
        APPLICATION_CONTACTLESS,
        "iasecc.IasEcc",
    ),
    CardModel(
        CardKind.CPS4,
        # ANS cps3_pkcs11 5.2 card-cps.c: CPS4, its release candidate, and the T=0 only variant
        (
            "3B9B188001001225006480040100009044",
            "3B9B188001001225006480000401009044",
            "3BDC18FF00001225006480000401009000",
        ),
        APPLICATION_CONTACT,
        "chipdoc.ChipDoc",
    ),
    # The CPS2ter (3BAC00402A001225006480820212009000) is left out on purpose: it is withdrawn
    # and ANS's module refuses it. OpenSC's masked entry would take it for a CPS3.
)
"""Every model that this package drives."""

BY_ATR: Final[Mapping[bytes | None, CardModel]] = {
    bytes.fromhex(atr_hex): model for model in MODELS for atr_hex in model.atrs_hex
}
"""The model of each answer to reset that is known."""


def kind_of(atr: bytes) -> CardKind:
    """Return what kind of card gave this answer to reset, UNKNOWN for every other card."""
    model = BY_ATR.get(atr)
    return CardKind.UNKNOWN if model is None else model.kind
