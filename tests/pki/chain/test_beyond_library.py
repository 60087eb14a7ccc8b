"""Certificates that RFC 5280 lets pass and the library's verifier does not: the same rules hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from cps_auth.errors import UntrustedIssuer
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN, POLICY_ARC, KeyRules
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.chain.verify import verify_chain
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.card.ber import tlv
from hardware_mocks.igc.certificates import (
    CertificateRequest,
    ca_request,
    issued_by,
    key_usage,
    sign_certificate,
)
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.odd_certificates import ca_written_out, resized

NAMES = {"fort": "FICTIVE AC RACINE IGC-SANTE FORT"}
NAMES["fort-personnes"] = "FICTIVE AC IGC-SANTE FORT PERSONNES"
DAY = timedelta(days=1)
POLICY = f"{POLICY_ARC}.1.1.1.1.1"
_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")

Card = Callable[[FakeIgcSante, CertificateRequest], bytes]
"""Issues a card that the verifier does not take, in one way."""


def _policies(*qualifiers: str | x509.UserNotice) -> x509.CertificatePolicies:
    policy = x509.PolicyInformation(ObjectIdentifier(POLICY), list(qualifiers) or None)
    return x509.CertificatePolicies([policy])


def _signed(igc: FakeIgcSante, der: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change what is signed, and sign it again."""
    tbs = change(x509.load_der_x509_certificate(der).tbs_certificate_bytes)
    key = igc.authorities["fort-personnes"].key
    signature = key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    return tlv(0x30, tbs, _RSA, tlv(0x03, b"\x00", signature))


def _repaired(igc: FakeIgcSante, request: CertificateRequest) -> bytes:
    return _signed(igc, igc.issue(request), ca_written_out)


def _latin_1_notice(igc: FakeIgcSante, request: CertificateRequest) -> bytes:
    text = "Carte délivrée à son porteur"
    notice = _policies("http://igc.invalid/PC", x509.UserNotice(None, text))
    der = igc.issue(request.having(notice, critical=False))
    old, new = tlv(0x0C, text.encode()), tlv(0x1A, text.encode("latin-1"))
    return _signed(igc, der, lambda tbs: resized(tbs, old, new))


def _critical_policies(igc: FakeIgcSante, request: CertificateRequest) -> bytes:
    return igc.issue(request.having(_policies(), critical=True))


def _other_spelling(igc: FakeIgcSante, request: CertificateRequest) -> bytes:
    issuer = igc.authorities["fort-personnes"]
    names = [
        x509.NameAttribute(a.oid, str(a.value).replace("AC IGC", "ac  igc"))
        for a in issuer.certificate.subject
    ]
    return sign_certificate(request, x509.Name(names), issuer.key).public_bytes(Encoding.DER)


def _generalized_time(igc: FakeIgcSante, request: CertificateRequest) -> bytes:
    der = igc.issue(request)
    before = f"{request.not_before:%y%m%d%H%M%SZ}".encode()
    return _signed(igc, der, lambda tbs: resized(tbs, tlv(0x17, before), tlv(0x18, b"20" + before)))


def _plain(igc: FakeIgcSante, request: CertificateRequest) -> bytes:
    return igc.issue(request)


CARDS: dict[str, Card] = {
    "plain": _plain,
    "repaired": _repaired,
    "notice": _latin_1_notice,
    "critical-policies": _critical_policies,
    "spelling": _other_spelling,
    "generalized-time": _generalized_time,
}


def _authority(igc: FakeIgcSante, name: str, **changes: object) -> CertificateRequest:
    is_root = name == "fort"
    request = ca_request(
        NAMES[name],
        igc.authorities[name].key,
        not_before=igc.made_at - 900 * DAY,
        not_after=igc.made_at + 900 * DAY,
        issuer_key=igc.authorities["fort"].key,
        issuer_common_name=NAMES["fort"],
        path_length=None if is_root else 0,
    )
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


Spoil = Callable[[FakeIgcSante, CertificateRequest], CertificateRequest]


def _having(extension: x509.ExtensionType, *, critical: bool = True) -> Spoil:
    return lambda _igc, request: request.having(extension, critical=critical)


ODD = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
NAME = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.TITLE, "x")]))

