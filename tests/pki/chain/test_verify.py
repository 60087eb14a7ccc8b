"""A chain holds only through known, valid authorities; every way to fail has its code."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from cps_auth.errors import CertificateExpired, CertificateNotYetValid, UntrustedIssuer
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

ROOT = "FICTIVE AC RACINE IGC-SANTE FORT"
ISSUER = "FICTIVE AC IGC-SANTE FORT PERSONNES"


def _fault(der: bytes, trust: TrustStore, at: datetime) -> str:
    with pytest.raises(UntrustedIssuer) as caught:
        verify_chain(parse_certificate(der), trust, at=at)
    assert caught.value.trust == trust.name
    return caught.value.reason


def _ca(igc: FakeIgcSante, name: str = "fort-personnes", **changes: object) -> CertificateRequest:
    """Return a request for another certificate of an existing authority, same name and key."""
    is_root = name == "fort"
    request = ca_request(
        ROOT if is_root else ISSUER,
        igc.authorities[name].key,
        not_before=igc.made_at - timedelta(days=900),
        not_after=igc.made_at + timedelta(days=900),
        issuer_key=igc.authorities["fort"].key,
        issuer_common_name=ROOT,
        path_length=None if is_root else 0,
    )
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


def _with_issuer(igc: FakeIgcSante, request: CertificateRequest) -> TrustStore:
    root = igc.authorities["fort"]
    issuer = sign_certificate(request, root.certificate.subject, root.key)
    return dataclasses.replace(igc.trust_store(), intermediates=(issuer,))


def _with_root(igc: FakeIgcSante, request: CertificateRequest) -> TrustStore:
    root = sign_certificate(request, request.subject, igc.authorities["fort"].key)
    return dataclasses.replace(igc.trust_store(), anchors=(root,))


def _doctor(igc: FakeIgcSante) -> bytes:
    return igc.credentials("doctor").authentication_certificate_der


def test_sound_chain_is_returned(igc: FakeIgcSante) -> None:
    """The doctor's chain goes over FORT PERSONNES to the root FORT, the CPE's over STANDARD."""
    for name, root in (("doctor", "fort"), ("cpe-nameless", "standard")):
        leaf = parse_certificate(igc.credentials(name).authentication_certificate_der)
        chain = verify_chain(leaf, igc.trust_store(), at=igc.made_at)
        assert chain.certificates == (
            leaf.x509,
            igc.authorities[f"{root}-personnes"].certificate,
            igc.authorities[root].certificate,
        )


def test_another_certificate_of_the_same_authority_will_do(igc: FakeIgcSante) -> None:
    """A renewed intermediate and a renewed root with the same key still make a chain."""
    leaf = parse_certificate(_doctor(igc))
    for trust in (_with_issuer(igc, _ca(igc)), _with_root(igc, _ca(igc, "fort"))):
        assert len(verify_chain(leaf, trust, at=igc.made_at).certificates) == 3


def test_certificate_without_alternative_name_will_do(igc: FakeIgcSante) -> None:
    """No subjectAltName is needed."""
    der = igc.issue(igc.request().without(x509.SubjectAlternativeName.oid))
    assert verify_chain(parse_certificate(der), igc.trust_store(), at=igc.made_at)


def test_dates_are_inclusive(igc: FakeIgcSante) -> None:
    """The first and the last second of the validity are valid, the seconds around are not."""
    leaf = parse_certificate(_doctor(igc))
    first, last = leaf.x509.not_valid_before_utc, leaf.x509.not_valid_after_utc
    for at in (first, last):
        assert verify_chain(leaf, igc.trust_store(), at=at)
    with pytest.raises(CertificateExpired) as expired:
        verify_chain(leaf, igc.trust_store(), at=last + timedelta(seconds=1))
    assert expired.value.not_after == last
    with pytest.raises(CertificateNotYetValid) as early:
        verify_chain(leaf, igc.trust_store(), at=first - timedelta(seconds=1))
    assert early.value.not_before == first


def test_naive_time_is_the_callers_error(igc: FakeIgcSante) -> None:
    """A datetime without a zone is refused, not guessed."""
    with pytest.raises(ValueError, match="naive"):
        verify_chain(
            parse_certificate(_doctor(igc)),
            igc.trust_store(),
            at=datetime(2026, 1, 1),  # noqa: DTZ001
        )


def test_another_root_of_the_same_name(igc: FakeIgcSante) -> None:
    """The forger's certificates are of an unknown issuer, whatever name they bear."""
    der = igc.credentials("unknown-root").authentication_certificate_der
    assert _fault(der, igc.trust_store(), igc.made_at) == "unknown-issuer"


