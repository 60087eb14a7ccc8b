"""Which card answers to reset how. An ATR tells the model, never the card.

Whole-ATR comparison, as ANS's own module does: a changed byte is another product.
"""

from __future__ import annotations

from cps_auth.model import CardKind

_KNOWN: dict[str, CardKind] = {
    # ANS cps3_pkcs11 5.2 card-cps.c; OpenSC card-iasecc.c; pcsc-tools smartcard_list.txt
    "3BAC00402A001225006480000310009000": CardKind.CPS3,
    # ANS cps3_pkcs11 5.2 card-cps.c, contactless interface of the CPS3
    "3B8F80010031B86404B0ECC1739401808290000E": CardKind.CPS3_CONTACTLESS,
    # ANS cps3_pkcs11 5.2 card-cps.c: CPS4, its release candidate, and the T=0 only variant
    "3B9B188001001225006480040100009044": CardKind.CPS4,
    "3B9B188001001225006480000401009044": CardKind.CPS4,
    "3BDC18FF00001225006480000401009000": CardKind.CPS4,
    # The CPS2ter (3BAC00402A001225006480820212009000) is left out on purpose: it is withdrawn
    # and ANS's module refuses it. OpenSC's masked entry would take it for a CPS3.
}


def kind_of(atr: bytes) -> CardKind:
    """Return what kind of card gave this answer to reset, UNKNOWN for every other card."""
    return _KNOWN.get(atr.hex().upper(), CardKind.UNKNOWN)
