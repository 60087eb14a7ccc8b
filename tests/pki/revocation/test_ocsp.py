"""OCSP: who may answer, about what, how fresh, to which question."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.ocsp import Answer, OcspRefused, judge_answer, make_question
from cps_auth.pki.revocation.policy import RevocationPolicy
from hardware_mocks.igc.certificates import issued_by, key_usage, sign_certificate
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.ocsp import OcspResponder, ocsp_answer

HOUR = timedelta(hours=1)
NONCE = bytes(range(32))
ODD = x509.ObjectIdentifier("1.2.3.4")


def _now() -> datetime:
    return datetime.now(UTC)


def _doctor(igc: FakeIgcSante) -> x509.Certificate:
    return x509.load_der_x509_certificate(igc.credentials("doctor").authentication_certificate_der)


def _issuer(igc: FakeIgcSante, name: str = "fort-personnes") -> OcspResponder:
    authority = igc.authorities[name]
    return OcspResponder(authority.certificate, authority.key)


def _delegated(
    igc: FakeIgcSante,
    *,
    by: str = "fort-personnes",
    usages: Iterable[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    check: bool = False,
    key: Any = None,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    **changes: Any,
) -> OcspResponder:
    """Return a responder, with an EC key if none is given, certified for OCSP by an authority."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    authority = igc.authorities[by]
    request = dataclasses.replace(igc.request(), public_key=key.public_key(), **changes)
    request = dataclasses.replace(
        request,
        extensions=(
            *(more or ((key_usage("digital_signature"), True),)),
            (x509.ExtendedKeyUsage(list(usages)), False),
            (issued_by(authority), False),
            *(() if check else ((x509.OCSPNoCheck(), False),)),
        ),
    )
    certificate = sign_certificate(request, authority.certificate.subject, authority.key)
    return OcspResponder(certificate, key)


def _answer(igc: FakeIgcSante, responder: OcspResponder | None = None, **changes: Any) -> bytes:
    values: dict[str, Any] = {"nonce": NONCE, "next_update": _now() + HOUR} | changes
    about = values.pop("about", _doctor(igc))
    issuer = values.pop("issuer", igc.authorities["fort-personnes"].certificate)
    return ocsp_answer(about, issuer, responder or _issuer(igc), **values)


def _doubt(igc: FakeIgcSante, der: bytes, nonce: bytes | None = NONCE, **policy: Any) -> str:
    issuer = igc.authorities["fort-personnes"].certificate
    rules = dataclasses.replace(RevocationPolicy(), **policy)
    try:
        judge_answer(Answer(der, nonce), _doctor(igc), Issuer.of(issuer), at=_now(), policy=rules)
    except OcspRefused as refused:
        return refused.problem
    return "good"


def test_issuer_answers(igc: FakeIgcSante) -> None:
    """The issuer's own answer is evidence, identified by its key or by its name."""
    assert _doubt(igc, _answer(igc)) == "good"
    assert _doubt(igc, _answer(igc, by_name=True)) == "good"


def test_delegated_responder_answers(igc: FakeIgcSante) -> None:
    """A responder that the issuer certified for OCSP may answer, with ECDSA too."""
    responder = _delegated(igc)
    der = _answer(igc, responder, sent_along=(responder.certificate,))
    assert _doubt(igc, der) == "good"


def test_delegated_responder_that_is_not_sent_along(igc: FakeIgcSante) -> None:
    """Without its certificate nobody knows who answered."""
    assert _doubt(igc, _answer(igc, _delegated(igc))) == "ocsp-unauthorised-responder"


@pytest.mark.parametrize(
    "changes",
    [
        {"usages": (ExtendedKeyUsageOID.CLIENT_AUTH,)},
        {"by": "standard-personnes"},
        {"by": "rogue-fort-personnes"},
        {"not_after": datetime.now(UTC) - timedelta(days=1)},
        {"not_before": datetime.now(UTC) + timedelta(days=1)},
        {"more": ((key_usage("key_encipherment"), True),)},
        {"more": ((x509.UnrecognizedExtension(ODD, b"\x05\x00"), True),)},
        {"key": rsa.generate_private_key(65537, 1024)},  # noqa: S505, weak on purpose
    ],
    ids=[
        "not-for-ocsp",
        "other-authority",
        "forger",
        "expired",
        "early",
        "key-usage",
        "unknown-critical",
        "weak-key",
    ],
)
def test_unauthorised_responder(igc: FakeIgcSante, changes: dict[str, Any]) -> None:
    """Only whom this issuer certified for OCSP, now, may answer in its place."""
    responder = _delegated(igc, **changes)
    der = _answer(igc, responder, sent_along=(responder.certificate,))
    assert _doubt(igc, der) == "ocsp-unauthorised-responder"