def test_forged_certificate_that_claims_the_genuine_key(igc: FakeIgcSante) -> None:
    """With the genuine key identifier and the forger's signature, the signature is the fault."""
    forger = igc.authorities["rogue-fort-personnes"].key
    der = igc.issue(igc.request(), signing_key=forger)
    assert _fault(der, igc.trust_store(), igc.made_at) == "bad-signature"


def test_one_changed_bit_in_the_signature(igc: FakeIgcSante) -> None:
    """A single bit of the signature decides."""
    der = bytearray(_doctor(igc))
    der[-1] ^= 1
    assert _fault(bytes(der), igc.trust_store(), igc.made_at) == "bad-signature"


def test_missing_intermediate(igc: FakeIgcSante) -> None:
    """A root alone is no chain: intermediates come from the store only."""
    trust = dataclasses.replace(igc.trust_store(), intermediates=())
    assert _fault(_doctor(igc), trust, igc.made_at) == "unknown-issuer"


def test_intermediate_is_no_anchor(igc: FakeIgcSante) -> None:
    """An intermediate whose root is not in the store leads nowhere."""
    trust = dataclasses.replace(
        igc.trust_store(), anchors=(igc.authorities["standard"].certificate,)
    )
    assert _fault(_doctor(igc), trust, igc.made_at) == "unknown-issuer"


def test_empty_store(igc: FakeIgcSante) -> None:
    """Nobody is trusted by a store without anchors."""
    trust = TrustStore(name="empty", anchors=())
    assert _fault(_doctor(igc), trust, igc.made_at) == "unknown-issuer"


def test_self_signed(igc: FakeIgcSante) -> None:
    """A certificate that signed itself has an unknown issuer."""
    key = igc.credentials("doctor").authentication_key
    request = igc.request()
    der = sign_certificate(request, request.subject, key).public_bytes(Encoding.DER)
    assert _fault(der, igc.trust_store(), igc.made_at) == "unknown-issuer"


def test_leaf_issued_by_a_leaf(igc: FakeIgcSante) -> None:
    """The doctor's card issues no certificates, even if it is put among the intermediates."""
    doctor = x509.load_der_x509_certificate(_doctor(igc))
    key = igc.credentials("doctor").authentication_key
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    request = igc.request().having(aki, critical=False)
    der = sign_certificate(request, doctor.subject, key).public_bytes(Encoding.DER)
    store = igc.trust_store()
    trust = dataclasses.replace(store, intermediates=(*store.intermediates, doctor))
    assert _fault(der, trust, igc.made_at) == "ca-extensions"


def test_key_identifier_of_another_key(igc: FakeIgcSante) -> None:
    """A good signature with the key identifier of another authority does not hold."""
    other = issued_by(igc.authorities["standard-personnes"])
    der = igc.issue(igc.request().having(other, critical=False))
    assert _fault(der, igc.trust_store(), igc.made_at) == "key-identifier-mismatch"


def test_no_key_identifier(igc: FakeIgcSante) -> None:
    """A leaf that does not say which key signed it does not hold."""
    der = igc.issue(igc.request().without(x509.AuthorityKeyIdentifier.oid))
    assert _fault(der, igc.trust_store(), igc.made_at) == "key-identifier-mismatch"


def test_ca_certificate_as_a_leaf(igc: FakeIgcSante) -> None:
    """A certificate that says CA:TRUE is nobody's card."""
    basic = x509.BasicConstraints(ca=True, path_length=None)
    der = igc.issue(igc.request().having(basic, critical=True))
    assert _fault(der, igc.trust_store(), igc.made_at) == "leaf-is-ca"


