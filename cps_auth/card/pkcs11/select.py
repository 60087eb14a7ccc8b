"""Which token, which certificate, and why none: pure decisions on what the child saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from cps_auth.card.native.models import kind_of
from cps_auth.card.pin import PUK, PinKind
from cps_auth.card.pkcs11 import wire
from cps_auth.card.signature_check import public_key_of
from cps_auth.errors import (
    CardUnavailable,
    ContactlessNotEnough,
    NoCard,
    NoReader,
    SeveralCards,
    UnsupportedCard,
)
from cps_auth.model import CardKind, ReaderState, Snapshot

_CERTIFICATES_REMEMBERED: Final = 64
SLOT_DESCRIPTION_BYTES: Final = 64
"""Length of CK_SLOT_INFO.slotDescription. Source: PKCS#11 v2.40 section 3.2."""


@dataclass(frozen=True, slots=True)
class SlotCandidate:
    """A usable token, in its slot, with its authentication certificate."""

    slot: wire.SlotSeen
    token: wire.TokenSeen
    certificate: wire.CertificateSeen
    reader: ReaderState | None  # what PC/SC says of it; None for a soft token
    read_s: float = field(compare=False)  # when the token was read, on the monotonic clock

    @property
    def reader_name(self) -> str:
        """Return the PC/SC name, or the slot's description for a soft token."""
        return self.reader.name if self.reader else self.slot.description

    def is_of(self, token: wire.TokenSeen) -> bool:
        """Tell whether `token`, read again, is still this one.

        By serial and certificate; by its serial where no certificates were asked for.
        """
        has_certificate = token.certificates is None or self.certificate in token.certificates
        return token.serial == self.token.serial and has_certificate


def reader_of(slot: wire.SlotSeen, readers: Iterable[ReaderState]) -> ReaderState | None:
    """Return the one PC/SC reader that the slot stands for, None when that is not certain.

    Of readers whose long names begin alike, it is the only one that holds a card.
    """
    described = [reader for reader in readers if slot.description in _cuts(reader.name)]
    if len(described) > 1:
        described = [reader for reader in described if reader.atr is not None]
    return described[0] if len(described) == 1 else None


def _cuts(name: str) -> tuple[str, ...]:
    """Return the name as modules cut it; some keep the last byte for a zero, as in C."""
    return tuple(
        name.encode()[:size].decode("utf-8", "replace").rstrip()
        for size in (SLOT_DESCRIPTION_BYTES, SLOT_DESCRIPTION_BYTES - 1)
    )


# --- The certificate -------------------------------------------------------------


def authentication_certificate(
    certificates: Iterable[wire.CertificateSeen] | None,
) -> wire.CertificateSeen | None:
    """Return the one certificate made for authentication; None when there is none or several.

    Its purpose decides (RFC 5280 sections 4.2.1.3 and 4.2.1.12), never its label or CKA_ID:
    digitalSignature without nonRepudiation, and clientAuth.
    """
    found = {
        seen.unverified_certificate_der: seen
        for seen in certificates or ()
        if _authenticates(seen.unverified_certificate_der)
    }
    return next(iter(found.values())) if len(found) == 1 else None


@lru_cache(_CERTIFICATES_REMEMBERED)
def _authenticates(unverified_der: bytes) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(unverified_der)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        is_rsa = isinstance(certificate.public_key(), RSAPublicKey)
    except (ValueError, TypeError, UnsupportedAlgorithm, *_EXTENSION_ERRORS):
        return False
    return (
        is_rsa
        and usage.digital_signature
        and not usage.content_commitment
        and ExtendedKeyUsageOID.CLIENT_AUTH in extended
    )


_EXTENSION_ERRORS: Final = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)


def rsa_modulus(certificate: wire.CertificateSeen) -> bytes:
    """Return the modulus of an authentication certificate's key, big-endian."""
    key = public_key_of(certificate.unverified_certificate_der)
    if not isinstance(key, RSAPublicKey):  # `authentication_certificate` let only RSA through
        raise TypeError
    modulus = key.public_numbers().n
    return modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")


# --- The token -------------------------------------------------------------------


def choose_candidate(seats: Sequence[SlotCandidate]) -> SlotCandidate | None:
    """Return the one card among the usable tokens, None when there is none.

    A card that shows in several slots (one per PIN, or per interface) has one serial and is
    one card; the slot with a PIN goes first, since the other proves nobody.

    Raises:
        SeveralCards: more than one.
    """
    by_card: dict[str, SlotCandidate] = {}
    for seat in sorted(seats, key=lambda seat: not seat.token.login_required):
        by_card.setdefault(seat.token.serial, seat)
    if len(by_card) > 1:
        raise SeveralCards(tuple(sorted(seat.reader_name for seat in by_card.values())))
    return next(iter(by_card.values()), None)


def explain_absence(
    snapshot: Snapshot, slots: Sequence[wire.SlotSeen], reader: str | None
) -> CardUnavailable:
    """Return why no usable token was found, from what PC/SC sees.

    Args:
        snapshot: PC/SC's readers when the module was asked.
        slots: the module's slots.
        reader: the named reader, None for any.
    """
    readers = [state for state in snapshot.readers if reader in (None, state.name)]
    present = [state for state in readers if state.atr is not None]
    if present:
        return _unusable(present, snapshot, slots)
    has_slot = any(reader in (None, slot.description) for slot in slots)
    return NoCard() if readers or has_slot else NoReader(reader)


def _unusable(
    present: Sequence[ReaderState], snapshot: Snapshot, slots: Sequence[wire.SlotSeen]
) -> CardUnavailable:
    """Return why none of the cards that are there can be used."""
    for slot in slots:
        alike = [state.name for state in snapshot.readers if _may_be(slot, state)]
        if len(alike) > 1:
            return SeveralCards(tuple(alike))
    if all(_kind(state).is_contactless for state in present):
        return ContactlessNotEnough()
    return UnsupportedCard((present[0].atr or b"").hex().upper())


def _may_be(slot: wire.SlotSeen, state: ReaderState) -> bool:
    return state.atr is not None and slot.description in _cuts(state.name)


def holds_a_cps(snapshot: Snapshot, reader: str | None) -> bool:
    """Tell whether a card that is one by its answer to reset is in the named, or any, reader."""
    return any(
        _kind(state) is not CardKind.UNKNOWN
        for state in snapshot.readers
        if reader in (None, state.name)
    )


def _kind(state: ReaderState) -> CardKind:
    return kind_of(state.atr or b"")


def attempts_left(token: wire.TokenSeen, kind: PinKind) -> int | None:
    """Return 0 or 1 when the token's flags say so of PIN or PUK; None when they say nothing."""
    if kind is PUK:
        is_locked, is_final = token.puk_locked, token.puk_final_try
    else:
        is_locked, is_final = token.pin_locked, token.pin_final_try
    if is_locked:
        return 0
    return 1 if is_final else None