def test_card_is_no_responder(igc: FakeIgcSante) -> None:
    """The doctor cannot answer for themselves."""
    card = igc.credentials("doctor")
    doctor = _doctor(igc)
    der = _answer(igc, OcspResponder(doctor, card.authentication_key), sent_along=(doctor,))
    assert _doubt(igc, der) == "ocsp-unauthorised-responder"


def test_forged_signature(igc: FakeIgcSante) -> None:
    """An answer in the issuer's name with another key proves nothing."""
    forger = _issuer(igc, "rogue-fort-personnes")
    assert _doubt(igc, _answer(igc, forger, by_name=True)) == "ocsp-bad-signature"


def test_other_serial(igc: FakeIgcSante) -> None:
    """An answer about another certificate of the same issuer proves nothing."""
    nurse = x509.load_der_x509_certificate(igc.credentials("nurse").authentication_certificate_der)
    assert _doubt(igc, _answer(igc, about=nurse)) == "ocsp-other-certificate"


def test_same_serial_of_another_issuer(igc: FakeIgcSante) -> None:
    """The hashes of the CertID decide whose serial number it is."""
    other = igc.authorities["rogue-fort-personnes"].certificate
    assert _doubt(igc, _answer(igc, issuer=other)) == "ocsp-other-certificate"


@pytest.mark.parametrize(
    ("sent_back", "required", "verdict"),
    [
        (NONCE, True, "good"),
        (None, True, "ocsp-nonce"),
        (bytes(32), True, "ocsp-nonce"),
        (None, False, "good"),
        (bytes(32), False, "ocsp-nonce"),
    ],
)
def test_nonce(igc: FakeIgcSante, sent_back: bytes | None, required: bool, verdict: str) -> None:
    """Our nonce has to come back; another one is refused under every policy."""
    der = _answer(igc, nonce=sent_back)
    assert _doubt(igc, der, nonce_required=required) == verdict


@pytest.mark.parametrize("nonce", [None, bytes(32), NONCE])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"this_update": -9, "next_update": None},
        {"this_update": 9, "next_update": None},
    ],
    ids=["now", "late", "under a slow clock"],
)
def test_revoked_counts_whatever_else_is_wrong(
    igc: FakeIgcSante, nonce: bytes | None, changes: dict[str, Any]
) -> None:
    """RFC 6960 leaves the nonce to the responder: a replayed "revoked" harms nobody."""
    if changes:
        changes = changes | {"this_update": _now() + changes["this_update"] * HOUR}
    revoked = _answer(igc, nonce=nonce, status=ocsp.OCSPCertStatus.REVOKED, **changes)
    issuer = Issuer.of(igc.authorities["fort-personnes"].certificate)
    policy = RevocationPolicy()
    answer = Answer(revoked, NONCE)
    assert judge_answer(answer, _doctor(igc), issuer, at=_now(), policy=policy).revoked is not None


def test_revoked_without_nonce_outweighs_a_grace(igc: FakeIgcSante) -> None:
    """The list is past due and its grace given: what a responder says in time comes first."""
    stale = igc.crl(this_update=_now() - 9 * HOUR, next_update=_now() - HOUR)
    answer = _answer(igc, nonce=None, status=ocsp.OCSPCertStatus.REVOKED)
    judge = _judge(igc, _Source(igc, answer), stale)
    judge.policy = RevocationPolicy.grace(48)
    with pytest.raises(CertificateRevoked) as caught:
        judge.judge(igc.credentials("doctor").authentication_certificate_der, at=_now())
    assert caught.value.source == "ocsp"


def test_stapled_answer_has_no_question(igc: FakeIgcSante) -> None:
    """Where no nonce was asked, none is missed."""
    assert _doubt(igc, _answer(igc, nonce=None), nonce=None) == "good"


