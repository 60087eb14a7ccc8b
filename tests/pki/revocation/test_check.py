"""Revoked, not revoked, or unknown: three answers, never mixed up."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.chain.verify import Chain, verify_chain
from cps_auth.pki.revocation.check import check_revocation
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.certificates import ExtensionItem, key_usage
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

HOUR = timedelta(hours=1)
URL = x509.UniformResourceIdentifier("http://igc-sante.invalid/CRL/ACI-FO-PP.crl")


def _chain(igc: FakeIgcSante, name: str = "doctor") -> Chain:
    leaf = parse_certificate(igc.credentials(name).authentication_certificate_der)
    return verify_chain(leaf, igc.trust_store(), at=igc.made_at)


def _lists(igc: FakeIgcSante, *of_issuer: bytes) -> CrlStore:
    """Return these lists of FORT PERSONNES and the sound one of the root."""
    return CrlStore([*of_issuer, igc.crls["ACR-FO"]])


def _why(igc: FakeIgcSante, *of_issuer: bytes) -> str:
    with pytest.raises(RevocationUnknown) as caught:
        check_revocation(_chain(igc), _lists(igc, *of_issuer), at=igc.made_at)
    return caught.value.why


def test_not_on_the_lists(igc: FakeIgcSante) -> None:
    """The doctor is on no list, and the evidence for leaf and intermediate is handed back."""
    crls = CrlStore(igc.crls.values())
    evidence = check_revocation(_chain(igc), crls, at=igc.made_at)
    assert [piece.issuer for piece in evidence] == [
        "FICTIVE AC IGC-SANTE FORT PERSONNES",
        "FICTIVE AC RACINE IGC-SANTE FORT",
    ]
    assert {(piece.source, piece.crl_number) for piece in evidence} == {("crl", 1)}
    assert all(piece.this_update < igc.made_at < piece.next_update for piece in evidence)


def test_on_the_list(igc: FakeIgcSante) -> None:
    """The revoked persona is revoked, with date and reason."""
    with pytest.raises(CertificateRevoked) as caught:
        check_revocation(_chain(igc, "revoked"), CrlStore(igc.crls.values()), at=igc.made_at)
    assert caught.value.reason == "keyCompromise"
    assert caught.value.revoked_at == igc.made_at - timedelta(days=2)


def test_without_a_reason(igc: FakeIgcSante) -> None:
    """An entry without a reason is revoked for an unspecified one."""
    chain = _chain(igc)
    line = Revocation(chain.leaf.x509.serial_number, igc.made_at - HOUR, reason=None)
    with pytest.raises(CertificateRevoked) as caught:
        check_revocation(chain, _lists(igc, igc.crl(revoked=[line])), at=igc.made_at)
    assert caught.value.reason == "unspecified"


def test_revoked_intermediate(igc: FakeIgcSante) -> None:
    """A revoked authority revokes its cards."""
    chain = _chain(igc)
    line = Revocation(
        chain.issuers[0].x509.serial_number, igc.made_at - HOUR, x509.ReasonFlags.ca_compromise
    )
    crls = CrlStore([igc.crls["ACI-FO-PP"], igc.crl("fort", revoked=[line])])
    with pytest.raises(CertificateRevoked) as caught:
        check_revocation(chain, crls, at=igc.made_at)
    assert caught.value.reason == "cACompromise"


def test_same_serial_of_another_issuer(igc: FakeIgcSante) -> None:
    """A serial number on the list of another authority means nothing."""
    chain = _chain(igc)
    line = Revocation(chain.leaf.x509.serial_number, igc.made_at - HOUR)
    crls = CrlStore([*igc.crls.values(), igc.crl("standard-personnes", revoked=[line], number=2)])
    assert check_revocation(chain, crls, at=igc.made_at)


@pytest.mark.parametrize("missing", ["ACI-FO-PP", "ACR-FO"])
def test_no_list(igc: FakeIgcSante, missing: str) -> None:
    """Without a list of every authority on the way, nobody knows."""
    crls = CrlStore(der for name, der in igc.crls.items() if name != missing)
    with pytest.raises(RevocationUnknown) as caught:
        check_revocation(_chain(igc), crls, at=igc.made_at)
    assert (caught.value.why, caught.value.valid_until) == ("no-crl", None)


def test_list_that_is_rubbish(igc: FakeIgcSante) -> None:
    """A list that cannot be read is told from one that is not there."""
    assert _why(igc, b"rubbish") == "crl-malformed"
    assert _why(igc, igc.crls["ACI-FO-PP"][:-1]) == "crl-malformed"


def test_stale_list(igc: FakeIgcSante) -> None:
    """After nextUpdate nobody knows; the error says until when somebody did."""
    end = igc.made_at - HOUR
    stale = igc.crl(this_update=end - HOUR, next_update=end)
    with pytest.raises(RevocationUnknown) as caught:
        check_revocation(_chain(igc), _lists(igc, stale), at=igc.made_at)
    assert (caught.value.why, caught.value.valid_until) == ("crl-stale", end)


def test_bounds_are_inclusive(igc: FakeIgcSante) -> None:
    """A list is good from thisUpdate to nextUpdate, both included."""
    chain = _chain(igc)
    for this_update, next_update in (
        (igc.made_at, igc.made_at + HOUR),
        (igc.made_at - HOUR, igc.made_at),
    ):
        crl = igc.crl(this_update=this_update, next_update=next_update)
        assert check_revocation(chain, _lists(igc, crl), at=igc.made_at)


def test_revoked_on_a_stale_list_stays_revoked(igc: FakeIgcSante) -> None:
    """Age doesn't make a revoked card unknown, which a lenient policy might let pass."""
    chain = _chain(igc, "revoked")
    stale = igc.crl(this_update=igc.made_at - 2 * HOUR, next_update=igc.made_at - HOUR)
    with pytest.raises(CertificateRevoked):
        check_revocation(chain, _lists(igc, stale), at=igc.made_at)


