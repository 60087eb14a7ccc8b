"""Which adapter is picked, and what is said when its library is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cps_auth.card import open as adapters
from cps_auth.card.native.source import NativeCards
from cps_auth.card.open import find_module, open_cards
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import ConfigurationError, ModuleUnusable


def test_adapters() -> None:
    """Without a module cards are driven natively, with one by the module; nothing is opened."""
    assert type(open_cards()) is NativeCards
    assert type(open_cards(Path("/nowhere/module.so"))) is Pkcs11Cards


@pytest.mark.parametrize("module", [None, Path("/nowhere/module.so")])
def test_without_pyscard(module: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing pyscard is named, with what to install."""
    for name in ("service", "library", "transport"):
        monkeypatch.delitem(sys.modules, f"cps_auth.card.pcsc.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "smartcard", None)
    with pytest.raises(ConfigurationError) as caught:
        open_cards(module)
    assert "cps-auth[pcsc]" in caught.value.what


def test_known_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known module is found in the first of its usual places; any other word is a path."""
    (tmp_path / "second.so").touch()
    places = (str(tmp_path / "first.so"), str(tmp_path / "second.so"))
    monkeypatch.setattr(adapters, "KNOWN_MODULES", {"ans": places, "opensc": places[:1]})
    assert find_module("ans") == tmp_path / "second.so"
    assert find_module("/nowhere/module.so") == Path("/nowhere/module.so")
    with pytest.raises(ModuleUnusable, match="opensc"):
        find_module("opensc")
