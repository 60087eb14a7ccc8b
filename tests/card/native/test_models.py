"""Cards are recognised by their whole answer to reset."""

from __future__ import annotations

import pytest

from cps_auth.card.native.models import kind_of
from cps_auth.model import CardKind


@pytest.mark.parametrize(
    ("atr", "kind"),
    [
        ("3BAC00402A001225006480000310009000", CardKind.CPS3),
        ("3B8F80010031B86404B0ECC1739401808290000E", CardKind.CPS3_CONTACTLESS),
        ("3B9B188001001225006480040100009044", CardKind.CPS4),
        ("3B9B188001001225006480000401009044", CardKind.CPS4),
        ("3BDC18FF00001225006480000401009000", CardKind.CPS4),
        ("3BAC00402A00122500648082021200" + "9000", CardKind.UNKNOWN),  # CPS2ter, withdrawn
        ("3BAC00402A001225006480000311009000", CardKind.UNKNOWN),  # one byte off
        ("3BAC00402A0012250064800003100090", CardKind.UNKNOWN),  # cut
        ("", CardKind.UNKNOWN),  # mute
    ],
)
def test_kinds(atr: str, kind: CardKind) -> None:
    """Every known answer has its kind, and nothing near it has."""
    assert kind_of(bytes.fromhex(atr)) is kind