def test_list_of_the_future(igc: FakeIgcSante) -> None:
    """A list that is not valid yet says nothing, and doesn't hide an older one that does."""
    future = igc.crl(this_update=igc.made_at + HOUR, number=9)
    assert _why(igc, future) == "crl-not-yet-valid"
    crls = _lists(igc, future, igc.crls["ACI-FO-PP"])
    assert check_revocation(_chain(igc), crls, at=igc.made_at)[0].crl_number == 1


def test_newest_number_wins(igc: FakeIgcSante) -> None:
    """Of two good lists the one with the higher number counts, in any order."""
    chain = _chain(igc)
    line = Revocation(chain.leaf.x509.serial_number, igc.made_at - HOUR)
    old, new = igc.crl(number=7), igc.crl(number=8, revoked=[line])
    for crls in (_lists(igc, old, new), _lists(igc, new, old)):
        with pytest.raises(CertificateRevoked):
            check_revocation(chain, crls, at=igc.made_at)


def test_only_a_hold_ends(igc: FakeIgcSante) -> None:
    """A later list lifts a hold, and nothing else that an older one says (RFC 5280, 5.3.1)."""
    chain = _chain(igc)
    later = igc.crl(number=9, revoked=[])
    before = igc.made_at - HOUR
    for reason, lifted in ((x509.ReasonFlags.certificate_hold, True), (None, False)):
        line = Revocation(chain.leaf.x509.serial_number, before, reason=reason)
        older = igc.crl(number=8, revoked=[line], this_update=before - HOUR)
        crls = _lists(igc, older, later)
        if lifted:
            assert check_revocation(chain, crls, at=igc.made_at)[0].crl_number == 9
        else:
            with pytest.raises(CertificateRevoked):
                check_revocation(chain, crls, at=igc.made_at)


def test_forged_list(igc: FakeIgcSante) -> None:
    """A list signed by somebody else is no evidence, and doesn't replace the genuine one."""
    forged = igc.crl(signing_key=igc.authorities["rogue-fort-personnes"].key, revoked=[], number=99)
    assert _why(igc, forged) == "crl-bad-signature"
    with pytest.raises(CertificateRevoked):
        check_revocation(
            _chain(igc, "revoked"),
            _lists(igc, forged, igc.crls["ACI-FO-PP"]),
            at=igc.made_at,
        )


def test_list_of_the_forgers_own(igc: FakeIgcSante) -> None:
    """A list of the authority of the same name and another key is told by its key identifier."""
    assert _why(igc, igc.crl("rogue-fort-personnes", revoked=[])) == "crl-other-key"


