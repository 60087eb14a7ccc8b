"""Certificates with the faults of real cards, signed as they are: see `certificate.repair`."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import NameOID

from cps_auth.der import element_at, elements, inside
from hardware_mocks.card.ber import tlv
from hardware_mocks.igc.fake_igc import FakeIgcSante

NOT_A_CA, NOT_A_CA_WRITTEN_OUT = bytes.fromhex("04023000"), bytes.fromhex("04053003010100")
_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")

Fault = Callable[[bytes], bytes]


def resized(tbs: bytes, old: bytes, new: bytes) -> bytes:
    """Replace the last occurrence of some bytes in a TBSCertificate, and mend the lengths."""
    at = tbs.rindex(old)

    def rebuilt(start: int, end: int) -> bytes:
        parts = []
        for element in elements(tbs, start, end):
            whole = tbs[element.start : element.end]
            if element.start == at and whole.startswith(old):
                parts.append(new + whole[len(old) :])
            elif element.start <= at < element.end and element.tag & 0x20:
                parts.append(tlv(element.tag, rebuilt(element.content, element.end)))
            else:
                parts.append(whole)
        return b"".join(parts)

    return rebuilt(0, len(tbs))


def _latin_1(tbs: bytes) -> bytes:
    name = "Éloïse"
    return resized(tbs, tlv(0x0C, name.encode()), tlv(0x14, name.encode("latin-1")))


def _unsorted(tbs: bytes) -> bytes:
    """Turn the last name of the subject, which is of several values, round."""
    subject = [e for e in inside(tbs, element_at(tbs, 0, len(tbs))) if e.tag == 0x30][3]
    last = list(inside(tbs, subject))[-1]
    parts = [tbs[e.start : e.end] for e in inside(tbs, last)]
    assert len(parts) > 1
    return tbs.replace(tbs[last.content : last.end], b"".join(reversed(parts)))


def ca_written_out(tbs: bytes) -> bytes:
    """Write out that a certificate is not a CA's."""
    return resized(tbs, NOT_A_CA, NOT_A_CA_WRITTEN_OUT)


FAULTS: dict[str, Fault] = {
    "latin-1": _latin_1,
    "unsorted": _unsorted,
    "ca-false": ca_written_out,
    "all": lambda tbs: _unsorted(_latin_1(ca_written_out(tbs))),
}


def _subject() -> x509.Name:
    last = (
        (NameOID.COMMON_NAME, "899900000011"),
        (NameOID.SURNAME, "LAVERGNE"),
        (NameOID.GIVEN_NAME, "Éloïse"),
    )
    names = [x509.NameAttribute(oid, value) for oid, value in last]
    country = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")])
    return x509.Name([country, x509.RelativeDistinguishedName(names)])


def odd_card(igc: FakeIgcSante, fault: Fault) -> tuple[bytes, bytes]:
    """Return a sound certificate, and one that the same authority signed with the fault in it."""
    sound = igc.issue_leaf(subject=_subject()).der
    tbs = fault(x509.load_der_x509_certificate(sound).tbs_certificate_bytes)
    key = igc.authorities["fort-personnes"].key
    signature = key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    return sound, tlv(0x30, tbs, _RSA, tlv(0x03, b"\x00", signature))