@pytest.mark.parametrize(
    "usage", [key_usage("digital_signature", "key_cert_sign"), key_usage("crl_sign")]
)
def test_leaf_that_may_sign_for_a_ca(igc: FakeIgcSante, usage: x509.KeyUsage) -> None:
    """A leaf with a CA's key usage is refused."""
    der = igc.issue(igc.request().having(usage, critical=True))
    assert _fault(der, igc.trust_store(), igc.made_at) == "leaf-extensions"


def test_leaf_without_key_usage(igc: FakeIgcSante) -> None:
    """A leaf that does not say what its key is for is refused."""
    der = igc.issue(igc.request().without(x509.KeyUsage.oid))
    assert _fault(der, igc.trust_store(), igc.made_at) == "leaf-extensions"


def test_unknown_critical_extension(igc: FakeIgcSante) -> None:
    """A critical extension that nobody understands is refused, on a leaf and on a CA."""
    odd = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    der = igc.issue(igc.request().having(odd, critical=True))
    assert _fault(der, igc.trust_store(), igc.made_at) == "leaf-extensions"
    trust = _with_issuer(igc, _ca(igc).having(odd, critical=True))
    assert _fault(_doctor(igc), trust, igc.made_at) == "ca-extensions"


@pytest.mark.parametrize(
    "usage", [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
)
def test_authority_for_client_logins(igc: FakeIgcSante, usage: ObjectIdentifier) -> None:
    """An authority whose extended key usage names client logins, or any, may issue for them."""
    request = _ca(igc).having(x509.ExtendedKeyUsage([usage]), critical=False)
    trust = _with_issuer(igc, request)
    chain = verify_chain(parse_certificate(_doctor(igc)), trust, at=igc.made_at)
    assert chain.issuers[0].x509 == trust.intermediates[0]


def test_weak_leaf_key(igc: FakeIgcSante) -> None:
    """RSA-1024 on a card is refused; the library alone would accept it."""
    weak = generate_private_key(65537, 1024).public_key()  # noqa: S505, weak on purpose
    leaf = igc.issue_leaf(public_key=weak)
    assert _fault(leaf.der, igc.trust_store(), igc.made_at) == "weak-key"


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256K1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["secp256k1", "ed25519"],
)
def test_leaf_key_of_another_kind(
    igc: FakeIgcSante, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    """Curves that the profile doesn't name, and kinds of keys that it doesn't know, are weak."""
    request = dataclasses.replace(igc.request(), public_key=key.public_key())
    assert _fault(igc.issue(request), igc.trust_store(), igc.made_at) == "weak-key"


def test_weak_hash_of_a_stranger(igc: FakeIgcSante) -> None:
    """Who issued it is told before how it was signed."""
    trust = dataclasses.replace(igc.trust_store(), intermediates=())
    assert _fault(_signed_with_sha1(igc), trust, igc.made_at) == "unknown-issuer"


def test_sha1(igc: FakeIgcSante) -> None:
    """A SHA-1 signature is refused even when it verifies."""
    assert _fault(_signed_with_sha1(igc), igc.trust_store(), igc.made_at) == "weak-hash"


def _signed_with_sha1(igc: FakeIgcSante) -> bytes:
    """Replace the algorithm inside and outside (RFC 8017 appendix A.2.4) and sign again."""
    sha256, sha1 = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("0b", "05"))
    der = _doctor(igc).replace(sha256, sha1)
    tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    key = igc.authorities["fort-personnes"].key
    signature = key.sign(tbs, PKCS1v15(), hashes.SHA1())  # noqa: S303
    return der[: -len(signature)] + signature


