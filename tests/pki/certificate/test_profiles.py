"""Profiles as data: other schemes, other keys, and what each card type needs."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cps_auth.errors import CertificateMalformed, UntrustedIssuer, WrongPurpose
from cps_auth.model import CardType
from cps_auth.pki.certificate.profiles import (
    CARD_RULES,
    EID_LOGIN,
    IGC_SANTE_LOGIN,
    CertificateProfile,
    KeyRules,
)
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.judge import Judge, JudgedCertificate
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.card_certificates import OID_CARD_TYPE, private_extension
from hardware_mocks.igc.certificates import key_usage, policies
from hardware_mocks.igc.fake_igc import FakeIgcSante

AT = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PERSON = {
    NameOID.COUNTRY_NAME: "EE",
    NameOID.SURNAME: "JÕEORG",
    NameOID.GIVEN_NAME: "JAAK-KRISTJAN",
    NameOID.SERIAL_NUMBER: "PNOEE-38001085718",
}


def _name(values: dict[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values.items()])


class Scheme:
    """Another country's eID: one CA, its list, and cards of any shape."""

    def __init__(
        self, key: CertificateIssuerPrivateKeyTypes, *, pss: bool = False, digest: Any = None
    ) -> None:
        self.key = key
        self.digest = digest or hashes.SHA384()
        whole = padding.PSS(padding.MGF1(self.digest), padding.PSS.DIGEST_LENGTH)
        self.padding = whole if pss else None
        self.name = _name({NameOID.COMMON_NAME: "Test eID CA"})
        self.certificate = self.sign(
            self.name,
            self.key,
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (key_usage("key_cert_sign", "crl_sign"), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        )

    def sign(
        self, subject: x509.Name, key: Any, *extensions: tuple[x509.ExtensionType, bool]
    ) -> x509.Certificate:
        """Certify a key."""
        builder = x509.CertificateBuilder(
            self.name, subject, key.public_key(), 4711, AT - 9 * DAY, AT + 9 * DAY
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, self.digest, rsa_padding=self.padding)

    def card(self, key: Any, *more: tuple[x509.ExtensionType, bool], subject: Any = None) -> bytes:
        """Return the authentication certificate of a card with this key."""
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        kinds = {type(extension) for extension, _ in more}
        usage = () if x509.KeyUsage in kinds else ((key_usage("digital_signature"), True),)
        certificate = self.sign(_name(subject or PERSON), key, (aki, False), *usage, *more)
        return certificate.public_bytes(Encoding.DER)

    def judge(self, profile: CertificateProfile = EID_LOGIN) -> Judge:
        """Return a judge that trusts this CA alone, as Web eID sites do."""
        builder = x509.CertificateRevocationListBuilder(self.name, AT - DAY, AT + DAY)
        crl = builder.sign(self.key, self.digest, rsa_padding=self.padding)
        lists = CrlStore([crl.public_bytes(Encoding.DER)])
        return Judge(TrustStore("eID", (self.certificate,)), lists, profile=profile)

    def verdict(self, der: bytes, profile: CertificateProfile = EID_LOGIN) -> JudgedCertificate:
        """Judge a card."""
        return self.judge(profile).judge(der, at=AT)


@pytest.fixture(scope="module")
def scheme() -> Scheme:
    """A CA on P-384, as Estonia's."""
    return Scheme(ec.generate_private_key(ec.SECP384R1()))


@pytest.fixture(scope="module")
def holder_key() -> ec.EllipticCurvePrivateKey:
    """The key of a card."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    """An RSA key that any role may have."""
    return rsa.generate_private_key(65537, 2048)


def test_card_of_another_country(scheme: Scheme, holder_key: Any) -> None:
    """An eID without any extension of the IGC-Santé is judged under its own profile."""
    judged = scheme.verdict(scheme.card(holder_key))
    holder = judged.certificate.practitioner
    assert (holder.ps_idnat, holder.card_type) == ("PNOEE-38001085718", None)
    assert holder.display_name == "JAAK-KRISTJAN JÕEORG"
    assert (judged.trust, judged.profile, len(judged.chain)) == ("eID", EID_LOGIN.name, 2)


def test_it_is_no_card_of_the_igc_sante(scheme: Scheme, holder_key: Any) -> None:
    """The same certificate is malformed under the profile of the CPS, and a CPS under this."""
    with pytest.raises(CertificateMalformed):
        scheme.verdict(scheme.card(holder_key), IGC_SANTE_LOGIN)
    with pytest.raises(CertificateMalformed):
        scheme.verdict(scheme.card(holder_key, subject={NameOID.COMMON_NAME: "899900000011"}))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA512()])
def test_ecdsa(curve: ec.EllipticCurve, digest: hashes.HashAlgorithm) -> None:
    """Issuers and cards on the NIST curves, with SHA-256 to SHA-512."""
    ca = Scheme(ec.generate_private_key(curve), digest=digest)
    assert ca.verdict(ca.card(ec.generate_private_key(curve)))
    der = bytearray(ca.card(ec.generate_private_key(curve)))
    der[-1] ^= 1
    with pytest.raises(UntrustedIssuer):
        ca.verdict(bytes(der))


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_rsa_pss(rsa_key: rsa.RSAPrivateKey, digest: hashes.HashAlgorithm) -> None:
    """Issuers that sign certificates and lists with RSA-PSS."""
    ca = Scheme(rsa_key, pss=True, digest=digest)
    assert ca.verdict(ca.card(rsa_key))
    der = bytearray(ca.card(rsa_key))
    der[-1] ^= 1
    with pytest.raises(UntrustedIssuer) as caught:
        ca.verdict(bytes(der))
    assert caught.value.reason == "bad-signature"


@pytest.mark.parametrize("salt", [0, 20, 33])
def test_rsa_pss_with_an_odd_salt(rsa_key: rsa.RSAPrivateKey, salt: int) -> None:
    """A salt of another length than the hash is not accepted (RFC 4055 section 3.1 allows it)."""
    ca = Scheme(rsa_key, pss=True, digest=hashes.SHA256())
    ca.padding = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    with pytest.raises(UntrustedIssuer):
        ca.verdict(ca.card(rsa_key))


def test_rsa_pss_with_two_hashes(rsa_key: rsa.RSAPrivateKey) -> None:
    """A mask made with another hash than the message's is not accepted."""
    ca = Scheme(rsa_key, pss=True, digest=hashes.SHA256())
    ca.padding = padding.PSS(padding.MGF1(hashes.SHA512()), padding.PSS.DIGEST_LENGTH)
    with pytest.raises(UntrustedIssuer):
        ca.verdict(ca.card(rsa_key))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),  # noqa: S505, weak on purpose
    ],
    ids=["p224", "secp256k1", "brainpool", "ed25519", "rsa-1024"],
)
def test_keys_that_are_not_accepted(scheme: Scheme, key: Any) -> None:
    """Kinds and sizes of keys that the profile does not name are refused."""
    with pytest.raises(UntrustedIssuer) as caught:
        scheme.verdict(scheme.card(key))
    assert caught.value.reason == "weak-key"


