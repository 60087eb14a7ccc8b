"""Parts of certificates that are read by what was read before, against the library itself.

Whatever is read without the library, the library reads too, and to the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.errors import CertificateMalformed
from cps_auth.pki.certificate import parts_memory
from cps_auth.pki.certificate.frame import frame_of, holders_parts
from cps_auth.pki.certificate.parse import CpsCertificate, parse_certificate
from cps_auth.pki.certificate.parts import (
    NO_EXTENSIONS,
    Parts,
    extension_of,
    keep_parts,
    subject_of,
)
from cps_auth.pki.certificate.parts_memory import read_extensions, read_subject
from cps_auth.pki.certificate.profiles import SHOWN_ONLY
from hardware_mocks.card.ber import tlv
from hardware_mocks.igc.card_certificates import CertificateUse
from hardware_mocks.igc.certificates import CertificateRequest
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

REAL = sorted((Path(__file__).parents[4] / "shared/igc-sante/test").glob("*.der"))
REFUSALS = (ValueError, x509.DuplicateExtension)  # of the library
UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
ODD = x509.ObjectIdentifier("1.2.250.1.71.1.2.99")
CARD_ID = x509.ObjectIdentifier("1.2.250.1.71.1.2.3")


class NotAsked:
    """A certificate of which nobody may ask the library anything."""


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_rdns", "_private", "_private_oids"):
        monkeypatch.setattr(parts_memory, name, {})
    monkeypatch.setattr(parts_memory, "_forms", [])


def read(certificate: object, der: bytes) -> Parts:
    """Read subject and extensions of a certificate as `parse_certificate` does."""
    rdns, start, end = holders_parts(der, frame_of(der))
    return Parts(
        read_subject(certificate, rdns),  # type: ignore[arg-type]  # or one that isn't asked
        read_extensions(certificate, der, start, end),  # type: ignore[arg-type]
    )


def assert_same(parts: Parts, der: bytes) -> None:
    """Fail unless the parts are what the library makes of the certificate."""
    library = x509.load_der_x509_certificate(der)
    assert list(parts.subject) == [(one.oid, one.value) for one in library.subject]
    asked = x509.load_der_x509_certificate(der)
    keep_parts(asked, parts)
    assert subject_of(asked) is parts.subject
    private, critical = {}, set()
    for extension in library.extensions:
        if extension.critical:
            critical.add(type(extension.value))
        if isinstance(extension.value, x509.UnrecognizedExtension):
            private[extension.oid] = extension.value.value
        else:
            assert extension_of(asked, type(extension.value)) == extension.value
    assert parts.extensions.private == private
    assert parts.extensions.critical == critical
    kinds = {type(extension.value) for extension in library.extensions}
    assert set(parts.extensions.known) <= kinds
    policies = extension_of(library, x509.CertificatePolicies) or ()
    asserted = {policy.policy_identifier.dotted_string for policy in policies}
    assert parts.extensions.policies == asserted


def learn(der: bytes) -> None:
    """Have the library read a certificate, for those after it."""
    read(x509.load_der_x509_certificate(der), der)


@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize("use", CertificateUse)
def test_the_second_time_the_library_is_not_asked(
    igc: FakeIgcSante, persona: str, use: CertificateUse
) -> None:
    """The same certificate again: the same parts, by their bytes alone."""
    der = igc.issue(igc.request(persona, use))
    library = x509.load_der_x509_certificate(der)
    assert_same(read(library, der), der)
    assert_same(read(NotAsked(), der), der)


def _another(request: CertificateRequest) -> CertificateRequest:
    """Return the request of another person, with a card and a principal name of their own."""
    upn = x509.OtherName(UPN, b"\x0c\x10899900009999@a.b")
    number = x509.UnrecognizedExtension(CARD_ID, b"\x13\x0480/7")
    subject = [
        x509.RelativeDistinguishedName(
            x509.NameAttribute(one.oid, "DÛPONT-ŒUVRARD" if one.oid == NameOID.SURNAME else "8123")
            for one in rdn
        )
        if len(list(rdn)) > 1
        else rdn
        for rdn in request.subject.rdns
    ]
    own = x509.SubjectAlternativeName([upn]), number, x509.SubjectKeyIdentifier(bytes(range(20)))
    by_oid = {extension.oid: extension for extension in own}
    extensions = tuple((by_oid.get(one.oid, one), critical) for one, critical in request.extensions)
    return dataclasses.replace(
        request, subject=x509.Name(subject), serial=77, extensions=extensions
    )


def test_another_person_of_the_same_authority(igc: FakeIgcSante) -> None:
    """Name, identifiers, key and card are others: read here, without the library."""
    learn(igc.issue(igc.request("doctor")))
    der = igc.issue(_another(igc.request("doctor")))
    parts = read(NotAsked(), der)
    assert_same(parts, der)
    assert (NameOID.SURNAME, "DÛPONT-ŒUVRARD") in parts.subject
    assert parts.extensions.private[CARD_ID] == b"\x13\x0480/7"


def _critical_odd(request: CertificateRequest) -> CertificateRequest:
    return request.having(x509.UnrecognizedExtension(ODD, b"\x05\x00"), critical=True)


def _long_private(request: CertificateRequest) -> CertificateRequest:
    return request.having(x509.UnrecognizedExtension(CARD_ID, bytes(200)), critical=False)


def _mail(request: CertificateRequest) -> CertificateRequest:
    name = x509.SubjectAlternativeName([x509.RFC822Name("a@b.fr")])
    return request.having(name, critical=False)


def _critical_name(request: CertificateRequest) -> CertificateRequest:
    name = x509.SubjectAlternativeName([x509.OtherName(UPN, b"\x0c\x01a")])
    return request.having(name, critical=True)


def _two_names(request: CertificateRequest) -> CertificateRequest:
    name = x509.OtherName(UPN, b"\x0c\x01a")
    return request.having(x509.SubjectAlternativeName([name, name]), critical=False)


def _other_identifier(request: CertificateRequest) -> CertificateRequest:
    return request.having(x509.SubjectKeyIdentifier(bytes(32)), critical=False)


def _no_extensions(request: CertificateRequest) -> CertificateRequest:
    return dataclasses.replace(request, extensions=())


def _printable(request: CertificateRequest) -> CertificateRequest:
    name = x509.NameAttribute(
        NameOID.COMMON_NAME, "899 (x)", _type=x509.name._ASN1Type.PrintableString
    )
    return dataclasses.replace(request, subject=x509.Name([name]))


ODDITIES = (
    _critical_odd,
    _long_private,
    _mail,
    _critical_name,
    _two_names,
    _other_identifier,
    _no_extensions,
    _printable,
    lambda request: request.without(x509.SubjectKeyIdentifier.oid),
    lambda request: request.without(x509.CertificatePolicies.oid),
    lambda request: request.without(CARD_ID),
    lambda request: dataclasses.replace(request, extensions=request.extensions[::-1]),
    lambda request: dataclasses.replace(request, subject=x509.Name([])),
)


@pytest.mark.parametrize("first", range(len(ODDITIES)))
def test_odd_certificates_in_any_order(igc: FakeIgcSante, first: int) -> None:
    """What is unusual is the library's; it leads to nothing false about those after it."""
    odd = [igc.issue(spoil(igc.request("doctor"))) for spoil in ODDITIES]
    usual = [igc.issue(igc.request(name)) for name in ("doctor", "nurse", "doctor")]
    for der in (*odd[first:], *usual, *odd[:first], *usual):
        assert_same(read(x509.load_der_x509_certificate(der), der), der)
    for der in odd:
        learn(der)
        assert_same(read(NotAsked(), der), der)