def test_freshness(igc: FakeIgcSante) -> None:
    """After nextUpdate, or too long after thisUpdate, an answer is stale; early, it is none."""
    old = _now() - 3 * HOUR
    assert _doubt(igc, _answer(igc, this_update=old, next_update=old + HOUR)) == "ocsp-stale"
    assert _doubt(igc, _answer(igc, this_update=old, next_update=None)) == "ocsp-stale"
    assert _doubt(igc, _answer(igc, this_update=old), nonce=NONCE) == "good"
    assert _doubt(igc, _answer(igc, this_update=_now() + HOUR / 2)) == "ocsp-not-yet-valid"
    assert _doubt(igc, _answer(igc, this_update=_now() + HOUR / 30)) == "good"


def test_unknown_is_not_good(igc: FakeIgcSante) -> None:
    """A responder that does not know the certificate says so."""
    assert _doubt(igc, _answer(igc, status=ocsp.OCSPCertStatus.UNKNOWN)) == "ocsp-unknown"


def test_unsuccessful(igc: FakeIgcSante) -> None:
    """ "Try later" is not an answer."""
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert _doubt(igc, response.public_bytes(Encoding.DER)) == "ocsp-not-successful"


@pytest.mark.parametrize("der", [b"", b"0", b"\x30\x03\x0a\x01\x00", b"x" * 70_000])
def test_rubbish(igc: FakeIgcSante, der: bytes) -> None:
    """What is no answer is refused as such."""
    assert _doubt(igc, der) == "ocsp-malformed"


