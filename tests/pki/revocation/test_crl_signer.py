"""Lists that another certificate of an issuer's name signs (RFC 5280 section 6.3.3 (f))."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.policy import RevocationPolicy
from hardware_mocks.igc.certificates import issued_by, key_usage
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """The key that signs lists."""
    return rsa.generate_private_key(65537, 2048)


def _signer(
    igc: FakeIgcSante, key: rsa.RSAPrivateKey, usage: str = "crl_sign", by: str = "fort", **new: Any
) -> bytes:
    """Return a certificate of the name FORT PERSONNES for the key that signs lists."""
    request = dataclasses.replace(
        igc.request(),
        subject=igc.authorities["fort-personnes"].certificate.subject,
        public_key=key.public_key(),
        extensions=(
            (key_usage(usage), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (issued_by(igc.authorities[by]), False),
        ),
        **new,
    )
    return igc.issue(request, by)


def _list(
    igc: FakeIgcSante,
    key: rsa.RSAPrivateKey,
    *serials: int,
    number: int = 1,
    reason: x509.ReasonFlags | None = None,
    base: int | None = None,
) -> bytes:
    issuer = igc.authorities["fort-personnes"].certificate.subject
    dates = igc.made_at - HOUR, igc.made_at + 9 * HOUR
    builder = x509.CertificateRevocationListBuilder(issuer, *dates)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    if base is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, igc.made_at)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _judge(igc: FakeIgcSante, signer: bytes, *lists: bytes) -> Judge:
    trust = igc.trust_store()
    others = (*trust.intermediates, x509.load_der_x509_certificate(signer))
    return Judge(dataclasses.replace(trust, intermediates=others), CrlStore(lists))


def _doctor(igc: FakeIgcSante) -> bytes:
    return igc.credentials("doctor").authentication_certificate_der


def test_list_of_another_key(igc: FakeIgcSante, key: rsa.RSAPrivateKey) -> None:
    """It is evidence, and it revokes."""
    signer, root_list = _signer(igc, key), igc.crls["ACR-FO"]
    judge = _judge(igc, signer, _list(igc, key), root_list)
    assert judge.judge(_doctor(igc), at=igc.made_at).revocation[0].crl_number == 1
    serial = x509.load_der_x509_certificate(_doctor(igc)).serial_number
    with pytest.raises(CertificateRevoked):
        _judge(igc, signer, _list(igc, key, serial), root_list).judge(_doctor(igc), at=igc.made_at)


def test_signer_is_looked_at_each_time(igc: FakeIgcSante, key: rsa.RSAPrivateKey) -> None:
    """What was evidence is none any more once its signer's certificate has expired."""
    signer = _signer(igc, key, not_after=igc.made_at + HOUR)
    judge = _judge(igc, signer, _list(igc, key), igc.crls["ACR-FO"])
    for _ in range(2):
        assert judge.judge(_doctor(igc), at=igc.made_at)
    with pytest.raises(RevocationUnknown):
        judge.judge(_doctor(igc), at=igc.made_at + 2 * HOUR)


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": "digital_signature"},
        {"usage": "key_cert_sign"},
        {"by": "standard"},
        {"by": "rogue-fort"},
        {"not_after": -HOUR},
    ],
    ids=["usage", "no-crl-sign", "other-root", "forger", "expired"],
)
def test_who_may_not(igc: FakeIgcSante, key: rsa.RSAPrivateKey, changes: dict[str, Any]) -> None:
    """Another certificate of that name that may not sign lists, or that nobody vouches for."""
    if "not_after" in changes:
        changes = {"not_after": igc.made_at - HOUR}
    judge = _judge(igc, _signer(igc, key, **changes), _list(igc, key), igc.crls["ACR-FO"])
    with pytest.raises(RevocationUnknown):
        judge.judge(_doctor(igc), at=igc.made_at)


def test_signer_that_is_revoked(igc: FakeIgcSante, key: rsa.RSAPrivateKey) -> None:
    """On the list of the root, or without any such list, it signs nothing."""
    signer = _signer(igc, key)
    serial = x509.load_der_x509_certificate(signer).serial_number
    root_list = igc.crl("fort", revoked=[Revocation(serial, igc.made_at)])
    for lists in ((_list(igc, key), root_list), (_list(igc, key),)):
        with pytest.raises(RevocationUnknown):
            _judge(igc, signer, *lists).judge(_doctor(igc), at=igc.made_at)


def test_signer_that_nobody_can_check_any_more(igc: FakeIgcSante, key: rsa.RSAPrivateKey) -> None:
    """Grace is for the chain: a signer that a stale list speaks for signs nothing."""
    stale = igc.crl("fort", this_update=igc.made_at - 9 * HOUR, next_update=igc.made_at - HOUR)
    signer, grace = _signer(igc, key), RevocationPolicy.grace(hours=24)
    judge = _judge(igc, signer, _list(igc, key), stale)
    judge.policy = grace
    with pytest.raises(RevocationUnknown) as caught:
        judge.judge(_doctor(igc), at=igc.made_at)
    assert caught.value.why == "crl-other-key"
    judge.crls = CrlStore([igc.crls["ACI-FO-PP"], stale])
    assert judge.judge(_doctor(igc), at=igc.made_at)


def test_a_change_to_a_list_of_another_key(igc: FakeIgcSante, key: rsa.RSAPrivateKey) -> None:
    """A delta list goes with complete lists of its own key only: RFC 5280 section 5.2.4."""
    serial = x509.load_der_x509_certificate(_doctor(igc)).serial_number
    removed = {"number": 2, "base": 1, "reason": x509.ReasonFlags.remove_from_crl}
    on_hold = _list(igc, key, serial, reason=x509.ReasonFlags.certificate_hold)
    own_key = igc.authorities["fort-personnes"].key
    signer, root_list = _signer(igc, key), igc.crls["ACR-FO"]
    judge = _judge(igc, signer, on_hold, _list(igc, key, serial, **removed), root_list)
    assert judge.judge(_doctor(igc), at=igc.made_at)
    judge = _judge(igc, signer, on_hold, _list(igc, own_key, serial, **removed), root_list)
    with pytest.raises(CertificateRevoked):
        judge.judge(_doctor(igc), at=igc.made_at)
