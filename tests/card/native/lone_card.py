"""A card of the native drivers without a source, a reader or a memory of others."""

from __future__ import annotations

from contextlib import ExitStack

from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.card_cache import CardCache, CardMemory
from cps_auth.card.native.driver import CardDriver
from cps_auth.card.native.layout import Pkcs15Layout
from cps_auth.card.native.models import MODELS, CardModel
from cps_auth.model import CardDescription, CardKind, ReaderState


def model_of(kind: CardKind) -> CardModel:
    """Return the row of a kind of card."""
    return next(model for model in MODELS if model.kind is kind)


def lone_card(
    application: CardDriver, description: CardDescription, profile: Pkcs15Layout
) -> NativeCard:
    """Return a card that stays and of which nothing is known."""
    return NativeCard(
        application,
        description,
        profile,
        owned=ExitStack(),
        memory=CardMemory(CardCache(), description.kind, description.serial, ReaderState("r", b"")),
        has_stayed=lambda: True,
    )