def test_answer_beyond_all_size(igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not parsed, genuine or not."""
    der = _answer(igc)
    for most, verdict in ((len(der), "good"), (len(der) - 1, "ocsp-malformed")):
        monkeypatch.setattr("cps_auth.pki.revocation.ocsp.RESPONSE_MAX_BYTES", most)
        assert _doubt(igc, der) == verdict


def test_question_is_a_question(igc: FakeIgcSante) -> None:
    """The request names the certificate and carries a nonce that is never the same."""
    issuer = igc.authorities["fort-personnes"].certificate
    one, two = (make_question(_doctor(igc), issuer) for _ in range(2))
    request = ocsp.load_der_ocsp_request(one.der)
    assert request.serial_number == _doctor(igc).serial_number
    assert isinstance(request.hash_algorithm, hashes.SHA1)
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == one.nonce
    assert (len(one.nonce), one.nonce == two.nonce) == (32, False)


class _Source:
    """A responder that answers about the doctor, and nothing about authorities."""

    def __init__(self, igc: FakeIgcSante, *ders: bytes) -> None:
        self._doctor, self._ders = _doctor(igc), ders
        self.asked = 0

    def answers(self, child: x509.Certificate, issuer: x509.Certificate) -> list[Answer]:
        self.asked += 1
        about_the_doctor = child == self._doctor and issuer.subject == child.issuer
        return [Answer(der, NONCE) for der in self._ders] if about_the_doctor else []


def _judge(igc: FakeIgcSante, source: _Source, *lists: bytes) -> Judge:
    return Judge(igc.trust_store(), CrlStore([*lists, igc.crls["ACR-FO"]]), ocsp=source)


def _judged(igc: FakeIgcSante, source: _Source, *lists: bytes) -> tuple[str, ...]:
    der = igc.credentials("doctor").authentication_certificate_der
    judged = _judge(igc, source, *lists).judge(der, at=_now())
    return tuple(piece.source for piece in judged.revocation)


def test_answer_where_there_is_no_list(igc: FakeIgcSante) -> None:
    """OCSP stands in for a list that is missing or stale, for that certificate only."""
    stale = igc.crl(this_update=_now() - 2 * HOUR, next_update=_now() - HOUR)
    for lists in ((), (stale,)):
        assert _judged(igc, _Source(igc, _answer(igc)), *lists) == ("ocsp", "crl")


def test_nobody_is_asked_while_lists_are_current(igc: FakeIgcSante) -> None:
    """No network where the evidence is here."""
    source = _Source(igc, _answer(igc))
    assert _judged(igc, source, igc.crls["ACI-FO-PP"]) == ("crl", "crl")
    assert source.asked == 0


def test_first_good_answer_of_several_counts(igc: FakeIgcSante) -> None:
    """A bad answer does not hide a good one."""
    assert _judged(igc, _Source(igc, b"rubbish", _answer(igc)))[0] == "ocsp"


def test_revoked_by_the_responder(igc: FakeIgcSante) -> None:
    """Revoked is refused with date, reason and who says so, however old the answer is."""
    since = datetime(2026, 1, 2, tzinfo=UTC)
    old = _now() - 3 * HOUR
    for dates in ({}, {"this_update": old, "next_update": old + HOUR}):
        der = _answer(igc, status=ocsp.OCSPCertStatus.REVOKED, revoked_at=since, **dates)
        with pytest.raises(CertificateRevoked) as caught:
            _judged(igc, _Source(igc, der))
        assert (caught.value.revoked_at, caught.value.reason) == (since, "keyCompromise")
        assert caught.value.source == "ocsp"


def test_good_answer_does_not_outweigh_a_list(igc: FakeIgcSante) -> None:
    """On a list, even a stale one, is revoked, whatever a responder says."""
    line = Revocation(_doctor(igc).serial_number, igc.made_at)
    stale = igc.crl(this_update=_now() - 2 * HOUR, next_update=_now() - HOUR, revoked=[line])
    with pytest.raises(CertificateRevoked):
        _judged(igc, _Source(igc, _answer(igc)), stale)


def test_why_there_is_no_evidence(igc: FakeIgcSante) -> None:
    """Without a list, the reason is the responder's; with a stale one, it is the list's."""
    stale = igc.crl(this_update=_now() - 2 * HOUR, next_update=_now() - HOUR)
    for lists, why in (((), "ocsp-malformed"), ((stale,), "crl-stale")):
        with pytest.raises(RevocationUnknown) as caught:
            _judged(igc, _Source(igc, b"rubbish"), *lists)
        assert caught.value.why == why


def test_nobody_answers(igc: FakeIgcSante) -> None:
    """A responder that cannot be reached explains nothing: what the lists lack does."""
    stale = igc.crl(this_update=_now() - 2 * HOUR, next_update=_now() - HOUR)
    for lists, why in (((), "no-crl"), ((stale,), "crl-stale")):
        with pytest.raises(RevocationUnknown) as caught:
            _judged(igc, _Source(igc), *lists)
        assert caught.value.why == why


def test_responder_that_may_be_revoked(igc: FakeIgcSante) -> None:
    """Without id-pkix-ocsp-nocheck the responder itself must be on no current list."""
    responder = _delegated(igc, check=True)
    der = _answer(igc, responder, sent_along=(responder.certificate,))
    line = Revocation(responder.certificate.serial_number, igc.made_at)
    assert _judged(igc, _Source(igc, der), _for_responders(igc)) == ("ocsp", "crl")
    for lists, why in (
        ((), "ocsp-responder-unchecked"),
        ((_for_responders(igc, next_update=_now() - HOUR / 2),), "crl-other-distribution-point"),
        ((_for_responders(igc, revoked=[line]),), "crl-other-distribution-point"),
    ):
        with pytest.raises(RevocationUnknown) as caught:
            _judged(igc, _Source(igc, der), *lists)
        assert caught.value.why == why


def test_responder_that_need_not_be_checked(igc: FakeIgcSante) -> None:
    """With id-pkix-ocsp-nocheck the responder is believed without a list, while it is valid."""
    responder = _delegated(igc)
    der = _answer(igc, responder, sent_along=(responder.certificate,))
    assert _judged(igc, _Source(igc, der))[0] == "ocsp"


def test_revoked_by_a_responder_that_nobody_can_check(igc: FakeIgcSante) -> None:
    """It needs no current list of the responder to be believed, and a revoked one is not."""
    responder = _delegated(igc, check=True)
    sent, revoked = (responder.certificate,), ocsp.OCSPCertStatus.REVOKED
    answer = _answer(igc, responder, status=revoked, sent_along=sent)
    with pytest.raises(CertificateRevoked):
        _judged(igc, _Source(igc, answer))
    line = Revocation(responder.certificate.serial_number, _now() - HOUR)
    with pytest.raises(RevocationUnknown) as caught:
        _judged(igc, _Source(igc, answer), _for_responders(igc, revoked=[line]))
    assert caught.value.why != "ocsp-responder-unchecked"


def _for_responders(igc: FakeIgcSante, **changes: Any) -> bytes:
    """Return a list of the issuer's own point: it does not speak about cards, which have others."""
    name = x509.DirectoryName(igc.authorities["fort-personnes"].certificate.subject)
    flags = dict.fromkeys(("only_contains_user_certs", "only_contains_ca_certs"), False)
    point = x509.IssuingDistributionPoint(
        [name],
        None,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
        **flags,
    )
    values: dict[str, Any] = {"this_update": _now() - HOUR, "extra": [(point, True)], "revoked": []}
    return igc.crl(**(values | changes))
