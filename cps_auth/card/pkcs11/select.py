"""Selection of a token and its certificate, or why there is none: pure, on what the child saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from cps_auth.card.certificates import choose_certificate
from cps_auth.card.native.models import kind_of
from cps_auth.card.pin import PUK, PinKind
from cps_auth.card.pkcs11 import wire
from cps_auth.errors import (
    CardUnavailable,
    ContactlessNotEnough,
    NoCard,
    NoReader,
    SeveralCards,
    UnsupportedCard,
)
from cps_auth.model import CardKind, ReaderState, Snapshot

ReaderOfSlot = Mapping[int, ReaderState]
"""The PC/SC reader that a slot stands for, by slot identifier; none where it is not certain."""


@dataclass(frozen=True, slots=True)
class SlotCandidate:
    """A usable token, in its slot, with its authentication certificate."""

    slot: wire.SlotSeen
    token: wire.TokenSeen
    certificate: wire.CertificateSeen
    reader: ReaderState | None  # what PC/SC says of it; None for a soft token

    @property
    def reader_name(self) -> str:
        """Return the PC/SC name, or the slot's description for a soft token."""
        return self.reader.name if self.reader else self.slot.description

    def is_of(self, token: wire.TokenSeen) -> bool:
        """Return whether `token`, read again, is still this one.

        By serial and certificate; by its serial where no certificates were asked for.
        """
        has_certificate = token.certificates is None or self.certificate in token.certificates
        return token.serial == self.token.serial and has_certificate


def readers_of(slots: Sequence[wire.SlotSeen], readers: Sequence[ReaderState]) -> ReaderOfSlot:
    """Return which PC/SC reader each slot stands for.

    A slot that bears a reader's name is its; where the field of 64 bytes was too short, modules
    cut in their own ways, so it is PC/SC that tells: the only reader that holds a card is that of
    the only slots that hold a token; else readers and slots are in the same order, if cards and
    tokens are in the same places.
    """
    by_name = {reader.name: reader for reader in readers}
    removable = [slot for slot in slots if slot.removable]
    found = {
        slot.slot_id: by_name[slot.description] for slot in removable if slot.description in by_name
    }
    named = {reader.name for reader in found.values()}
    left = [slot for slot in removable if slot.slot_id not in found]
    groups = [list(group) for _, group in groupby(left, lambda slot: slot.description)]
    return found | _by_presence(groups, [one for one in readers if one.name not in named])


def _by_presence(
    groups: Sequence[Sequence[wire.SlotSeen]], readers: Sequence[ReaderState]
) -> dict[int, ReaderState]:
    """Return the reader of each group of slots with one description, by what is in them."""
    with_card = [reader for reader in readers if reader.atr is not None]
    with_token = [group for group in groups if any(slot.has_token for slot in group)]
    if len(with_card) == len(with_token) == 1:
        return {slot.slot_id: with_card[0] for slot in with_token[0]}
    is_alike = len(groups) == len(readers) and all(
        any(slot.has_token for slot in group) == (reader.atr is not None)
        for group, reader in zip(groups, readers, strict=True)
    )
    if not is_alike:
        return {}
    pairs = zip(groups, readers, strict=True)
    return {slot.slot_id: reader for group, reader in pairs for slot in group}


# --- The certificate -------------------------------------------------------------


def authentication_certificate(
    certificates: Iterable[wire.CertificateSeen], at: datetime
) -> wire.CertificateSeen:
    """Return the certificate made for authentication; of several, the one valid now.

    Args:
        certificates: of one token.
        at: now, aware.

    Raises:
        NoAuthenticationCertificate, SeveralCertificates
    """
    by_der: dict[bytes, wire.CertificateSeen] = {}
    for seen in certificates:
        by_der.setdefault(seen.unverified_certificate_der, seen)
    return by_der[choose_certificate(by_der, at)]


# --- The token -------------------------------------------------------------------


def choose_candidate(candidates: Sequence[SlotCandidate]) -> SlotCandidate | None:
    """Return the one card among the usable tokens, None when there is none.

    A card that shows in several slots (one per PIN, or per interface) has one serial and is
    one card; the slot with a PIN goes first, since the other proves nobody.

    Raises:
        SeveralCards: more than one.
    """
    by_card: dict[str, SlotCandidate] = {}
    for candidate in sorted(candidates, key=lambda one: not one.token.login_required):
        by_card.setdefault(candidate.token.serial, candidate)
    if len(by_card) > 1:
        raise SeveralCards(tuple(sorted(one.reader_name for one in by_card.values())))
    return next(iter(by_card.values()), None)


def explain_absence(
    snapshot: Snapshot,
    slots: Sequence[wire.SlotSeen],
    reader: str | None,
    no_certificate: CardUnavailable | None = None,
) -> CardUnavailable:
    """Return why no usable token was found, from what PC/SC sees.

    Args:
        snapshot: PC/SC's readers when the module was asked.
        slots: the module's slots.
        reader: the named reader, None for any.
        no_certificate: why a token that was read has not one authentication certificate.
    """
    readers = [state for state in snapshot.readers if reader in (None, state.name)]
    present = [state for state in readers if state.atr is not None]
    if no_certificate is not None and (not present or holds_a_cps(snapshot, reader)):
        return no_certificate
    if present:
        return _unusable(present, snapshot, slots)
    has_slot = any(reader in (None, slot.description) for slot in slots)
    return NoCard() if readers or has_slot else NoReader(reader)


def _unusable(
    present: Sequence[ReaderState], snapshot: Snapshot, slots: Sequence[wire.SlotSeen]
) -> CardUnavailable:
    """Return why none of the cards that are there can be used."""
    certain = readers_of(slots, snapshot.readers)
    names = {state.name for state in certain.values()}
    if any(slot.removable and slot.has_token and slot.slot_id not in certain for slot in slots):
        alike = [state.name for state in present if state.name not in names]
        if len(alike) > 1:
            return SeveralCards(tuple(alike))
    if all(kind_of(state.atr or b"").is_contactless for state in present):
        return ContactlessNotEnough()
    for state in present:
        if kind_of(state.atr or b"") is not CardKind.UNKNOWN:
            return UnsupportedCard((state.atr or b"").hex().upper(), "module")
    return UnsupportedCard((present[0].atr or b"").hex().upper())


def holds_a_cps(snapshot: Snapshot, reader: str | None) -> bool:
    """Return whether a CPS, by its answer to reset, is in the named, or any, reader."""
    return any(
        kind_of(state.atr or b"") is not CardKind.UNKNOWN
        for state in snapshot.readers
        if reader in (None, state.name)
    )


def attempts_left(token: wire.TokenSeen, kind: PinKind) -> int | None:
    """Return 0 or 1 when the token's flags say so of PIN or PUK; None when they say nothing."""
    if kind is PUK:
        is_locked, is_final = token.puk_locked, token.puk_final_try
    else:
        is_locked, is_final = token.pin_locked, token.pin_final_try
    if is_locked:
        return 0
    return 1 if is_final else None
