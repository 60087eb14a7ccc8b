"""The token verifier under another trust store and profile: an eID with elliptic keys."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cps_auth.errors import BadSignature, CertificateRefused, HolderNotAllowed
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.verify import verify_proof
from cps_auth.login.web_eid import make_token, parse_token
from cps_auth.model import CardSignature, Practitioner, SignatureAlgorithm
from cps_auth.pki.certificate.profiles import EID_LOGIN
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ORIGIN = "https://eid.test"


def _name(common_name: str, **more: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COUNTRY_NAME, "EE")]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    attributes += [x509.NameAttribute(getattr(NameOID, oid), text) for oid, text in more.items()]
    return x509.Name(attributes)


def _usage(**true: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
             "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: true.get(name, False) for name in names})


class Scheme:
    """A country's cards: one authority on P-384, whose certificate is trusted itself."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP384R1())
        root_key = ec.generate_private_key(ec.SECP521R1())
        self.authority = self._sign(
            x509.CertificateBuilder()
            .subject_name(_name("eID CA"))
            .issuer_name(_name("eID root"))
            .public_key(self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True),
            root_key,
        )
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.authority.subject)
            .last_update(AT - DAY)
            .next_update(AT + DAY)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self.key, hashes.SHA384())
        )
        trust = TrustStore(name="eID", anchors=(self.authority,), intermediates=())
        lists = CrlStore([crl.public_bytes(Encoding.DER)])
        self.judge = Judge(trust, lists, profile=EID_LOGIN)

    def leaf(self, key: Any, *, usage: x509.KeyUsage | None = None) -> bytes:
        """Return a holder's certificate."""
        subject = _name("JÕEORG,JAAK-KRISTJAN", SERIAL_NUMBER="PNOEE-38001085718", SURNAME="JÕEORG")
        extended = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._sign(
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.authority.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
            .add_extension(usage or _usage(digital_signature=True), critical=True)
            .add_extension(extended, critical=False)
            .add_extension(self._key_identifier(), critical=False),
            self.key,
        ).public_bytes(Encoding.DER)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    @staticmethod
    def _sign(builder: x509.CertificateBuilder, key: Any) -> x509.Certificate:
        public = builder._public_key
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(AT - 30 * DAY)
            .not_valid_after(AT + 30 * DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA384())
        )


@pytest.fixture(scope="module")
def scheme() -> Scheme:
    """One scheme for all tests."""
    return Scheme()


def _log_in(scheme: Scheme, curve: Any, name: str, der: bytes | None = None, key: Any = None,
            allow: Any = lambda _: None):  # fmt: skip
    key = key or ec.generate_private_key(curve)
    challenge = issue_challenge(ORIGIN, at=AT)
    algorithm = SignatureAlgorithm(name)
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[name[2:]]
    parts = (ORIGIN, challenge.nonce)
    message = b"".join(hashlib.new(algorithm.hash_name, part.encode()).digest() for part in parts)
    size = (key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    signature = CardSignature(algorithm, r.to_bytes(size) + s.to_bytes(size))
    token = make_token(der or scheme.leaf(key), signature, "https://web-eid.test/2.0")
    proof = parse_token(json.dumps(token).encode())
    return verify_proof(proof, challenge, judge=scheme.judge, allow=allow, at=AT)


@pytest.mark.parametrize(
    ("curve", "name"),
    [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")],
)
def test_an_eid_logs_in_under_its_own_authority(scheme: Scheme, curve: Any, name: str) -> None:
    """A trusted intermediate is enough, as for the official validators; the profile reads names."""
    holder = _log_in(scheme, curve, name)
    assert holder.practitioner.ps_idnat == "PNOEE-38001085718"
    assert holder.practitioner.surname == "JÕEORG"
    assert holder.trust == "eID"


def test_a_holder_who_may_not_log_in_here_is_refused_by_the_verifier(scheme: Scheme) -> None:
    """Step 6 belongs to it: not only to the web backend that asks again."""

    def nobody(_: Practitioner) -> None:
        raise HolderNotAllowed

    with pytest.raises(HolderNotAllowed):
        _log_in(scheme, ec.SECP384R1(), "ES384", allow=nobody)


def test_a_hash_of_another_curve_is_refused(scheme: Scheme) -> None:
    """ES256 over a P-384 key: not one of the pairs, whatever the signature is worth."""
    with pytest.raises(BadSignature):
        _log_in(scheme, ec.SECP384R1(), "ES256")


def test_a_signing_certificate_of_the_scheme_is_refused(scheme: Scheme) -> None:
    """Genuine, and made for documents."""
    key = ec.generate_private_key(ec.SECP384R1())
    der = scheme.leaf(key, usage=_usage(content_commitment=True))
    with pytest.raises(CertificateRefused):
        _log_in(scheme, None, "ES384", der, key)


def test_a_card_of_the_other_scheme_is_refused(scheme: Scheme, igc: Any) -> None:
    """Trust is the given store's, and nothing else's."""
    key = ec.generate_private_key(ec.SECP384R1())
    der = igc.credentials("doctor").authentication_certificate_der
    with pytest.raises(CertificateRefused):
        _log_in(scheme, None, "ES384", der, key)
