"""What a mutated certificate, list or answer is given to, and what must never come of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cps_auth.errors import CertificateRefused, CertificateRevoked, RevocationUnknown
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.chain.verify import verify_chain
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.check import check_revocation
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.ocsp import Answer, OcspRefused, judge_answer
from cps_auth.pki.revocation.policy import RevocationPolicy
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.odd_certificates import FAULTS, odd_card

SLOWEST_S = 0.010


class AlteredAccepted(AssertionError):
    """Something that the authority did not sign was taken for evidence."""


@dataclass
class Target:
    """One kind of input.

    Attributes:
        seeds: genuine inputs, to be mutated.
        feed: judges one input; raises only what must never happen.
        outcomes: how often each verdict was given.
        slowest_s: processor time of the slowest input.
    """

    seeds: list[bytes]
    feed_one: Callable[[bytes], str]
    outcomes: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0

    def feed(self, data: bytes) -> None:
        """Judge one input and count its verdict."""
        start = time.thread_time()
        verdict = self.feed_one(data)
        self.slowest_s = max(self.slowest_s, time.thread_time() - start)
        self.outcomes[verdict] = self.outcomes.get(verdict, 0) + 1


def certificate_target(igc: FakeIgcSante) -> Target:
    """Return the target of certificates: a whole judgement."""
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    seeds = [card.authentication_certificate_der for card in igc.cards.values()]
    seeds += [igc.authorities["fort-personnes"].der, igc.authorities["fort"].der]
    seeds += [odd_card(igc, fault)[1] for fault in FAULTS.values()]

    def feed(data: bytes) -> str:
        try:
            judge.judge(data, at=igc.made_at)
        except CertificateRefused as refused:
            return refused.code
        if data not in seeds:
            raise AlteredAccepted
        return "accepted"

    return Target(seeds, feed)


def crl_target(igc: FakeIgcSante) -> Target:
    """Return the target of lists: is the doctor revoked, with this list of their issuer?"""
    doctor = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    chain = verify_chain(doctor, igc.trust_store(), at=igc.made_at)
    lines = [Revocation(serial, igc.made_at - timedelta(days=serial)) for serial in range(1, 40)]
    point = x509.IssuingDistributionPoint(
        [x509.UniformResourceIdentifier("http://igc-sante.invalid/CRL/ACI-FO-PP.crl")],
        None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    seeds = [
        igc.crls["ACI-FO-PP"],
        igc.crl(revoked=lines, number=2**150),
        igc.crl(revoked=lines[:3], extra=[(point, True)]),
        igc.crl(revoked=lines[:3], extra=[(x509.DeltaCRLIndicator(1), True)], number=2),
    ]
    root_list = igc.crls["ACR-FO"]

    def feed(data: bytes) -> str:
        try:
            check_revocation(chain, CrlStore([data, root_list]), at=igc.made_at)
        except (CertificateRevoked, RevocationUnknown) as refused:
            if isinstance(refused, CertificateRevoked):
                raise AlteredAccepted from refused
            return refused.why
        if data not in seeds:
            raise AlteredAccepted
        return "accepted"

    return Target(seeds, feed)


def ocsp_target(igc: FakeIgcSante) -> Target:
    """Return the target of OCSP answers. What is signed counts: certificates sent along don't."""
    issuer = igc.authorities["fort-personnes"]
    leaf = x509.load_der_x509_certificate(igc.credentials("doctor").authentication_certificate_der)
    at = datetime.now(UTC).replace(microsecond=0)  # answers are dated by the library
    seeds = [_answer(igc, leaf, status, at) for status in ocsp.OCSPCertStatus]
    signed = {ocsp.load_der_ocsp_response(seed).tbs_response_bytes for seed in seeds}
    policy = dataclasses.replace(RevocationPolicy(), nonce_required=False)

    def feed(data: bytes) -> str:
        answer = Answer(data, None)
        try:
            judge_answer(answer, leaf, Issuer.of(issuer.certificate), at=at, policy=policy)
        except OcspRefused as refused:
            return refused.problem
        if ocsp.load_der_ocsp_response(data).tbs_response_bytes not in signed:
            raise AlteredAccepted
        return "accepted"

    return Target(seeds, feed)


def _answer(
    igc: FakeIgcSante, leaf: x509.Certificate, status: ocsp.OCSPCertStatus, at: datetime
) -> bytes:
    issuer = igc.authorities["fort-personnes"]
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=issuer.certificate,
        algorithm=hashes.SHA256(),
        cert_status=status,
        this_update=at,
        next_update=at + timedelta(hours=1),
        revocation_time=at if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    named = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    return named.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


TARGETS = {"certificate": certificate_target, "crl": crl_target, "ocsp": ocsp_target}
