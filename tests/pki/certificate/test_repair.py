"""Certificates of real cards that break the letter: read, judged by their own bytes, no further."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.der import element_at, inside
from cps_auth.errors import CertificateMalformed, CertificateRevoked, UntrustedIssuer
from cps_auth.pki.certificate.parse import load_x509, parse_certificate
from cps_auth.pki.certificate.profiles import EID_LOGIN
from cps_auth.pki.certificate.repair import repaired_copy
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.card.ber import tlv
from hardware_mocks.igc.certificates import key_usage
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.odd_certificates import FAULTS, NOT_A_CA_WRITTEN_OUT, ca_written_out, odd_card, resized

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def odd(igc: FakeIgcSante) -> dict[str, bytes]:
    """One certificate with each fault."""
    return {name: odd_card(igc, fault)[1] for name, fault in FAULTS.items()}


def _read_all(certificate: x509.Certificate) -> object:
    return certificate.subject, certificate.extensions


@pytest.mark.parametrize("name", FAULTS)
def test_card_with_a_fault_is_judged(igc: FakeIgcSante, name: str) -> None:
    """The library cannot read it; who is named is the same, and the fingerprint is its own."""
    sound, der = odd_card(igc, FAULTS[name])
    with pytest.raises(ValueError, match=r"error parsing|TeletexString|Invalid"):
        _read_all(x509.load_der_x509_certificate(der))
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    judged = judge.judge(der, at=igc.made_at)
    assert judged.certificate.practitioner == parse_certificate(sound).practitioner
    assert judged.certificate.practitioner.given_name == "Éloïse"
    assert judged.certificate.der == der
    line = Revocation(judged.chain[0].serial_number, igc.made_at)
    lists = CrlStore([igc.crl(revoked=[line]), igc.crls["ACR-FO"]])
    with pytest.raises(CertificateRevoked) as caught:
        Judge(igc.trust_store(), lists).judge(der, at=igc.made_at)
    assert caught.value.sha256_hex == judged.certificate.sha256_hex


@pytest.mark.parametrize("name", FAULTS)
def test_fault_that_was_not_signed(igc: FakeIgcSante, name: str) -> None:
    """A certificate into which, or out of which, somebody put a fault has a bad signature."""
    sound, der = odd_card(igc, FAULTS[name])
    signatures = [load_x509(whole).signature for whole in (sound, der)]
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    for spoiled in (der.replace(signatures[1], signatures[0]), repaired_copy(der)):
        with pytest.raises(UntrustedIssuer) as caught:
            judge.judge(spoiled, at=igc.made_at)
        assert caught.value.reason == "bad-signature"


def test_sound_certificates_are_their_own_copy(igc: FakeIgcSante) -> None:
    """Nothing is repaired where nothing is wrong."""
    for card in igc.cards.values():
        der = card.authentication_certificate_der
        assert repaired_copy(der) is None
    for authority in igc.authorities.values():
        assert repaired_copy(authority.der) is None


def test_other_faults_stay(igc: FakeIgcSante) -> None:
    """BER, a CA flag of another value, a tag that is wrong or bytes after it are not repaired."""
    sound, der = odd_card(igc, ca_written_out)
    for spoiled in (
        der.replace(NOT_A_CA_WRITTEN_OUT, b"\x04\x05\x30\x03\x01\x01\x01"),
        der.replace(b"\x30\x82", b"\x30\x83\x00", 1),
        b"\x30\x80" + sound[4:] + b"\x00\x00",
        sound + b"\x00",
        der + b"\x00",
        *(_with_another_tag(der, at) for at in _starts(der)),
    ):
        with pytest.raises(CertificateMalformed):
            parse_certificate(spoiled)


def _starts(der: bytes) -> list[int]:
    """Return where the certificate, its three parts and the parts of the first start."""
    whole = element_at(der, 0, len(der))
    signed = element_at(der, whole.content, whole.end)
    parts = [*inside(der, whole), *inside(der, signed)]
    return [0, *(part.start for part in parts)]


def _with_another_tag(der: bytes, at: int) -> bytes:
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]


# --- ECDSA, as in Finland --------------------------------------------------------

_NULL = b"\x05\x00"


def _ecdsa(null_inside: bool, null_outside: bool) -> tuple[bytes, Judge, datetime]:
    """Return a card of a scheme on P-384 whose algorithm has NULL for parameters."""
    at = datetime(2026, 6, 1, tzinfo=UTC)
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test eID CA")])
    dates, identifier = (at - DAY, at + DAY), x509.SubjectKeyIdentifier.from_public_key
    ca = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, *dates)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(identifier(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "99901112H")])
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    leaf = (
        x509.CertificateBuilder(name, subject, key.public_key(), 2, *dates)
        .add_extension(key_usage("digital_signature"), critical=True)
        .add_extension(aki, critical=False)
        .sign(key, hashes.SHA384())
    )
    tbs, bare = leaf.tbs_certificate_bytes, bytes.fromhex("300a06082a8648ce3d040303")
    odd = tlv(0x30, bare[2:], _NULL)
    if null_inside:
        tbs = resized(tbs, bare, odd)
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA384()))
    der = tlv(0x30, tbs, odd if null_outside else bare, tlv(0x03, b"\x00", signature))
    crl = x509.CertificateRevocationListBuilder(name, *dates).sign(key, hashes.SHA384())
    lists = CrlStore([crl.public_bytes(Encoding.DER)])
    return (
        der,
        Judge(
            TrustStore("eID", (load_x509(ca.public_bytes(Encoding.DER)),)), lists, profile=EID_LOGIN
        ),
        at,
    )


@pytest.mark.parametrize(
    ("inside_too", "outside", "accepted"),
    [(False, False, True), (True, True, True), (True, False, False), (False, True, False)],
)
def test_ecdsa_with_null(inside_too: bool, outside: bool, accepted: bool) -> None:
    """NULL parameters are read over, but the two algorithms have to be the same bytes."""
    der, judge, at = _ecdsa(inside_too, outside)
    if accepted:
        assert judge.judge(der, at=at).certificate.practitioner.ps_idnat == "99901112H"
    else:
        with pytest.raises(UntrustedIssuer):
            judge.judge(der, at=at)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_nothing_altered_is_accepted(
    igc: FakeIgcSante, odd: dict[str, bytes], data: st.DataObject
) -> None:
    """Whatever bytes are changed in such a certificate, only our own refusals come of it."""
    genuine = odd[data.draw(st.sampled_from(sorted(odd)))]
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    altered = bytearray(genuine)
    start = data.draw(st.integers(0, len(altered) - 1))
    altered[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    if bytes(altered) == genuine:
        return
    with pytest.raises((CertificateMalformed, UntrustedIssuer)):
        judge.judge(bytes(altered), at=igc.made_at)