AUTHORITY_FAULTS: dict[str, tuple[Spoil, str]] = {
    "expired": (
        lambda igc, request: dataclasses.replace(request, not_after=igc.made_at - DAY),
        "ca-expired",
    ),
    "future": (
        lambda igc, request: dataclasses.replace(request, not_before=igc.made_at + DAY),
        "ca-not-yet-valid",
    ),
    "not-a-ca": (_having(x509.BasicConstraints(ca=False, path_length=None)), "ca-extensions"),
    "may-not-certify": (_having(key_usage("crl_sign")), "ca-extensions"),
    "for-servers": (
        _having(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
        "ca-extensions",
    ),
    "constraints": (_having(x509.NameConstraints(None, [NAME]), critical=False), "ca-extensions"),
    "odd": (_having(ODD), "ca-extensions"),
    "no-basic": (
        lambda _igc, request: request.without(x509.BasicConstraints.oid),
        "ca-extensions",
    ),
    "no-usage": (lambda _igc, request: request.without(x509.KeyUsage.oid), "ca-extensions"),
}

CARD_FAULTS: dict[str, tuple[Spoil, str]] = {
    "is-ca": (_having(x509.BasicConstraints(ca=True, path_length=None)), "leaf-is-ca"),
    "signs": (_having(key_usage("digital_signature", "key_cert_sign")), "leaf-extensions"),
    "lists": (_having(key_usage("digital_signature", "crl_sign")), "leaf-extensions"),
    "odd": (_having(ODD), "leaf-extensions"),
    "no-usage": (lambda _igc, request: request.without(x509.KeyUsage.oid), "leaf-extensions"),
    "other-key": (
        lambda igc, request: request.having(
            issued_by(igc.authorities["standard-personnes"]), critical=False
        ),
        "key-identifier-mismatch",
    ),
}


def _trust(
    igc: FakeIgcSante, spoil: Spoil | None, *, critical: str = "", spoiled: str = "fort-personnes"
) -> TrustStore:
    """Return the chain FORT, one of its two authorities spoiled, one with critical policies."""
    made = {}
    for name in ("fort", "fort-personnes"):
        request = _authority(igc, name)
        if name == critical:
            any_policy = x509.PolicyInformation(ObjectIdentifier("2.5.29.32.0"), None)
            request = request.having(x509.CertificatePolicies([any_policy]), critical=True)
        if spoil is not None and name == spoiled:
            request = spoil(igc, request)
        root = igc.authorities["fort"]
        made[name] = sign_certificate(request, root.certificate.subject, root.key)
    return TrustStore("spoiled", (made["fort"],), (made["fort-personnes"],))


def _reason(igc: FakeIgcSante, der: bytes, trust: TrustStore) -> str:
    with pytest.raises(UntrustedIssuer) as caught:
        verify_chain(parse_certificate(der), trust, at=igc.made_at)
    return caught.value.reason


@pytest.mark.parametrize("critical", ["", "fort", "fort-personnes"])
@pytest.mark.parametrize("card", CARDS)
def test_sound_ones_are_judged(igc: FakeIgcSante, card: str, critical: str) -> None:
    """Each way is accepted, under authorities whose policies are critical too."""
    der = CARDS[card](igc, igc.request())
    trust = _trust(igc, None, critical=critical)
    assert len(verify_chain(parse_certificate(der), trust, at=igc.made_at).certificates) == 3
    judged = Judge(trust, CrlStore(igc.crls.values())).judge(der, at=igc.made_at)
    assert judged.policies == (POLICY,)
    assert judged.certificate.der == der


@pytest.mark.parametrize("critical", ["", "fort", "fort-personnes"])
@pytest.mark.parametrize("spoiled", ["fort", "fort-personnes"])
@pytest.mark.parametrize("fault", AUTHORITY_FAULTS)
@pytest.mark.parametrize("card", ["plain", "repaired", "critical-policies"])
def test_authority_with_a_fault(
    igc: FakeIgcSante, card: str, fault: str, spoiled: str, critical: str
) -> None:
    """The rules for authorities hold on every way, at the anchor too."""
    spoil, reason = AUTHORITY_FAULTS[fault]
    der = CARDS[card](igc, igc.request())
    trust = _trust(igc, spoil, critical=critical, spoiled=spoiled)
    assert _reason(igc, der, trust) == reason


@pytest.mark.parametrize("critical", ["", "fort-personnes"])
@pytest.mark.parametrize("fault", CARD_FAULTS)
@pytest.mark.parametrize("card", CARDS)
def test_card_with_a_fault(igc: FakeIgcSante, card: str, fault: str, critical: str) -> None:
    """The rules for cards hold on every way."""
    spoil, reason = CARD_FAULTS[fault]
    request = spoil(igc, igc.request())
    if card == "repaired" and fault == "is-ca":
        pytest.skip("the fault and what is repaired are one extension")
    assert _reason(igc, CARDS[card](igc, request), _trust(igc, None, critical=critical)) == reason


@pytest.mark.parametrize("critical", ["", "fort-personnes"])
@pytest.mark.parametrize("card", CARDS)
def test_forged_card(igc: FakeIgcSante, card: str, critical: str) -> None:
    """A changed bit of the signature, and of what is signed, on every way."""
    der = CARDS[card](igc, igc.request())
    for at in (len(der) - 1, len(der) - 300):
        forged = bytearray(der)
        forged[at] ^= 1
        assert _reason(igc, bytes(forged), _trust(igc, None, critical=critical)) == "bad-signature"


def test_card_of_an_authority_that_nobody_vouches_for(igc: FakeIgcSante) -> None:
    """Critical policies need a path to an anchor, signed link by link."""
    request = _authority(igc, "fort-personnes").having(_policies(), critical=True)
    forger = igc.authorities["rogue-fort"].key
    root = igc.authorities["fort"].certificate
    forged = sign_certificate(request, root.subject, forger)
    trust = TrustStore("forged", (root,), (forged,))
    assert _reason(igc, igc.issue(igc.request()), trust) == "bad-signature"


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("longest", [0, 1, 2])
def test_length_of_the_path(igc: FakeIgcSante, critical: bool, longest: int) -> None:
    """As many authorities below the anchor as the profile says, with critical policies too."""
    profile = dataclasses.replace(IGC_SANTE_LOGIN, max_intermediates=longest)
    trust = _trust(igc, None, critical="fort-personnes" if critical else "")
    certificate = parse_certificate(igc.issue(igc.request()))
    if longest:
        assert verify_chain(certificate, trust, at=igc.made_at, profile=profile)
        return
    with pytest.raises(UntrustedIssuer):
        verify_chain(certificate, trust, at=igc.made_at, profile=profile)


@pytest.mark.parametrize("card", CARDS)
def test_signature_of_no_whole_bytes(igc: FakeIgcSante, card: str) -> None:
    """A bit that is said to be unused leaves the signature as it is, and the certificate is not."""
    serial = 0x4001
    der = b"\x01"
    while der[-1] & 1:  # one in two ends with a bit that may be called unused
        serial += 1
        der = CARDS[card](igc, dataclasses.replace(igc.request(), serial=serial))
    at = len(der) - 513  # of RSA-4096, after the tag, the length and the count of unused bits
    assert der[at] == 0
    odd = der[:at] + b"\x01" + der[at + 1 :]
    trust = _trust(igc, None)
    assert verify_chain(parse_certificate(der), trust, at=igc.made_at)
    assert _reason(igc, odd, trust) == "unknown-issuer"


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("critical", ["", "fort-personnes"])
def test_keys_of_the_authorities(igc: FakeIgcSante, card: str, critical: str) -> None:
    """Their sizes are the profile's, on every way."""
    keys = KeyRules(rsa_max_bits=3000)
    profile = dataclasses.replace(IGC_SANTE_LOGIN, keys=keys)
    certificate = parse_certificate(CARDS[card](igc, igc.request()))
    trust = _trust(igc, None, critical=critical)
    for anchors, between in ((trust.anchors, trust.intermediates), (trust.intermediates, ())):
        store = TrustStore("strict", anchors, between)
        with pytest.raises(UntrustedIssuer) as caught:
            verify_chain(certificate, store, at=igc.made_at, profile=profile)
        assert caught.value.reason == "weak-key"


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("fault", AUTHORITY_FAULTS)
def test_anchor_that_issues_cards(igc: FakeIgcSante, card: str, fault: str) -> None:
    """An authority that is an anchor itself has to be one that may."""
    spoil, reason = AUTHORITY_FAULTS[fault]
    der = CARDS[card](igc, igc.request())
    sound, spoiled = _trust(igc, None), _trust(igc, spoil)
    direct = TrustStore("direct", sound.intermediates)
    assert verify_chain(parse_certificate(der), direct, at=igc.made_at)
    assert _reason(igc, der, TrustStore("direct", spoiled.intermediates)) == reason


@pytest.mark.parametrize("critical", ["", "fort-personnes"])
def test_no_key_identifiers_at_all(igc: FakeIgcSante, critical: str) -> None:
    """An authority that names its issuer by number, and a root without an identifier."""
    root = igc.authorities["fort"]
    request = _authority(igc, "fort").without(x509.SubjectKeyIdentifier.oid)
    anchor = sign_certificate(request, root.certificate.subject, root.key)
    by_number = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(anchor.subject)], anchor.serial_number
    )
    request = _authority(igc, "fort-personnes").having(by_number, critical=False)
    if critical:
        request = request.having(_policies(), critical=True)
    between = sign_certificate(request, root.certificate.subject, root.key)
    trust = TrustStore("numbers", (anchor,), (between,))
    assert _reason(igc, igc.issue(igc.request()), trust) == "key-identifier-mismatch"