@pytest.mark.parametrize("name", ["fort", "fort-personnes"])
def test_authority_out_of_date(igc: FakeIgcSante, name: str) -> None:
    """An expired or future authority breaks the chain, the root in the store too."""
    put = _with_root if name == "fort" else _with_issuer
    day = timedelta(days=1)
    expired = put(igc, _ca(igc, name, not_after=igc.made_at - day))
    future = put(igc, _ca(igc, name, not_before=igc.made_at + day))
    assert _fault(_doctor(igc), expired, igc.made_at) == "ca-expired"
    assert _fault(_doctor(igc), future, igc.made_at) == "ca-not-yet-valid"


def test_unrelated_expired_authority_does_not_matter(igc: FakeIgcSante) -> None:
    """An expired intermediate of another branch leaves the doctor's chain alone."""
    expired = _ca(igc, "standard-personnes", not_after=igc.made_at - timedelta(days=1))
    store = _with_issuer(igc, expired)
    trust = dataclasses.replace(
        store, intermediates=(*store.intermediates, *igc.trust_store().intermediates)
    )
    assert verify_chain(parse_certificate(_doctor(igc)), trust, at=igc.made_at)


@pytest.mark.parametrize(
    ("extension", "critical"),
    [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage("crl_sign"), True),
        (
            x509.NameConstraints(
                None, [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.TITLE, "x")]))]
            ),
            False,
        ),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ],
    ids=["not-a-ca", "may-not-certify", "name-constraints", "for-servers"],
)
def test_authority_that_may_not(
    igc: FakeIgcSante, extension: x509.ExtensionType, critical: bool
) -> None:
    """An intermediate whose extensions don't allow it to issue for us breaks the chain."""
    trust = _with_issuer(igc, _ca(igc).having(extension, critical=critical))
    assert _fault(_doctor(igc), trust, igc.made_at) == "ca-extensions"


@pytest.mark.parametrize(
    "extension",
    [x509.BasicConstraints(ca=True, path_length=0), key_usage("key_cert_sign", "crl_sign")],
)
def test_authority_whose_extensions_are_not_critical(
    igc: FakeIgcSante, extension: x509.ExtensionType
) -> None:
    """What an authority says counts whether it is critical or not (PKITS 4.6.4 and 4.7.3)."""
    trust = _with_issuer(igc, _ca(igc).having(extension, critical=False))
    assert verify_chain(parse_certificate(_doctor(igc)), trust, at=igc.made_at)


@pytest.mark.parametrize("kind", [x509.BasicConstraints, x509.KeyUsage])
def test_authority_that_does_not_say(igc: FakeIgcSante, kind: type[x509.ExtensionType]) -> None:
    """An intermediate without basic constraints or key usage breaks the chain."""
    trust = _with_issuer(igc, _ca(igc).without(kind.oid))
    assert _fault(_doctor(igc), trust, igc.made_at) == "ca-extensions"


def test_weak_authority_key(igc: FakeIgcSante) -> None:
    """An intermediate with RSA-1024 breaks the chain."""
    key = generate_private_key(65537, 1024)  # noqa: S505, weak on purpose
    request = _ca(igc, public_key=key.public_key())
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    trust = _with_issuer(igc, request.having(ski, critical=False))
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    leaf = igc.request().having(aki, critical=False)
    der = igc.issue(leaf, signing_key=key)
    assert _fault(der, trust, igc.made_at) == "weak-key"


@pytest.mark.parametrize("path_length", [0, None])
def test_path_too_long(igc: FakeIgcSante, path_length: int | None) -> None:
    """A second intermediate is one too many, forbidden by the first or not."""
    root, first, second = (
        igc.authorities[name] for name in ("fort", "fort-personnes", "standard-personnes")
    )
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    upper = sign_certificate(
        _ca(igc).having(basic, critical=True), root.certificate.subject, root.key
    )
    below = _ca(igc, "standard-personnes", subject=second.certificate.subject)
    lower = sign_certificate(
        below.having(issued_by(first), critical=False), upper.subject, first.key
    )
    leaf = igc.request().having(issued_by(second), critical=False)
    der = igc.issue(leaf, "standard-personnes")
    trust = dataclasses.replace(igc.trust_store(), intermediates=(upper, lower))
    assert _fault(der, trust, igc.made_at) == "path-too-long"