def test_unique_identifiers(igc: FakeIgcSante) -> None:
    """What stands between key and extensions in some old certificates is passed over."""
    der = igc.credentials("doctor").authentication_certificate_der
    frame = frame_of(der)
    _, start, end = holders_parts(der, frame)
    changed = _with_extensions(der, list(_elements(der, start, end)), b"\x81\x02\x00\xff")
    assert len(changed) == len(der) + 4
    learn(changed)
    assert_same(read(NotAsked(), changed), changed)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_certificates(path: Path) -> None:
    """Published certificates of ANS, twice: read as the library reads them, or not at all."""
    der = path.read_bytes()
    for _ in range(2):
        try:
            library = x509.load_der_x509_certificate(der)
            list(library.subject), list(library.extensions)
        except REFUSALS:
            with pytest.raises(REFUSALS):
                read(x509.load_der_x509_certificate(der), der)
            return
        assert_same(read(library, der), der)
    assert_same(read(NotAsked(), der), der)


def _spliced(der: bytes, at: int, cut: int, put: bytes) -> bytes:
    """Return a certificate with some bytes of what it says replaced by as many others."""
    return der[:at] + put[:cut].ljust(cut, b"\0") + der[at + cut :]


@st.composite
def _changes(draw: st.DrawFn) -> list[tuple[int, int, bytes]]:
    one = st.tuples(st.integers(0, 2000), st.integers(1, 3), st.binary(min_size=1, max_size=3))
    return draw(st.lists(one, min_size=1, max_size=3))


_REUSED: dict[str, bytes] = {}


@settings(max_examples=1500, deadline=None)
@given(changes=_changes())
def test_what_is_read_here_the_library_reads_too(
    igc: FakeIgcSante, changes: list[tuple[int, int, bytes]]
) -> None:
    """Bytes are changed anywhere after the issuer: never another answer than the library's."""
    der = _REUSED.setdefault("doctor", igc.credentials("doctor").authentication_certificate_der)
    learn(der)
    frame = frame_of(der)
    for place, cut, put in changes:
        at = frame.after_issuer + place % (frame.end - frame.after_issuer - cut)
        der = _spliced(der, at, cut, put)
    try:
        parts = read(NotAsked(), der)
        certificate = x509.load_der_x509_certificate(der)
    except (AttributeError, ValueError, IndexError):
        return  # the library is asked, or the frame is broken
    assert_same(parts, certificate.public_bytes(Encoding.DER))