def test_key_rules_are_the_profiles(scheme: Scheme, holder_key: Any) -> None:
    """A profile may ask for more, or for less."""
    brainpool = ec.generate_private_key(ec.BrainpoolP256R1())
    wide = KeyRules(curves=frozenset({"brainpoolP256r1", "secp384r1"}))
    profile = dataclasses.replace(EID_LOGIN, keys=wide)
    assert scheme.verdict(scheme.card(brainpool), profile)
    with pytest.raises(UntrustedIssuer):
        scheme.verdict(scheme.card(holder_key), profile)


ANY_USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@pytest.mark.parametrize(
    ("extension", "changes", "accepted"),
    [
        (None, {}, True),
        (None, {"extended_usage_required": True}, False),
        (CLIENT, {"extended_usage_required": True}, True),
        (SERVER, {}, False),
        (ANY_USAGE, {}, False),
        (ANY_USAGE, {"any_extended_usage": True}, True),
        (SERVER, {"any_extended_usage": True}, False),
        (CLIENT, {"extended_usages": frozenset({ExtendedKeyUsageOID.SMARTCARD_LOGON})}, False),
    ],
)
def test_extended_key_usage(
    scheme: Scheme,
    holder_key: Any,
    extension: x509.ExtendedKeyUsage | None,
    changes: dict[str, Any],
    accepted: bool,
) -> None:
    """Whether the extension is needed, and whether "any" is enough, is the profile's to say."""
    der = scheme.card(holder_key, *([(extension, False)] if extension else []))
    profile = dataclasses.replace(EID_LOGIN, **changes)
    if accepted:
        assert scheme.verdict(der, profile)
    else:
        with pytest.raises(WrongPurpose) as caught:
            scheme.verdict(der, profile)
        assert caught.value.reason == "no-client-auth"


