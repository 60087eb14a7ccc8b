"""A card of the native drivers without a source, a reader or a memory of others."""

from __future__ import annotations

from contextlib import ExitStack

from cps_auth.card.native.application import CardApplication
from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.card_cache import CardCache, CardMemory
from cps_auth.card.native.layout import Profile
from cps_auth.model import CardDescription, ReaderState


def lone_card(
    application: CardApplication, description: CardDescription, profile: Profile
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
