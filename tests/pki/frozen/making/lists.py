"""Makes the kept lists of FORT PERSONNES and of its root: full, delta, partial, stale, odd."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from hardware_mocks.igc.certificates import SITE, ExtensionItem, issued_by, key_usage
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.pki.frozen.der_tree import GENERALIZED_TIME, UTC_TIME, parse
from tests.pki.frozen.signing import sign_again

HOUR = timedelta(hours=1)
HOLD, REMOVED = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl
_ODD = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def make(igc: FakeIgcSante) -> tuple[dict[str, bytes], bytes]:
    """Return lists by name, and the certificate of one who signs lists in the issuer's name."""
    key = generate_private_key(65537, 2048)
    made = {name: igc.crl(**changes) for name, changes in _changes(igc).items()}
    made |= {f"root-{name}": igc.crl("fort", **new) for name, new in _of_root(igc).items()}
    made |= _of_another_key(igc, key)
    made["endless"] = _endless(made["whole"], igc.authorities["fort-personnes"].key)
    made["standard"] = igc.crls["ACI-ST-PP"]
    made["rogue"] = igc.crl("rogue-fort-personnes", revoked=[])
    made["truncated"] = igc.crls["ACI-FO-PP"][:-1]
    made["rubbish"] = b"rubbish"
    signed = x509.load_der_x509_crl(made["whole"])
    made["pem"] = signed.public_bytes(Encoding.PEM)
    return made, _signer(igc, key)


def _endless(der: bytes, key: RSAPrivateKey) -> bytes:
    """Return the same list without nextUpdate, which the library always writes."""
    root = parse(der)
    assert root.children is not None
    signed = root.children[0].children
    assert signed is not None
    times = [node for node in signed if node.tag in (UTC_TIME, GENERALIZED_TIME)]
    signed.remove(times[1])
    sign_again(root, key)
    return root.der()


def _serial(igc: FakeIgcSante, name: str = "doctor") -> int:
    return x509.load_der_x509_certificate(
        igc.cards[name].authentication_certificate_der
    ).serial_number


def _line(igc: FakeIgcSante, reason: x509.ReasonFlags | None = HOLD, **more: Any) -> Revocation:
    return Revocation(_serial(igc), igc.made_at - 2 * HOUR, reason, **more)


def _many(igc: FakeIgcSante) -> Iterable[Revocation]:
    reasons = (None, HOLD, x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded)
    for i in range(40):
        yield Revocation(2**150 + i, igc.made_at - i * HOUR, reasons[i % 4])