@pytest.mark.parametrize(
    ("policy", "changes", "reason"),
    [
        ("1.3.6.1.4.1.51361.1.1.3", {}, None),
        ("1.3.6.1.4.1.10015.1.3", {}, "policy-refused"),
        ("1.3.6.1.4.1.10015.1.3.2", {}, "policy-refused"),
        ("1.3.6.1.4.1.10015.1.30", {}, None),
        ("1.2.3.4", {"policies": frozenset({"1.2.3"})}, None),
        ("1.2.34", {"policies": frozenset({"1.2.3"})}, "policy-not-accepted"),
    ],
)
def test_policies(
    scheme: Scheme, holder_key: Any, policy: str, changes: dict[str, Any], reason: str | None
) -> None:
    """Refused policies are refused with all below them; accepted ones have to be there."""
    extension = policies(x509.ObjectIdentifier(policy))
    der = scheme.card(holder_key, (extension, False))
    profile = dataclasses.replace(EID_LOGIN, **changes)
    if reason is None:
        assert scheme.verdict(der, profile).policies == (policy,)
        return
    with pytest.raises(WrongPurpose) as caught:
        scheme.verdict(der, profile)
    assert caught.value.reason == reason


def test_content_commitment_is_the_profiles_to_say(scheme: Scheme, holder_key: Any) -> None:
    """A scheme whose authentication certificates carry nonRepudiation can say so."""
    der = scheme.card(holder_key, (key_usage("digital_signature", "content_commitment"), True))
    with pytest.raises(WrongPurpose):
        scheme.verdict(der)
    assert scheme.verdict(der, dataclasses.replace(EID_LOGIN, refuse_content_commitment=False))


@pytest.mark.parametrize(
    "subject",
    [
        {},
        {NameOID.SURNAME: "X"},
        PERSON | {NameOID.GIVEN_NAME: "A\u202eB"},
        PERSON | {NameOID.SURNAME: "a\nb"},
    ],
    ids=["empty", "no-identifier", "bidi", "newline"],
)
def test_persons_that_cannot_be_named(scheme: Scheme, holder_key: Any, subject: Any) -> None:
    """Without an identifier, or with text unfit for a screen, it is malformed."""
    with pytest.raises(CertificateMalformed):
        scheme.verdict(scheme.card(holder_key, subject=subject or {NameOID.COUNTRY_NAME: "EE"}))


def test_reader_of_a_profile_that_fails(scheme: Scheme, holder_key: Any) -> None:
    """Whatever somebody else's reader raises, it is our own error that leaves."""

    def read_holder(_certificate: object) -> Any:
        return 1 / 0

    profile = dataclasses.replace(EID_LOGIN, read_holder=read_holder)
    with pytest.raises(CertificateMalformed) as caught:
        scheme.verdict(scheme.card(holder_key), profile)
    assert "ZeroDivisionError" in caught.value.what


