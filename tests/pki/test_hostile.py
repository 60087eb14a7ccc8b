"""Certificates, lists and answers as hostile bytes, and clocks that are wrong."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.errors import (
    CertificateExpired,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRefused,
    RevocationUnknown,
)
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl import Crl
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.policy import RevocationPolicy
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.fuzz.targets import TARGETS, Target

INPUT_BYTES = 64 * 1024
SLOWEST_S = 0.010
MEMORY_BYTES = 8 * 1024 * 1024


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _nested(depth: int) -> bytes:
    content = b"\x05\x00"
    for _ in range(depth):
        content = _tlv(0x30, content)
    return content


BOMBS = {
    "empty": b"",
    "one byte": b"\x30",
    "nested": _nested(9000)[:INPUT_BYTES],
    "many small": _tlv(0x30, b"\x05\x00" * (INPUT_BYTES // 2 - 4)),
    "many sequences": _tlv(0x30, _tlv(0x30, b"\x30\x00" * (INPUT_BYTES // 2 - 8)) + _nested(2)),
    "four gigabytes": b"\x30\x84\xff\xff\xff\xff" + bytes(INPUT_BYTES - 6),
    "length of lengths": b"\x30\xff" + b"\xff" * (INPUT_BYTES - 2),
    "indefinite": b"\x30\x80" * (INPUT_BYTES // 2),
    "zeros": bytes(INPUT_BYTES),
    "ones": b"\xff" * INPUT_BYTES,
    "pem": b"-----BEGIN X509 CRL-----\n"
    + b"A" * (INPUT_BYTES - 60)
    + b"\n-----END X509 CRL-----\n",
    "pem without an end": b"-----BEGIN X509 CRL-----\n" * (INPUT_BYTES // 25),
    "utf-16": ("certificat" * 3000).encode("utf-16"),
}


@pytest.fixture(scope="module")
def targets(igc: FakeIgcSante) -> dict[str, Target]:
    """The three kinds of input."""
    return {kind: make(igc) for kind, make in TARGETS.items()}


def _fastest(target: Target, data: bytes) -> float:
    """Return the processor time of the fastest of three: the machine's mood is not the input's."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        target.feed(data)
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(targets: dict[str, Target], kind: str, name: str) -> None:
    """Nothing of 64 KB costs 10 ms or much memory, and nothing foreign is raised."""
    target = targets[kind]
    assert _fastest(target, BOMBS[name]) < SLOWEST_S
    tracemalloc.start()
    target.feed(BOMBS[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY_BYTES


@pytest.mark.parametrize("kind", TARGETS)
def test_genuine_with_more_or_less(targets: dict[str, Target], kind: str) -> None:
    """Trailing bytes, truncation at any byte and doubled contents are never accepted."""
    target = targets[kind]
    genuine = target.seeds[0]
    target.feed(genuine)
    accepted = target.outcomes["accepted"]
    for spoiled in (
        genuine + b"\x00",
        genuine + genuine,
        b"\x00" + genuine,
        _tlv(0x30, genuine),
        genuine + bytes(INPUT_BYTES - len(genuine)),
        *(genuine[:end] for end in range(0, len(genuine), 7)),
    ):
        target.feed(spoiled)
    assert target.outcomes["accepted"] == accepted


@pytest.mark.parametrize("kind", TARGETS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_mutations(targets: dict[str, Target], kind: str, data: st.DataObject) -> None:
    """A genuine input with bytes changed, removed and put in is refused with our own error."""
    target = targets[kind]
    altered = bytearray(data.draw(st.sampled_from(target.seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(altered) - 1))
        altered[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=5))
    target.feed(bytes(altered))


@pytest.mark.parametrize("kind", TARGETS)
@settings(deadline=None, max_examples=100)
@given(noise=st.binary(max_size=600))
def test_noise(targets: dict[str, Target], kind: str, noise: bytes) -> None:
    """Random bytes are refused with our own error."""
    targets[kind].feed(noise)


# --- Certificates that their authority did sign ----------------------------------


def _refusal(igc: FakeIgcSante, der: bytes) -> CertificateRefused:
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    start = time.thread_time()
    with pytest.raises(CertificateRefused) as caught:
        judge.judge(der, at=igc.made_at)
    assert time.thread_time() - start < 5 * SLOWEST_S
    return caught.value


def test_gigantic_certificate(igc: FakeIgcSante) -> None:
    """One of more than 8 KB is not looked into, whoever signed it."""
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(20_000))
    refusal = _refusal(igc, igc.issue(igc.request().having(odd, critical=False)))
    assert isinstance(refusal, CertificateMalformed)
    assert "longer" in refusal.what


def test_duplicate_extension(igc: FakeIgcSante) -> None:
    """Two extensions of one identifier are refused (RFC 5280 section 4.2)."""
    der = _with_second_extension(igc)
    refusal = _refusal(igc, der)
    assert isinstance(refusal, CertificateMalformed)
    assert refusal.what.startswith("extensions")


def _with_second_extension(igc: FakeIgcSante) -> bytes:
    """Give a second one the identifier of the first, in the signed bytes: both are four long."""
    one, two = (x509.ObjectIdentifier(f"1.2.3.{last}") for last in (4, 5))
    request = igc.request()
    for oid in (one, two):
        request = request.having(x509.UnrecognizedExtension(oid, b"\x05\x00"), critical=False)
    der = igc.issue(request)
    assert der.count(b"\x06\x03\x2a\x03\x05") == 1
    return der.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")


@pytest.mark.parametrize("exponent", [3, 65537, 2**32 + 1])
@pytest.mark.parametrize("bits", [512, 1024, 16_384, 65_536])
def test_absurd_key_sizes(igc: FakeIgcSante, bits: int, exponent: int) -> None:
    """A modulus of any size costs no time: it is refused before anything is computed with it."""
    modulus = (1 << bits) - 159
    numbers = rsa.RSAPublicNumbers(exponent, modulus)
    with contextlib.suppress(ValueError):  # the library makes no key of it, nor a certificate
        _refusal(igc, igc.issue_leaf(public_key=numbers.public_key()).der)


@pytest.mark.parametrize("serial", [0, -1, 1 << 160, 1 << 2000])
def test_absurd_serial_numbers(igc: FakeIgcSante, serial: int) -> None:
    """A serial number that RFC 5280 does not allow is malformed."""
    content = serial.to_bytes(max(1, (serial.bit_length() + 8) // 8), "big", signed=True)
    genuine = igc.credentials("doctor").authentication_certificate_der
    refusal = _refusal(igc, _with_serial(genuine, content))
    assert isinstance(refusal, CertificateMalformed)


def _with_serial(der: bytes, content: bytes) -> bytes:
    """Rewrite the serial number and the lengths around it; the signature no longer holds."""
    serial = x509.load_der_x509_certificate(der).serial_number
    old = _tlv(0x02, serial.to_bytes((serial.bit_length() + 8) // 8, "big"))
    tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    rest = der[der.index(tbs) + len(tbs) :]
    inside = tbs[4:].replace(old, _tlv(0x02, content), 1)
    return _tlv(0x30, _tlv(0x30, inside) + rest)


@pytest.mark.parametrize(
    ("at", "error"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), CertificateNotYetValid),
        (datetime.min.replace(tzinfo=UTC), CertificateNotYetValid),
        (datetime(9999, 12, 31, tzinfo=UTC), CertificateExpired),
        (datetime.max.replace(tzinfo=UTC), CertificateExpired),
    ],
)
def test_clock_that_is_wrong(
    igc: FakeIgcSante, at: datetime, error: type[CertificateRefused]
) -> None:
    """A clock at either end of time refuses everybody, under a policy of grace too."""
    for policy in (RevocationPolicy(), RevocationPolicy.grace(100)):
        judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()), policy=policy)
        for card in igc.cards.values():
            with pytest.raises(CertificateRefused):
                judge.judge(card.authentication_certificate_der, at=at)
        with pytest.raises(error):
            judge.judge(igc.credentials("doctor").authentication_certificate_der, at=at)


def test_list_valid_to_the_end_of_time(igc: FakeIgcSante) -> None:
    """Dates at the end of time overflow nothing, with a grace added to them."""
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    lists = CrlStore([igc.crl(next_update=end), igc.crl("fort", next_update=end)])
    judge = Judge(igc.trust_store(), lists, policy=RevocationPolicy.grace(100))
    der = igc.credentials("doctor").authentication_certificate_der
    assert judge.judge(der, at=igc.made_at).revocation[0].next_update == end


def test_list_of_sixty_four_kilobytes(igc: FakeIgcSante) -> None:
    """A genuine list of this size is read in the time that is allowed for a hostile one."""
    lines = [Revocation(2**150 + i, igc.made_at - timedelta(seconds=i)) for i in range(1200)]
    der = igc.crl(revoked=lines)
    assert INPUT_BYTES * 0.7 < len(der) < INPUT_BYTES
    issuer = Issuer.of(igc.authorities["fort-personnes"].certificate)
    times = []
    for _ in range(3):
        start = time.thread_time()
        crl = Crl.parse(der)
        assert crl.problem_under(issuer) is None
        assert crl.entry_count == 1200
        times.append(time.thread_time() - start)
    assert min(times) < SLOWEST_S


def test_stale_and_wrong_at_once(igc: FakeIgcSante) -> None:
    """A clock set back does not bring an old list back that the clock forward had replaced."""
    judge = Judge(igc.trust_store(), CrlStore([igc.crl(number=3), igc.crls["ACR-FO"]]))
    der = igc.credentials("doctor").authentication_certificate_der
    judge.judge(der, at=igc.made_at)
    back = Judge(judge.trust, CrlStore([igc.crl(number=3), igc.crls["ACR-FO"]]))
    with pytest.raises(RevocationUnknown) as caught:
        back.judge(der, at=igc.made_at - timedelta(days=1))
    assert caught.value.why == "crl-not-yet-valid"