def point(*, url: str | None = f"{SITE}/CRL/ACI-FO-PP.crl", **flags: Any) -> ExtensionItem:
    """Return a critical IssuingDistributionPoint."""
    every: dict[str, Any] = {
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    names = None if url is None else [x509.UniformResourceIdentifier(url)]
    return x509.IssuingDistributionPoint(full_name=names, **(every | flags)), True


def _delta(base: int) -> ExtensionItem:
    return x509.DeltaCRLIndicator(base), True


def _changes(igc: FakeIgcSante) -> dict[str, dict[str, Any]]:
    at, listed = igc.made_at, {"revoked": [_line(igc)]}
    stale = {"this_update": at - 3 * HOUR, "next_update": at - HOUR}
    future = {"this_update": at + HOUR, "next_update": at + 9 * HOUR}
    relative = x509.RelativeDistinguishedName(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "part 2")]
    )
    reasons = frozenset([x509.ReasonFlags.key_compromise])
    issuer = x509.CertificateIssuer([x509.UniformResourceIdentifier(SITE)])
    return {
        "whole": {},
        "whole-2": {"number": 2},
        "whole-10": {"number": 10},
        "whole-of-20-octets": {"number": 2**159},
        "many": {"number": 3, "revoked": list(_many(igc))},
        "listed": {"number": 4, **listed},
        "listed-without-reason": {"number": 4, "revoked": [_line(igc, None)]},
        "listed-10": {"number": 10, **listed},
        "lifted": {"number": 5, "revoked": []},
        "ends-now": {"next_update": at},
        "begins-now": {"this_update": at},
        "stale": stale,
        "stale-listed": stale | listed,
        "future": future | {"number": 9},
        "future-listed": future | listed | {"number": 9},
        "delta": {"number": 11, "revoked": [], "extra": [_delta(10)]},
        "delta-listed": {"number": 11, **listed, "extra": [_delta(10)]},
        "delta-removed": {"number": 12, "revoked": [_line(igc, REMOVED)], "extra": [_delta(10)]},
        "delta-both": {
            "number": 13,
            "revoked": [_line(igc, REMOVED), _line(igc)],
            "extra": [_delta(10)],
        },
        "delta-stale": stale | {"number": 11, "revoked": [], "extra": [_delta(10)]},
        "delta-stale-listed": stale | listed | {"number": 11, "extra": [_delta(10)]},
        "delta-of-later-base": {"number": 15, "revoked": [], "extra": [_delta(14)]},
        "delta-scoped": {"number": 11, **listed, "extra": [_delta(10), point()]},
        "point": {"number": 20, "extra": [point()]},
        "point-listed": {"number": 20, **listed, "extra": [point()]},
        "users": {"extra": [point(url=None, only_contains_user_certs=True)]},
        "users-listed": {**listed, "extra": [point(url=None, only_contains_user_certs=True)]},
        "authorities": {"extra": [point(only_contains_ca_certs=True)]},
        "attributes": {"extra": [point(only_contains_attribute_certs=True)]},
        "indirect": {"extra": [point(indirect_crl=True)]},
        "indirect-listed": {**listed, "extra": [point(indirect_crl=True)]},
        "some-reasons": {"extra": [point(only_some_reasons=reasons)]},
        "other-point": {"extra": [point(url=f"{SITE}/CRL/ACI-ST-PP.crl")]},
        "relative-point": {"extra": [point(url=None, relative_name=relative)]},
        "critical-unknown": {"extra": [(_ODD, True)]},
        "unknown": {"extra": [(_ODD, False)]},
        "entry-critical": {"revoked": [_line(igc, extra=((_ODD, True),))]},
        "entry-unknown": {"revoked": [_line(igc, extra=((_ODD, False),))]},
        "entry-of-others": {"revoked": [_line(igc, extra=((issuer, True),))]},
        "forged": {"number": 99, "signing_key": igc.authorities["rogue-fort-personnes"].key},
        "forged-listed": {**listed, "signing_key": igc.authorities["rogue-fort-personnes"].key},
    }


def _of_root(igc: FakeIgcSante) -> dict[str, dict[str, Any]]:
    serial = igc.authorities["fort-personnes"].certificate.serial_number
    line = Revocation(serial, igc.made_at - HOUR, x509.ReasonFlags.ca_compromise)
    own = f"{SITE}/CRL/ACR-FO.crl"
    return {
        "whole": {},
        "listed": {"number": 2, "revoked": [line]},
        "stale": {"this_update": igc.made_at - 3 * HOUR, "next_update": igc.made_at - HOUR},
        "authorities": {"extra": [point(url=own, only_contains_ca_certs=True)]},
        "users": {"extra": [point(url=own, only_contains_user_certs=True)]},
    }


def _signer(igc: FakeIgcSante, key: RSAPrivateKey) -> bytes:
    request = replace(
        igc.request(),
        subject=igc.authorities["fort-personnes"].certificate.subject,
        public_key=key.public_key(),
        extensions=(
            (key_usage("crl_sign"), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (issued_by(igc.authorities["fort"]), False),
        ),
    )
    return igc.issue(request, "fort")


def _of_another_key(igc: FakeIgcSante, key: RSAPrivateKey) -> dict[str, bytes]:
    """Return lists that the other signer made."""
    issuer = igc.authorities["fort-personnes"].certificate.subject
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    made = {}
    for name, reason in (("other-key", None), ("other-key-listed", HOLD)):
        builder = x509.CertificateRevocationListBuilder(
            issuer, igc.made_at - HOUR, igc.made_at + 9 * HOUR
        )
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        builder = builder.add_extension(identifier, critical=False)
        if reason is not None:
            line = x509.RevokedCertificateBuilder(_serial(igc), igc.made_at - HOUR)
            line = line.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(line.build())
        made[name] = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return made


def for_responders(igc: FakeIgcSante, serial: int) -> dict[str, bytes]:
    """Return lists that speak about a responder, whose certificate names no point, not of cards."""
    name = x509.DirectoryName(igc.authorities["fort-personnes"].certificate.subject)
    own = x509.IssuingDistributionPoint(
        [name],
        None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    line = Revocation(serial, igc.made_at - HOUR)
    return {
        "for-responders": igc.crl(extra=[(own, True)], revoked=[]),
        "for-responders-listed": igc.crl(extra=[(own, True)], revoked=[line]),
        "for-responders-stale": igc.crl(
            extra=[(own, True)], revoked=[], next_update=igc.made_at - HOUR / 2
        ),
    }
