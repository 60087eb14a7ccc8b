"""Makes the kept certificates: every persona and kind of card, and one per odd thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cps_auth.model import CardType
from hardware_mocks.igc.card_certificates import (
    OID_CARD_ID,
    OID_CARD_TYPE,
    OID_CATEGORY,
    OID_PROFESSION,
    private_extension,
)
from hardware_mocks.igc.certificates import CertificateRequest, issued_by, key_usage, policies
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.odd_certificates import FAULTS, odd_card

DAY = timedelta(days=1)
_MOBILE = x509.ObjectIdentifier("1.3.6.1.4.1.10015.1.3")
_AUTHORITIES = ("fort", "fort-personnes", "standard", "standard-personnes")


def make(igc: FakeIgcSante) -> dict[str, bytes]:
    """Return certificates by name."""
    made = {}
    for name, card in igc.cards.items():
        made[name] = card.authentication_certificate_der
        made[f"{name}-signature"] = card.signature_certificate_der
    for name in (*_AUTHORITIES, "rogue-fort", "rogue-fort-personnes"):
        made[f"authority-{name}"] = igc.authorities[name].der
    for name, fault in FAULTS.items():
        sound, odd = odd_card(igc, fault)
        made |= {f"odd-{name}": odd, "odd-none": sound}
    made |= _of_other_kinds(igc)
    made |= {name: igc.issue(request) for name, request in _requests(igc).items()}
    made |= _of_others(igc)
    return made


def _of_other_kinds(igc: FakeIgcSante) -> dict[str, bytes]:
    """Return a card of each type from each authority, and one of each category."""
    made = {}
    for card_type in CardType:
        for by in ("fort-personnes", "standard-personnes"):
            request = _private(igc.request(), OID_CARD_TYPE, 0x02, bytes([card_type]))
            request = request.having(issued_by(igc.authorities[by]), critical=False)
            made[f"type-{card_type.name.lower()}-{by.split('-')[0]}"] = igc.issue(request, by)
    for category in (0x01, 0x02, 0x03, 0x7F, 0x80, 0x82, 0x83):
        made[f"category-{category:02x}"] = igc.issue(igc.request(category=category))
    return made


def _private(
    request: CertificateRequest, oid: x509.ObjectIdentifier, tag: int, content: bytes
) -> CertificateRequest:
    extension, critical = private_extension(oid, tag, content)
    return request.having(extension, critical=critical)


def _requests(igc: FakeIgcSante) -> dict[str, CertificateRequest]:
    sound = igc.request()
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    client, mail = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION
    dates = {"not_before": sound.not_before, "not_after": igc.made_at}
    eid = [(NameOID.COUNTRY_NAME, "EE"), (NameOID.SERIAL_NUMBER, "PNOEE-38001085718")]
    return {
        "early": replace(sound, not_before=igc.made_at + DAY, not_after=igc.made_at + 9 * DAY),
        "ends-now": replace(sound, **dates),
        "begins-now": replace(sound, not_before=igc.made_at),
        "beyond-2050": replace(sound, not_after=igc.made_at + 9999 * DAY),
        "critical-unknown": sound.having(odd, critical=True),
        "unknown": sound.having(odd, critical=False),
        "gigantic": sound.having(x509.UnrecognizedExtension(odd.oid, bytes(9000)), critical=False),
        "ca": sound.having(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        "no-basic-constraints": sound.without(x509.BasicConstraints.oid),
        "signs-certificates": _usage(sound, "digital_signature", "key_cert_sign"),
        "both-usages": _usage(sound, "digital_signature", "content_commitment"),
        "enciphers": _usage(sound, "key_encipherment"),
        "no-usage": sound.without(x509.KeyUsage.oid),
        "no-extended-usage": sound.without(x509.ExtendedKeyUsage.oid),
        "mail": sound.having(x509.ExtendedKeyUsage([mail]), critical=False),
        "client-only": sound.having(x509.ExtendedKeyUsage([client]), critical=True),
        "any-usage": sound.having(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False
        ),
        "no-key-identifier": sound.without(x509.AuthorityKeyIdentifier.oid),
        "other-key-identifier": sound.having(
            issued_by(igc.authorities["standard-personnes"]), critical=False
        ),
        "no-points": sound.without(x509.CRLDistributionPoints.oid),
        "no-policy": sound.without(x509.CertificatePolicies.oid),
        "any-policy": sound.having(policies(x509.ObjectIdentifier("2.5.29.32.0")), critical=False),
        "other-policy": sound.having(policies(x509.ObjectIdentifier("1.2.3")), critical=False),
        "mobile-policy": sound.having(policies(_MOBILE), critical=False),
        "no-category": sound.without(OID_CATEGORY),
        "no-card-type": sound.without(OID_CARD_TYPE),
        "no-profession": sound.without(OID_PROFESSION),
        "software": sound.without(OID_CARD_TYPE, OID_CARD_ID),
        "unknown-profession": _private(sound, OID_PROFESSION, 0x02, b"\x7b"),
        "card-type-4": _private(sound, OID_CARD_TYPE, 0x02, b"\x04"),
        "eid": replace(sound, subject=_name(*eid, (NameOID.COMMON_NAME, "JÕEORG,JAAK"))),
        "eid-mobile": replace(sound.having(policies(_MOBILE), critical=False), subject=_name(*eid)),
        "no-identifier": replace(sound, subject=_name(eid[0])),
        "p256": replace(sound, public_key=ec.generate_private_key(ec.SECP256R1()).public_key()),
        "secp256k1": replace(
            sound, public_key=ec.generate_private_key(ec.SECP256K1()).public_key()
        ),
        "rsa-1024": replace(sound, public_key=_weak_key()),
    }


def _weak_key() -> Any:
    return rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505, weak on purpose


def _usage(request: CertificateRequest, *bits: str) -> CertificateRequest:
    return request.having(key_usage(*bits), critical=True)


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _of_others(igc: FakeIgcSante) -> dict[str, bytes]:
    """Return certificates that somebody else than a card's own authority issued."""
    rogue = igc.authorities["rogue-fort-personnes"].key
    card_key = igc.cards["doctor"].authentication_key
    of_root = igc.request().having(issued_by(igc.authorities["fort"]), critical=False)
    return {
        "by-root": igc.issue(of_root, "fort"),
        "by-forger": igc.issue(igc.request(), signing_key=rogue),
        "by-holder": igc.issue(igc.request(), signing_key=card_key),
        "by-standard": igc.issue(igc.request(), "standard-personnes"),
        "truncated": igc.issue(igc.request())[:-1],
        "trailing": igc.issue(igc.request()) + b"\x00",
        "rubbish": b"rubbish",
        "empty": b"",
    }
