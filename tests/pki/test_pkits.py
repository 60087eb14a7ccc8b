"""NIST PKITS, the Public Key Interoperability Test Suite, from the package cryptography-vectors.

A file's name says its verdict. Every authority and every list of the suite is in one trust
store, so that a path has to be found, and one anchor. What is refused against the suite is in
`NOT_AS_PKITS` and `CONSTRAINTS`, with the reason; nothing is accepted against it.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from cps_auth.errors import CertificateRefused, WrongPurpose
from cps_auth.model import Practitioner
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import load_x509
from cps_auth.pki.certificate.profiles import CertificateProfile
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore

FOLDER = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT = datetime(2020, 6, 1, tzinfo=UTC)

NOT_AS_PKITS = {
    "ValidDSASignaturesTest4EE": ("4.1.4", "DSA is not accepted"),
    "ValidDSAParameterInheritanceTest5EE": ("4.1.5", "DSA is not accepted"),
    "ValidpathLenConstraintTest8EE": ("4.6.8", "the end of the path is a CA, not a person"),
    "ValidpathLenConstraintTest14EE": ("4.6.14", "the end of the path is a CA, not a person"),
    "ValidSelfIssuedpathLenConstraintTest17EE": (
        "4.6.17",
        "the library's verifier counts self-issued intermediates",
    ),
    "ValidonlyContainsCACertsTest13EE": ("4.14.13", "the end of the path is a CA"),
    "ValidonlySomeReasonsTest18EE": ("4.14.18", "lists of some reasons are not put together"),
    "ValidonlySomeReasonsTest19EE": ("4.14.19", "lists of some reasons are not put together"),
    "ValidIDPwithindirectCRLTest22EE": ("4.14.22", "indirect lists are not accepted"),
    "ValidIDPwithindirectCRLTest24EE": ("4.14.24", "indirect lists are not accepted"),
    "ValidIDPwithindirectCRLTest25EE": ("4.14.25", "indirect lists are not accepted"),
    "ValidcRLIssuerTest28EE": ("4.14.28", "indirect lists are not accepted"),
    "ValidcRLIssuerTest29EE": ("4.14.29", "indirect lists are not accepted"),
    "ValidcRLIssuerTest30EE": ("4.14.30", "indirect lists are not accepted"),
    "ValidcRLIssuerTest33EE": ("4.14.33", "indirect lists are not accepted"),
}
"""Valid in the suite, refused here. All fail closed."""

CONSTRAINTS = re.compile(r"Valid.*([nN]ameConstraints|PolicyMapping|ExplicitPolicy|AnyPolicy)")
"""Sections 4.9 to 4.13: an authority that maps or constrains policies, or constrains names, is
refused whatever comes below it. None of the IGC-Santé does."""

_END_ENTITIES = sorted(path.stem for path in (FOLDER / "certs").glob("*EE.crt"))
VALID = [name for name in _END_ENTITIES if name.startswith("Valid")]
INVALID = [name for name in _END_ENTITIES if name.startswith("Invalid")]
POLICY_1 = "2.16.840.1.101.3.2.1.48.1"


def _read_holder(certificate: ParsedCertificate) -> Practitioner:
    names = certificate.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Practitioner(ps_idnat=str(names[0].value), card_type=None)


PROFILE = CertificateProfile(
    name="PKITS",
    read_holder=_read_holder,
    extended_usage_required=False,
    refuse_content_commitment=False,
    max_intermediates=8,
)


def _der(name: str) -> bytes:
    return (FOLDER / "certs" / f"{name}.crt").read_bytes()


def _authorities() -> list[x509.Certificate]:
    found = []
    for path in sorted((FOLDER / "certs").glob("*.crt")):
        if not path.stem.endswith("EE") and path.stem != "DSAParametersInheritedCACert":
            found.append(load_x509(path.read_bytes()))
    return found


@pytest.fixture(scope="module")
def judge() -> Judge:
    """A judge with the whole suite for a trust store."""
    known = _authorities()
    anchor = load_x509(_der("TrustAnchorRootCertificate"))
    trust = TrustStore("PKITS", (anchor,), tuple(ca for ca in known if ca != anchor))
    lists = [path.read_bytes() for path in sorted((FOLDER / "crls").glob("*.crl"))]
    return Judge(trust, CrlStore(lists), profile=PROFILE)


def test_the_suite_is_all_there() -> None:
    """No test is lost by a pattern: the counts are those of the suite's files."""
    assert (len(VALID), len(INVALID), len(_END_ENTITIES)) == (88, 115, 223)
    assert set(NOT_AS_PKITS) <= set(VALID)


@pytest.mark.parametrize("name", VALID)
def test_valid(judge: Judge, name: str) -> None:
    """What is valid in the suite is accepted, but for the listed ones, which are refused."""
    if name in NOT_AS_PKITS or CONSTRAINTS.match(name):
        with pytest.raises(CertificateRefused):
            judge.judge(_der(name), at=AT)
    else:
        assert judge.judge(_der(name), at=AT).revocation


@pytest.mark.parametrize("name", INVALID)
def test_invalid(judge: Judge, name: str) -> None:
    """What is invalid in the suite is refused, without an exception of the list."""
    with pytest.raises(CertificateRefused):
        judge.judge(_der(name), at=AT)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("ValidCertificatePathTest1EE", True),  # 4.8.1, all certificates have the policy
        ("AllCertificatesNoPoliciesTest2EE", False),
        ("DifferentPoliciesTest3EE", False),
        ("DifferentPoliciesTest4EE", False),
        ("DifferentPoliciesTest5EE", False),
        ("DifferentPoliciesTest9EE", False),
        ("AllCertificatesSamePoliciesTest10EE", True),
        ("AllCertificatesanyPolicyTest11EE", False),  # the leaf has to name it
        ("DifferentPoliciesTest12EE", False),
        ("AllCertificatesSamePoliciesTest13EE", True),
        ("UserNoticeQualifierTest15EE", True),
    ],
)
def test_policy_that_a_profile_asks_for(judge: Judge, name: str, accepted: bool) -> None:
    """Section 4.8 with one acceptable policy: every authority has to stand behind it."""
    profile = dataclasses.replace(PROFILE, policies=frozenset({POLICY_1}))
    asking = Judge(judge.trust, judge.crls, profile=profile)
    if accepted:
        assert POLICY_1 in asking.judge(_der(name), at=AT).policies
    else:
        with pytest.raises(WrongPurpose) as caught:
            asking.judge(_der(name), at=AT)
        assert caught.value.reason == "policy-not-accepted"
