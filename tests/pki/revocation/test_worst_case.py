"""The worst that 64 KB can hold, built on purpose: what the library reads slowly, many times."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cps_auth.errors import RevocationUnknown, UntrustedIssuer
from cps_auth.pki.certificate.parse import CERTIFICATE_MAX_BYTES, parse_certificate
from cps_auth.pki.chain.verify import Chain, verify_chain
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.check import check_revocation
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.ocsp import Answer, OcspRefused, judge_answer
from cps_auth.pki.revocation.policy import REQUIRE
from hardware_mocks.card.ber import tlv
from hardware_mocks.igc.certificates import sign_certificate
from hardware_mocks.igc.fake_igc import FakeIgcSante

INPUT_BYTES = 64 * 1024
SLOWEST_S = 0.010
DAY = timedelta(days=1)

_SHA256_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
_DATE, _LATER = tlv(0x17, b"260101000000Z"), tlv(0x17, b"490101000000Z")
_RDN = tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x03" + tlv(0x0C, b"a")))
_REASON = tlv(0x30, b"\x06\x03\x55\x1d\x15" + tlv(0x04, tlv(0x0A, b"\x01")))
_POINT = b"\x06\x03\x55\x1d\x1c" + tlv(0x01, b"\xff")  # IssuingDistributionPoint, critical


def _filled(part: Callable[[int], bytes], size: int = INPUT_BYTES - 1500) -> bytes:
    parts, length, i = [], 0, 0
    while length < size:
        parts.append(part(i))
        length += len(parts[-1])
        i += 1
    return b"".join(parts)


def _extension(i: int) -> bytes:
    return tlv(0x30, tlv(0x06, b"\x2a") + tlv(0x04, i.to_bytes(2, "big")))


def _entry(*extensions: bytes) -> bytes:
    inside = tlv(0x30, b"".join(extensions)) if extensions else b""
    return tlv(0x30, tlv(0x02, b"\x01") + _DATE + inside)


def _point(name: bytes) -> bytes:
    return tlv(0x30, _POINT + tlv(0x04, tlv(0x30, tlv(0xA0, tlv(0xA0, name)))))


ENTRIES: dict[str, Callable[[], bytes]] = {
    "short entries": lambda: _filled(lambda _: _entry()),
    "one odd extension each": lambda: _filled(lambda i: _entry(_extension(i))),
    "a reason and an odd extension": lambda: _filled(lambda i: _entry(_REASON, _extension(i))),
    "thousands of extensions": lambda: _entry(_filled(_extension)),
}
EXTENSIONS: dict[str, Callable[[], bytes]] = {
    "extensions": lambda: _filled(
        lambda i: tlv(0x30, tlv(0x06, b"\x2a" + bytes([0x81 + (i >> 7), i & 0x7F])) + b"\x04\x00")
    ),
    "addresses": lambda: _point(_filled(lambda i: tlv(0x86, b"a:%d" % i))),
    "a point's name": lambda: _point(tlv(0xA4, tlv(0x30, _filled(lambda _: _RDN)))),
}
ISSUERS: dict[str, Callable[[], bytes]] = {
    "names": lambda: tlv(0x30, _filled(lambda _: _RDN)),
    "one name of many": lambda: tlv(0x30, tlv(0x31, _filled(lambda _: _RDN[2:]))),
    "a name that unfolds": lambda: tlv(
        0x30, tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x03" + tlv(0x0C, "\ufdfa".encode() * 20_000)))
    ),
}


def _list(
    igc: FakeIgcSante, entries: bytes = b"", extensions: bytes = b"", issuer: bytes | None = None
) -> bytes:
    """Return a list that the authority did sign."""
    authority = igc.authorities["fort-personnes"]
    signed = tlv(
        0x30,
        tlv(0x02, b"\x01") + _SHA256_RSA + (issuer or authority.certificate.subject.public_bytes()),
        _DATE + _LATER,
        tlv(0x30, entries) if entries else b"",
        tlv(0xA0, tlv(0x30, extensions)) if extensions else b"",
    )
    signature = authority.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return tlv(0x30, signed + _SHA256_RSA + tlv(0x03, b"\x00" + signature))


def _fastest(ask: Callable[[], object]) -> float:
    """Return the processor time of the fastest of five: the machine's mood is not the input's."""
    times = []
    for _ in range(5):
        start = time.thread_time()
        ask()
        times.append(time.thread_time() - start)
    return min(times)


def _why(igc: FakeIgcSante, chain: Chain, crl: bytes) -> str:
    try:
        check_revocation(chain, CrlStore([crl, igc.crls["ACR-FO"]]), at=igc.made_at)
    except RevocationUnknown as unknown:
        return unknown.why
    return "good"


@pytest.fixture(scope="module")
def chain(igc: FakeIgcSante) -> Chain:
    """The doctor's."""
    doctor = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    return verify_chain(doctor, igc.trust_store(), at=igc.made_at)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("entries", name) for name in ENTRIES),
        *(("extensions", name) for name in EXTENSIONS),
        *(("issuer", name) for name in ISSUERS),
    ],
)
def test_lists(igc: FakeIgcSante, chain: Chain, kind: str, name: str) -> None:
    """A list is not looked into before it was verified, and never for long."""
    made = {**ENTRIES, **EXTENSIONS, **ISSUERS}[name]()
    genuine = _list(igc, **{kind: made})
    assert 0.6 * INPUT_BYTES < len(genuine) < 1.01 * INPUT_BYTES
    forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
    verdicts = {
        "entries": ("crl-bad-signature", "good"),
        "extensions": ("crl-malformed", "crl-malformed"),
        "issuer": ("crl-malformed", "crl-malformed"),
    }[kind]
    if name == "thousands of extensions":
        verdicts = ("crl-bad-signature", "crl-malformed")
    assert (_why(igc, chain, forged), _why(igc, chain, genuine)) == verdicts
    assert _fastest(lambda: _why(igc, chain, forged)) < SLOWEST_S
    assert _fastest(lambda: _why(igc, chain, genuine)) < 5 * SLOWEST_S


