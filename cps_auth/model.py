"""The frozen values that the layers hand to each other. No behaviour beyond their own rules."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from cps_auth.provider_model import LoginMeans, PscLogin

HashName = Literal["sha256", "sha384", "sha512"]

# --- The card and its reader -----------------------------------------------------


class CardKind(enum.Enum):
    """The kind of a card, as told by its answer to reset (or by the PKCS#11 module)."""

    CPS3 = "cps3"
    CPS3_CONTACTLESS = "cps3-contactless"
    CPS4 = "cps4"
    VENDOR_MODULE = "vendor-module"  # a PKCS#11 module answers for it
    UNKNOWN = "unknown"

    @property
    def is_contactless(self) -> bool:
        """Return whether the key of this kind of card signs without a PIN."""
        return self is CardKind.CPS3_CONTACTLESS


@dataclass(frozen=True, slots=True)
class CardIdentity:
    """Which card this is. Never its ATR, which all cards of a model share."""

    serial: str  # as the card or the token says, digits or hexadecimal
    certificate_sha256_hex: str  # of the authentication certificate, lower case


@dataclass(frozen=True, slots=True)
class CardDescription:
    """A card's own description, read without a PIN. Not proof of anything."""

    kind: CardKind
    reader: str
    serial: str
    atr_hex: str = ""
    is_serial_sound: bool = True  # whether its check digit holds, where it has one


@dataclass(frozen=True, slots=True)
class DataObject:
    """One data object of a card, such as CPS_INFO_PS. Anybody may have written it."""

    label: str
    unverified_content: bytes  # the whole file, with what pads it


@dataclass(frozen=True, slots=True)
class ReaderState:
    """One reader at one moment."""

    name: str
    atr: bytes | None  # None: no card in it
    event_count: int = 0  # insertions and removals that PC/SC counted (MS-RDPESC 2.2.1.5)
    generation: int = 0  # rises with every change of this reader's card, set by the watcher


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All readers at one moment; `service_up` is False when nobody can tell."""

    readers: tuple[ReaderState, ...] = ()
    service_up: bool = True


class CardEventKind(enum.Enum):
    """The kinds of card and reader events. Whatever is not listed here has not been seen."""

    SERVICE_LOST = "service-lost"
    SERVICE_BACK = "service-back"
    READER_ADDED = "reader-added"
    READER_GONE = "reader-gone"
    CARD_INSERTED = "card-inserted"
    CARD_REMOVED = "card-removed"
    CARD_SWAPPED = "card-swapped"
    RESUMED = "resumed"  # the computer slept; cards that are there now come next, as swapped
    WATCHER_STOPPED = "watcher-stopped"


@dataclass(frozen=True, slots=True)
class CardEvent:
    """One change, in the order in which it was seen."""

    kind: CardEventKind
    reader: str = ""
    atr: bytes | None = None
    generation: int = 0
    reason: str = ""


# --- The holder ------------------------------------------------------------------


class CardType(enum.IntEnum):
    """gipCardType, OID 1.2.250.1.71.1.2.2, table G02 of ANS."""

    CPS = 0  # health professional
    CPF = 1  # health professional in training
    CPE = 2  # staff of an establishment
    CPA = 3  # authorised staff


@dataclass(frozen=True, slots=True)
class Practitioner:
    """The holder, as the certificate names them. Optional where real certificates leave it out."""

    ps_idnat: str  # national identifier: type prefix and identifier (table G08)
    card_type: CardType | None
    surname: str | None = None
    given_name: str | None = None
    rpps: str | None = None  # 11 digits, when ps_idnat starts with 8
    profession_code: str | None = None  # table G15, decimal text
    profession: str | None = None  # label in French, None for a code we do not know
    training_code: str | None = None  # table G16, what a CPF is in training for: no profession
    training: str | None = None  # label in French, None for a code we do not know
    specialities: tuple[str, ...] = ()  # table R01, such as SM26
    title: str | None = None  # X.520 title, display only
    organisation: str | None = None
    structure_id: str | None = None  # Struct_IdNat of the organisation (table G07)
    card_number: str | None = None  # gipCardID, issuer/serial

    @property
    def display_name(self) -> str:
        """A name fit to show; a CPE may have none, then its organisation and identifier."""
        names = " ".join(part for part in (self.given_name, self.surname) if part)
        return names or " ".join(part for part in (self.organisation, self.ps_idnat) if part)


# --- Proof -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Challenge:
    """The challenge that a card signs. Made only by `cps_auth.login.challenge`; a test holds that.

    The signed message is hash(origin) followed by hash(nonce), as in Web eID 1.0: two fixed
    lengths, so no other pair of texts gives the same message, and no caller can choose the bytes
    that reach the authentication key. Our own cards sign over SHA-256.
    """

    nonce: str  # base64 text of 32 bytes from os.urandom
    origin: str  # who asks: https://host[:port], or a name of ours for local use
    issued_at: datetime
    lifetime: timedelta

    def message(self, hash_name: HashName = "sha256") -> bytes:
        """Return the bytes that are signed (Web eID 1.0, authentication token).

        Args:
            hash_name: the hash of the signature's algorithm.
        """
        import hashlib  # here: OpenSSL behind it takes longer to load than all of this module

        return (
            hashlib.new(hash_name, self.origin.encode()).digest()
            + hashlib.new(hash_name, self.nonce.encode()).digest()
        )


class SignatureAlgorithm(enum.Enum):
    """RFC 7518 section 3.1 names: scheme, and the SHA-2 hash of message and signature."""

    RS256 = "RS256"  # RSASSA-PKCS1-v1_5, all that a CPS3 does
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"  # RSASSA-PSS, MGF1 and salt of the same hash
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"  # P-256
    ES384 = "ES384"  # P-384
    ES512 = "ES512"  # P-521

    @property
    def hash_name(self) -> HashName:
        """Return the hash, as hashlib calls it."""
        return _HASH_NAMES[self.value[2:]]


_HASH_NAMES: Mapping[str, HashName] = {"256": "sha256", "384": "sha384", "512": "sha512"}


@dataclass(frozen=True, slots=True)
class CardSignature:
    """A card's signature over `Challenge.message()`."""

    algorithm: SignatureAlgorithm
    value: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedProof:
    """A certificate and a signature that somebody sent; nothing about them is known yet."""

    unverified_certificate_der: bytes = field(repr=False)
    signature: CardSignature


@dataclass(frozen=True, slots=True)
class TlsProof:
    """A TLS client's proof, as a trusted server or proxy reports it: it had this key.

    The client signed the handshake (CertificateVerify, RFC 8446 section 4.4.3), not a challenge
    of ours, and only the server saw it. Weaker than a `Challenge`: browsers keep the card's key
    open and ask for no PIN again, so it tells that the card was used in that browser process,
    not that a PIN was typed now.
    """

    unverified_certificate_der: bytes = field(repr=False)
    reported_by: str  # which proxy, and where: for the log
    reported_at: datetime


class ProofKind(enum.Enum):
    """The kinds of proof of a holder's identity."""

    CHALLENGE = "challenge"  # the card signed our nonce, with a PIN typed for it
    TLS = "tls"  # a trusted proxy saw the key in a TLS handshake, see `TlsProof`
    PROVIDER = "provider"  # Pro Santé Connect said so, see `PscLogin`; no card was seen here

    @property
    def is_of_card(self) -> bool:
        """Return whether the card's own key proved it, to us or to a proxy of ours."""
        return self is not ProofKind.PROVIDER


@dataclass(frozen=True, slots=True)
class RevocationEvidence:
    """The evidence that a certificate of the chain is not revoked."""

    source: str  # "crl" or "ocsp"
    issuer: str  # common name of the authority whose certificate was asked about
    crl_number: int | None
    this_update: datetime
    next_update: datetime
    age_s: int | None = None  # at the moment of judgement; None: not recorded
    past_due: bool = False  # accepted after next_update, under a policy that allows it


@dataclass(frozen=True, slots=True)
class VerifiedHolder:
    """A login. Made only by `cps_auth.login.verify`, as its last act; a test holds that.

    Card, certificate and revocation are absent (None, empty) where no card was seen here.
    """

    practitioner: Practitioner
    card: CardIdentity | None
    certificate_serial_hex: str | None
    certificate_not_after: datetime | None
    trust: str  # name of the trust store under which the chain was verified, or of the provider
    revocation: tuple[RevocationEvidence, ...]  # one per certificate below the anchor, leaf first
    verified_at: datetime
    proof: ProofKind
    psc: PscLogin | None = None  # only for ProofKind.PROVIDER

    @property
    def means(self) -> LoginMeans:
        """Return what the holder had in hand."""
        return LoginMeans.CARD if self.psc is None else self.psc.means
