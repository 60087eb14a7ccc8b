"""Which adapter is picked, and what is said when its library is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cps_auth.card.native import NativeCards
from cps_auth.card.open import open_cards
from cps_auth.card.pkcs11 import Pkcs11Cards
from cps_auth.errors import ConfigurationError


def test_adapters() -> None:
    """Without a module cards are driven natively, with one by the module; nothing is opened."""
    assert type(open_cards()) is NativeCards
    assert type(open_cards(Path("/nowhere/module.so"))) is Pkcs11Cards


@pytest.mark.parametrize("module", [None, Path("/nowhere/module.so")])
def test_without_pyscard(module: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing pyscard is named, with what to install."""
    monkeypatch.delitem(sys.modules, "cps_auth.card.pcsc", raising=False)
    monkeypatch.setitem(sys.modules, "smartcard", None)
    with pytest.raises(ConfigurationError) as caught:
        open_cards(module)
    assert "cps-auth[pcsc]" in caught.value.what