def _swapped(parts: list[bytes], order: list[int]) -> list[bytes]:
    return [parts[i % len(parts)] for i in order]


def _with_extensions(der: bytes, extensions: list[bytes], before: bytes = b"") -> bytes:
    """Return a certificate with these extensions, and a signature that is no longer one."""
    frame = frame_of(der)
    _, start, _ = holders_parts(der, frame)
    explicit = der.rindex(b"\xa3", 0, start)
    body = before + tlv(0xA3, tlv(0x30, b"".join(extensions)))
    content = 4 if der[frame.start + 1] == 0x82 else 2
    signed = tlv(0x30, der[frame.start + content : explicit] + body)
    return tlv(0x30, signed + der[frame.end :])


@settings(max_examples=400, deadline=None)
@given(order=st.lists(st.integers(0, 40), max_size=20))
def test_extensions_in_any_order_and_number(igc: FakeIgcSante, order: list[int]) -> None:
    """Left out, twice, in another order, or of another certificate: as the library says."""
    ders = [igc.credentials(name).authentication_certificate_der for name in ("doctor", "nurse")]
    parts = []
    for der in ders:
        learn(der)
        _, start, end = holders_parts(der, frame_of(der))
        parts += _elements(der, start, end)
    changed = _with_extensions(ders[0], _swapped(parts, order))
    library = x509.load_der_x509_certificate(changed)
    try:
        list(library.extensions)
    except REFUSALS:
        with pytest.raises(REFUSALS):
            read(library, changed)
        return
    assert_same(read(library, changed), changed)
    assert_same(read(library, changed), changed)


def _elements(der: bytes, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        size, header = der[start + 1], 2
        if size > 0x7F:
            header += size & 0x7F
            size = int.from_bytes(der[start + 2 : start + header], "big")
        yield der[start : start + header + size]
        start += header + size


def test_memory_is_bounded(igc: FakeIgcSante) -> None:
    """Certificates of anybody come by: nothing grows for ever, and nothing long is kept."""
    request = igc.request("doctor")
    for number in range(40):
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{number}"), bytes(300))
        name = x509.NameAttribute(NameOID.PSEUDONYM, f"{number}" * 300)
        changed = dataclasses.replace(request, subject=x509.Name([*request.subject, name]))
        learn(igc.issue(changed.having(odd, critical=False)))
    assert len(parts_memory._forms) == parts_memory._FORMS_MAX
    assert all(len(rdn) <= parts_memory._LONGEST_BYTES for rdn in parts_memory._rdns)
    learned: dict[bytes, int] = {}
    for number in range(3000):
        parts_memory._remember(learned, str(number).encode(), number)
    assert len(learned) <= parts_memory._REMEMBERED
    assert learned[b"2999"] == 2999


def test_personal_names_are_not_kept(igc: FakeIgcSante) -> None:
    """What is read here needs no memory: no name of a holder stays in this process for it."""
    learn(igc.issue(igc.request("doctor")))
    kept = b"".join(parts_memory._rdns)
    assert PERSONAS["doctor"].surname is not None
    assert PERSONAS["doctor"].surname.encode() not in kept
    assert PERSONAS["doctor"].ps_idnat.encode() not in kept


@pytest.mark.parametrize(
    "part",
    [lambda c: c.subject, lambda c: c.extensions],
)
def test_the_library_is_asked_for_what_was_not_read_last(
    igc: FakeIgcSante, part: Callable[[x509.Certificate], object]
) -> None:
    """Another certificate in between takes nothing away from the first."""
    first, second = (
        parse_certificate(igc.credentials(name).authentication_certificate_der)
        for name in ("doctor", "nurse")
    )
    assert extension_of(first.x509, x509.KeyUsage) == extension_of(second.x509, x509.KeyUsage)
    assert dict(subject_of(first.x509))[NameOID.SURNAME] == PERSONAS["doctor"].surname
    assert dict(subject_of(second.x509))[NameOID.SURNAME] == PERSONAS["nurse"].surname
    assert part(first.x509) != part(second.x509)


def test_a_malformed_part_is_named(igc: FakeIgcSante) -> None:
    """The quick way says nothing of its own: the error is that of the library's."""
    der = igc.credentials("doctor").authentication_certificate_der
    rdns, start, end = holders_parts(der, frame_of(der))
    broken = _with_extensions(der, [*_elements(der, start, end), *_elements(der, start, end)])
    with pytest.raises(CertificateMalformed) as refused:
        parse_certificate(broken)
    assert "extensions" in refused.value.what
    assert rdns


def test_other_schemes_are_read_alike(igc: FakeIgcSante) -> None:
    """A profile that reads names only, after the one of the cards."""
    der = igc.credentials("doctor").authentication_certificate_der
    shown: CpsCertificate = parse_certificate(der, SHOWN_ONLY)
    assert shown.practitioner.surname == PERSONAS["doctor"].surname
    assert NO_EXTENSIONS.known == {}