def test_the_example_of_the_document(scheme: Scheme, holder_key: Any) -> None:
    """The Python block of docs/trust.md judges a card of its scheme, and no other policy."""
    text = (Path(__file__).parents[3] / "docs" / "trust.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(block, "trust.md", "exec"), names)  # noqa: S102  # our own document
    builder = x509.CertificateRevocationListBuilder(scheme.name, AT - 2 * DAY, AT - DAY / 2)
    crl = builder.sign(scheme.key, scheme.digest).public_bytes(Encoding.DER)
    judge = names["estonian_judge"](scheme.certificate, [crl])
    cards = {
        last: scheme.card(
            holder_key, (policies(x509.ObjectIdentifier(f"1.3.6.1.4.1.{last}")), False)
        )
        for last in ("51361.1.1.3", "10015.1.2")
    }
    judged = judge.judge(cards["51361.1.1.3"], at=AT)
    assert (judged.trust, judged.revocation[0].past_due) == ("ESTEID2018", True)
    with pytest.raises(WrongPurpose):
        judge.judge(cards["10015.1.2"], at=AT)


# --- Cards of the IGC-Santé ------------------------------------------------------


def test_every_card_type_has_its_rule() -> None:
    """None of the four is forgotten."""
    assert set(CARD_RULES) == set(CardType)


@pytest.mark.parametrize(
    ("card_type", "by", "accepted"),
    [
        (CardType.CPS, "fort-personnes", True),
        (CardType.CPS, "standard-personnes", False),
        (CardType.CPF, "fort-personnes", True),
        (CardType.CPF, "standard-personnes", True),
        (CardType.CPE, "standard-personnes", True),
        (CardType.CPA, "standard-personnes", True),
    ],
)
def test_issuer_of_a_card_type(
    igc: FakeIgcSante, card_type: CardType, by: str, accepted: bool
) -> None:
    """A card of a practitioner is certified by FORT; the authority for staff cannot make one."""
    persona = "doctor" if by == "fort-personnes" else "cpe-nameless"
    extension, critical = private_extension(OID_CARD_TYPE, 0x02, bytes([card_type]))
    request = igc.request(persona).having(extension, critical=critical)
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    der = igc.issue(request, by)
    if accepted:
        assert judge.judge(der, at=igc.made_at).certificate.practitioner.card_type is card_type
        return
    with pytest.raises(WrongPurpose) as caught:
        judge.judge(der, at=igc.made_at)
    assert caught.value.reason == "issuer-of-other-cards"


def test_policy_of_a_card_is_recorded(igc: FakeIgcSante) -> None:
    """Policies are in the verdict; one outside the arc of the IGC-Santé is a warning only."""
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    judged = judge.judge(igc.issue(igc.request()), at=igc.made_at)
    assert (judged.policies, judged.warnings) == (("1.2.250.1.213.1.7.1.1.1.1.1",), ())
    odd = policies(x509.ObjectIdentifier("1.2.250.1.213.1.70.1"))
    der = igc.issue(igc.request().having(odd, critical=False))
    judged = judge.judge(der, at=igc.made_at)
    assert (judged.policies, judged.warnings) == (
        ("1.2.250.1.213.1.70.1",),
        ("policy-not-expected",),
    )


def test_same_certificate_is_judged_again_each_time(igc: FakeIgcSante) -> None:
    """What is remembered of a certificate does not outlive its dates or the lists."""
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    leaf = igc.issue_leaf(not_after=igc.made_at + DAY)
    assert judge.judge(leaf.der, at=igc.made_at) == judge.judge(leaf.der, at=igc.made_at)
    for at in (igc.made_at + 2 * DAY, igc.made_at - 400 * DAY):
        with pytest.raises(Exception, match="certificate-"):
            judge.judge(leaf.der, at=at)
    assert judge.judge(leaf.der, at=igc.made_at)