def test_authority_that_may_not_sign_lists(igc: FakeIgcSante) -> None:
    """Without cRLSign an authority's list is no evidence."""
    chain = _chain(igc)
    request = igc.request().having(key_usage("key_cert_sign"), critical=True)
    issuer = igc.authorities["fort-personnes"]
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.key.public_key())
    request = request.having(key_identifier, critical=False)
    request = replace(request, subject=issuer.certificate.subject)
    other = Issuer.of(x509.load_der_x509_certificate(igc.issue(request, "fort")))
    chain = Chain(chain.leaf, (other,))
    with pytest.raises(RevocationUnknown) as caught:
        check_revocation(chain, _lists(igc, igc.crl()), at=igc.made_at)
    assert caught.value.why == "crl-issuer-may-not-sign"


def _distribution_point(**flags: bool) -> x509.IssuingDistributionPoint:
    every = {
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(
        full_name=[URL], relative_name=None, only_some_reasons=None, **(every | flags)
    )


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ((x509.DeltaCRLIndicator(1), True), "crl-delta"),
        ((_distribution_point(indirect_crl=True), True), "crl-partial"),
        ((_distribution_point(only_contains_ca_certs=True), True), "crl-partial"),
        (
            (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
            "crl-unknown-extension",
        ),
    ],
)
def test_lists_that_are_not_the_whole_truth(
    igc: FakeIgcSante, extra: ExtensionItem, why: str
) -> None:
    """Delta, indirect, partial and not understood lists are no evidence."""
    assert _why(igc, igc.crl(extra=[extra])) == why


def test_unknown_extension_that_is_not_critical(igc: FakeIgcSante) -> None:
    """An extension that is not critical may be ignored, as RFC 5280 says."""
    odd = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    crls = _lists(igc, igc.crl(extra=[(odd, False)]))
    assert check_revocation(_chain(igc), crls, at=igc.made_at)


@pytest.mark.parametrize(
    ("extension", "why"),
    [
        (
            x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
            "crl-unknown-extension",
        ),
        (x509.CertificateIssuer([URL]), "crl-partial"),
    ],
)
def test_entries_that_are_not_understood(
    igc: FakeIgcSante, extension: x509.ExtensionType, why: str
) -> None:
    """A critical extension of any entry makes the whole list no evidence (RFC 5280, 5.3)."""
    line = Revocation(4711, igc.made_at - HOUR, extra=((extension, True),))
    assert _why(igc, igc.crl(revoked=[line])) == why


def test_signature_of_no_whole_bytes(igc: FakeIgcSante) -> None:
    """Unused bits of the signature, outside of what is signed, cannot be altered either."""
    signed = (igc.crl(number=number) for number in range(2, 60))
    genuine = next(der for der in signed if not der[-1] & 1)
    assert check_revocation(_chain(igc), _lists(igc, genuine), at=igc.made_at)
    unused = len(genuine) - 512 - 1  # the byte before the 4096 bits
    assert genuine[unused] == 0
    altered = genuine[:unused] + b"\x01" + genuine[unused + 1 :]
    assert _why(igc, altered) == "crl-bad-signature"


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_altered_lists_are_never_evidence(igc: FakeIgcSante, data: st.DataObject) -> None:
    """Whatever bytes are changed in a list, it raises our own error and proves nothing."""
    genuine = igc.crls["ACI-FO-PP"]
    altered = bytearray(genuine)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(altered) - 1))
        altered[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(RevocationUnknown):
        check_revocation(_chain(igc), _lists(igc, bytes(altered)), at=igc.made_at)
        assert bytes(altered) == genuine


@settings(deadline=None, max_examples=100)
@given(noise=st.binary(max_size=200))
def test_noise_is_never_evidence(igc: FakeIgcSante, noise: bytes) -> None:
    """Random bytes for a list are a list that cannot be read."""
    assert _why(igc, noise) == "crl-malformed"


def test_naive_time_is_the_callers_error(igc: FakeIgcSante) -> None:
    """A datetime without a zone is refused, not guessed."""
    with pytest.raises(ValueError, match="naive"):
        check_revocation(_chain(igc), _lists(igc), at=datetime(2026, 1, 1))  # noqa: DTZ001