# --- Answers ---------------------------------------------------------------------


def _forged_responders(
    igc: FakeIgcSante, key: ec.EllipticCurvePrivateKey, subject: x509.Name, count: int
) -> list[x509.Certificate]:
    """Return certificates for OCSP in the issuer's name, which the issuer did not make."""
    issuer = igc.authorities["fort-personnes"].certificate.subject
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    dates = igc.made_at - DAY, igc.made_at + DAY
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), 4711, *dates)
    return [builder.add_extension(usage, critical=False).sign(key, hashes.SHA256())] * count


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("names", "count", "doubt"),
    [
        (1, 150, "ocsp-malformed"),
        (1, 4, "ocsp-unauthorised-responder"),
        (60, 4, "ocsp-unauthorised-responder"),
        (4000, 1, "ocsp-malformed"),
    ],
)
def test_answers(
    igc: FakeIgcSante,
    chain: Chain,
    by_name: bool,
    names: int,
    count: int,
    doubt: str,
) -> None:
    """However many certificates come with an answer, and however long their names are."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")] * names)
    sent = _forged_responders(igc, key, name, count)
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=chain.leaf.x509,
        issuer=chain.issuers[0].x509,
        algorithm=hashes.SHA1(),  # noqa: S303, names the issuer
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=igc.made_at,
        next_update=None,
        revocation_time=None,
        revocation_reason=None,
    )
    signed = builder.responder_id(encoding, sent[0]).certificates(sent).sign(key, hashes.SHA256())
    answer = Answer(signed.public_bytes(Encoding.DER), None)

    def ask() -> str:
        try:
            judge_answer(answer, chain.leaf.x509, chain.issuers[0], at=igc.made_at, policy=REQUIRE)
        except OcspRefused as refused:
            return refused.problem
        return "good"

    assert ask() == doubt
    assert _fastest(ask) < SLOWEST_S


# --- Certificates ----------------------------------------------------------------


def _issued(igc: FakeIgcSante, *extensions: x509.ExtensionType) -> bytes:
    request = igc.request()
    for extension in extensions:
        request = request.having(extension, critical=False)
    return igc.issue(request)


_COUNTRIES = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")] * 350)
_OIDS = [x509.ObjectIdentifier(f"1.2.{i}") for i in range(900)]
CERTIFICATES: dict[str, tuple[x509.ExtensionType, ...]] = {
    "extensions": tuple(x509.UnrecognizedExtension(oid, b"") for oid in _OIDS[:450]),
    "policies": (x509.CertificatePolicies([x509.PolicyInformation(o, None) for o in _OIDS[:700]]),),
    "usages": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, *_OIDS]),),
    "alternative names": (x509.SubjectAlternativeName([x509.DNSName("a")] * 1500),),
    "an alternative directory name": (
        x509.SubjectAlternativeName([x509.DirectoryName(_COUNTRIES)]),
    ),
    "points": (
        x509.CRLDistributionPoints(
            [x509.DistributionPoint([x509.UniformResourceIdentifier("a")], None, None, None)] * 500
        ),
    ),
    "a point's name": (
        x509.CRLDistributionPoints(
            [x509.DistributionPoint([x509.DirectoryName(_COUNTRIES)], None, None, None)]
        ),
    ),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates(igc: FakeIgcSante, name: str) -> None:
    """A certificate that its authority did sign, with thousands of something."""
    der = _issued(igc, *CERTIFICATES[name])
    assert 5000 < len(der) < CERTIFICATE_MAX_BYTES
    judges = [Judge(igc.trust_store(), CrlStore(igc.crls.values())) for _ in range(5)]
    other = igc.credentials("nurse").authentication_certificate_der
    for judge in judges:
        judge.judge(other, at=igc.made_at)  # authorities and lists are known before
    assert _fastest(lambda: judges.pop().judge(der, at=igc.made_at)) < SLOWEST_S


@pytest.mark.parametrize("text", ["a", "\ufdfa" * 20], ids=["short", "unfolding"])
def test_issuer_that_is_nobody(igc: FakeIgcSante, text: str) -> None:
    """The name of an issuer that nobody vouches for is not read when it is long."""
    count = 6000 // (len(text.encode()) + 13)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] * count)
    key = igc.authorities["rogue-fort-personnes"].key
    der = sign_certificate(igc.request(), name, key).public_bytes(Encoding.DER)
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))

    def ask() -> str:
        try:
            judge.judge(der, at=igc.made_at)
        except UntrustedIssuer as refused:
            return refused.reason
        return "accepted"

    assert ask() == "unknown-issuer"
    assert _fastest(ask) < SLOWEST_S
