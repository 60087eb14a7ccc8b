"""The holder's own link, checked by us, against the whole of `cryptography`'s verifier.

Whatever certificate we accept, the library's verifier accepts too, under a policy that states
the same rules; generated requests are spoiled at random in every way that either looks at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.errors import CertificateRefused
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.chain.verify import verify_chain
from hardware_mocks.igc.certificates import CertificateRequest, issued_by, key_usage
from hardware_mocks.igc.fake_igc import FakeIgcSante

Spoil = Callable[[FakeIgcSante, CertificateRequest], CertificateRequest]
ODD = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
DAY = timedelta(days=1)


def _extension(extension: x509.ExtensionType, *, critical: bool) -> Spoil:
    return lambda _igc, request: request.having(extension, critical=critical)


def _without(kind: type[x509.ExtensionType]) -> Spoil:
    return lambda _igc, request: request.without(kind.oid)


def _dates(before: timedelta, after: timedelta) -> Spoil:
    return lambda igc, request: dataclasses.replace(
        request, not_before=igc.made_at + before, not_after=igc.made_at + after
    )


def _key_of(name: str) -> Spoil:
    return lambda igc, request: request.having(issued_by(igc.authorities[name]), critical=False)


SPOILS: tuple[Spoil, ...] = (
    lambda _igc, request: request,
    _extension(x509.BasicConstraints(ca=True, path_length=None), critical=True),
    _extension(x509.BasicConstraints(ca=True, path_length=3), critical=False),
    _without(x509.BasicConstraints),
    _extension(key_usage("digital_signature"), critical=False),
    _extension(key_usage("digital_signature", "key_cert_sign"), critical=True),
    _extension(key_usage("crl_sign"), critical=True),
    _without(x509.KeyUsage),
    _without(x509.SubjectAlternativeName),
    _without(x509.AuthorityKeyIdentifier),
    _without(x509.ExtendedKeyUsage),
    _without(x509.CertificatePolicies),
    _extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True),
    _extension(ODD, critical=True),
    _extension(ODD, critical=False),
    _extension(x509.InhibitAnyPolicy(0), critical=True),
    _extension(x509.PolicyConstraints(0, None), critical=True),
    _extension(x509.NameConstraints([x509.DNSName("x")], None), critical=True),
    _dates(DAY, 2 * DAY),
    _dates(-2 * DAY, -DAY),
    _key_of("standard-personnes"),
    _key_of("rogue-fort-personnes"),
)


def _library_accepts(leaf: x509.Certificate, trust: TrustStore, at: datetime) -> bool:
    def refuse_ca(
        _policy: verification.Policy, _leaf: x509.Certificate, basic: x509.BasicConstraints | None
    ) -> None:
        if basic is not None and basic.ca:
            raise ValueError

    def refuse_signer(
        _policy: verification.Policy, _leaf: x509.Certificate, usage: x509.KeyUsage
    ) -> None:
        if usage.key_cert_sign or usage.crl_sign:
            raise ValueError

    anything = ExtensionPolicy.permit_all()
    ca_policy = anything.require_present(x509.BasicConstraints, Criticality.CRITICAL, None)
    leaf_policy = (
        anything.may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, refuse_ca)
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, refuse_signer)
        .require_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(trust.anchors)))
        .time(at)
        .max_chain_depth(1)
        .extension_policies(ca_policy=ca_policy, ee_policy=leaf_policy)
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, list(trust.intermediates))
    except verification.VerificationError:
        return False
    return True


@settings(deadline=None, max_examples=150)
@given(
    spoils=st.lists(st.sampled_from(range(len(SPOILS))), max_size=3),
    by=st.sampled_from(["fort-personnes", "standard-personnes", "fort", "rogue-fort-personnes"]),
    forged=st.booleans(),
    flips=st.lists(st.integers(0, 8 * 1400), max_size=1),
)
def test_what_we_accept_the_library_accepts(
    igc: FakeIgcSante, spoils: list[int], by: str, forged: bool, flips: list[int]
) -> None:
    """Our link is never weaker than the library's, and where it is stricter it is on purpose."""
    request = igc.request()
    for index in spoils:
        request = SPOILS[index](igc, request)
    forger = igc.authorities["rogue-fort-personnes"].key
    der = bytearray(igc.issue(request, by, signing_key=forger if forged else None))
    for bit in flips:
        der[bit // 8 % len(der)] ^= 1 << bit % 8
    trust = igc.trust_store()
    try:
        certificate = parse_certificate(bytes(der))
        verify_chain(certificate, trust, at=igc.made_at)
    except CertificateRefused:
        accepted = False
    else:
        accepted = True
    if accepted:
        assert _library_accepts(certificate.x509, trust, igc.made_at)


def test_both_accept_the_sound_ones(igc: FakeIgcSante) -> None:
    """The comparison is not empty: both accept what is sound, and what may be left out."""
    trust = igc.trust_store()
    for spoil in (
        SPOILS[0],
        _without(x509.SubjectAlternativeName),
        _without(x509.BasicConstraints),
    ):
        certificate = parse_certificate(igc.issue(spoil(igc, igc.request())))
        assert len(verify_chain(certificate, trust, at=igc.made_at).certificates) == 3
        assert _library_accepts(certificate.x509, trust, igc.made_at)
