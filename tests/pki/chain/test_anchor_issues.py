"""An issuing authority that is the anchor itself, as eID sites have it: no verifier looks at it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from cps_auth.errors import UntrustedIssuer
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.chain.verify import verify_chain
from hardware_mocks.igc.certificates import (
    CertificateRequest,
    ca_request,
    issued_by,
    key_usage,
    sign_certificate,
)
from hardware_mocks.igc.fake_igc import FakeIgcSante

DAY = timedelta(days=1)
ODD = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
NAMES = x509.NameConstraints(
    None, [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.TITLE, "x")]))]
)


def _request(igc: FakeIgcSante, key: RSAPrivateKey | None = None) -> CertificateRequest:
    authority = igc.authorities["fort-personnes"]
    return ca_request(
        "FICTIVE AC IGC-SANTE FORT PERSONNES",
        key or authority.key,
        not_before=igc.made_at - 900 * DAY,
        not_after=igc.made_at + 900 * DAY,
        issuer_key=igc.authorities["fort"].key,
        issuer_common_name="FICTIVE AC RACINE IGC-SANTE FORT",
        path_length=0,
    )


def _anchored(igc: FakeIgcSante, request: CertificateRequest) -> TrustStore:
    root = igc.authorities["fort"]
    issuer = sign_certificate(request, root.certificate.subject, root.key)
    return TrustStore("anchor", (issuer,))


def _reason(igc: FakeIgcSante, trust: TrustStore, der: bytes | None = None) -> str:
    leaf = parse_certificate(der or igc.credentials("doctor").authentication_certificate_der)
    with pytest.raises(UntrustedIssuer) as caught:
        verify_chain(leaf, trust, at=igc.made_at)
    return caught.value.reason


def test_it_may_be_an_anchor(igc: FakeIgcSante) -> None:
    """The chain ends there: leaf and anchor."""
    leaf = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    trust = _anchored(igc, _request(igc))
    assert verify_chain(leaf, trust, at=igc.made_at).certificates == (leaf.x509, *trust.anchors)


@pytest.mark.parametrize(
    ("extension", "critical"),
    [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage("crl_sign"), True),
        (NAMES, False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (ODD, True),
    ],
    ids=["not-a-ca", "may-not-certify", "name-constraints", "for-servers", "unknown-critical"],
)
def test_its_extensions_count(
    igc: FakeIgcSante, extension: x509.ExtensionType, critical: bool
) -> None:
    """What it may not do, it may not do as an anchor either."""
    trust = _anchored(igc, _request(igc).having(extension, critical=critical))
    assert _reason(igc, trust) == "ca-extensions"


@pytest.mark.parametrize("kind", [x509.BasicConstraints, x509.KeyUsage])
def test_it_has_to_say(igc: FakeIgcSante, kind: type[x509.ExtensionType]) -> None:
    """Without basic constraints or key usage it issues nothing."""
    assert _reason(igc, _anchored(igc, _request(igc).without(kind.oid))) == "ca-extensions"


def test_its_dates_count(igc: FakeIgcSante) -> None:
    """An anchor that has expired, or is not valid yet, is none."""
    for changes, reason in (
        ({"not_after": igc.made_at - DAY}, "ca-expired"),
        ({"not_before": igc.made_at + DAY}, "ca-not-yet-valid"),
    ):
        trust = _anchored(igc, dataclasses.replace(_request(igc), **changes))
        assert _reason(igc, trust) == reason


def test_its_key_counts(igc: FakeIgcSante) -> None:
    """With RSA-1024 it issues nothing."""
    key = generate_private_key(65537, 1024)  # noqa: S505, weak on purpose
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    der = igc.issue(igc.request().having(aki, critical=False), signing_key=key)
    assert _reason(igc, _anchored(igc, _request(igc, key)), der) == "weak-key"


# --- An intermediate -------------------------------------------------------------


def test_key_identifier_along_the_path(igc: FakeIgcSante) -> None:
    """An intermediate that names another key than its root's breaks the chain."""
    root = igc.authorities["fort"]
    other = issued_by(igc.authorities["standard"])
    request = _request(igc).having(other, critical=False)
    issuer = sign_certificate(request, root.certificate.subject, root.key)
    trust = TrustStore("path", (root.certificate,), (issuer,))
    assert _reason(igc, trust) == "key-identifier-mismatch"
    without = _request(igc).without(x509.AuthorityKeyIdentifier.oid)
    issuer = sign_certificate(without, root.certificate.subject, root.key)
    trust = TrustStore("path", (root.certificate,), (issuer,))
    assert _reason(igc, trust) == "key-identifier-mismatch"


# --- The leaf's issuer -----------------------------------------------------------


def test_name_of_the_issuer_counts(igc: FakeIgcSante) -> None:
    """The right key under another name is nobody's; case and spaces make no other name."""
    authority = igc.authorities["fort-personnes"]
    renamed = {
        "FICTIVE AC IGC-SANTE FORT PERSONNES": None,
        " fictive  ac igc-sante Fort PERSONNES": None,
        "FICTIVE AC IGC-SANTE FORT ORGANISATIONS": "unknown-issuer",
    }
    for common_name, reason in renamed.items():
        rdns = [
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
            if rdn.get_attributes_for_oid(NameOID.COMMON_NAME)
            else rdn
            for rdn in authority.certificate.subject.rdns
        ]
        leaf = sign_certificate(igc.request(), x509.Name(rdns), authority.key)
        der = leaf.public_bytes(Encoding.DER)
        if reason is None:
            assert verify_chain(parse_certificate(der), igc.trust_store(), at=igc.made_at)
        else:
            assert _reason(igc, igc.trust_store(), der) == reason
