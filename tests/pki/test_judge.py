"""A whole judgement: identity, chain, purpose and lists, in this order."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.errors import (
    CertificateExpired,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRevoked,
    CpsAuthError,
    RevocationUnknown,
    TrustStoreUnusable,
    UntrustedIssuer,
    WrongPurpose,
)
from cps_auth.model import CardType
from cps_auth.pki.chain.trust_store import production_trust
from cps_auth.pki.judge import Judge, folder_judge, production_judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.card_certificates import private_extension
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, CertificateDefect

REFUSALS = {
    CertificateDefect.EXPIRED: CertificateExpired,
    CertificateDefect.REVOKED: CertificateRevoked,
    CertificateDefect.UNKNOWN_ROOT: UntrustedIssuer,
    CertificateDefect.TEST_CATEGORY: WrongPurpose,
    CertificateDefect.SIGNATURE_ONLY: WrongPurpose,
}


REFUSED_UNREAD = (
    CertificateMalformed,
    CertificateExpired,
    CertificateNotYetValid,
    UntrustedIssuer,
)
"""What comes before anything that the issuer's signature has to vouch for."""


@pytest.mark.parametrize("name", PERSONAS)
def test_every_persona_gets_its_verdict(igc: FakeIgcSante, igc_dir: Path, name: str) -> None:
    """Each persona is judged from the written folder as its defect says."""
    judge = folder_judge(igc_dir)
    der = igc.credentials(name).authentication_certificate_der
    defect = PERSONAS[name].defect
    if defect is CertificateDefect.NONE:
        judged = judge.judge(der, at=igc.made_at)
        assert judged.certificate.practitioner.ps_idnat == PERSONAS[name].ps_idnat
        assert (len(judged.chain), len(judged.revocation)) == (3, 2)
        assert judged.trust == "IGC-Santé FICTIVE"
    else:
        with pytest.raises(REFUSALS[defect]):
            judge.judge(der, at=igc.made_at)


def test_card_types_are_handed_on(igc: FakeIgcSante, igc_dir: Path) -> None:
    """A judge for CPS only refuses the CPE."""
    judge = folder_judge(igc_dir, frozenset({CardType.CPS}))
    judge.judge(igc.credentials("doctor").authentication_certificate_der, at=igc.made_at)
    der = igc.credentials("cpe-nameless").authentication_certificate_der
    with pytest.raises(WrongPurpose) as caught:
        judge.judge(der, at=igc.made_at)
    assert caught.value.reason == "card-type-not-accepted"


def test_plain_folder_holds_its_lists_beside(igc: FakeIgcSante, tmp_path: Path) -> None:
    """In a folder without trust.toml the lists lie beside the certificates."""
    for name in ("fort", "fort-personnes"):
        (tmp_path / f"{name}.cer").write_bytes(igc.authorities[name].der)
    for name in ("ACR-FO", "ACI-FO-PP"):
        (tmp_path / f"{name}.crl").write_bytes(igc.crls[name])
    judged = folder_judge(tmp_path).judge(
        igc.credentials("doctor").authentication_certificate_der, at=igc.made_at
    )
    assert judged.trust == tmp_path.name


def test_steps_are_in_order(igc: FakeIgcSante) -> None:
    """A certificate with everything wrong is refused for the first step, then the next."""
    serial = igc.request().serial
    test_card = igc.request(category=0x80)
    request = dataclasses.replace(test_card, serial=serial)
    revoking = igc.crl(revoked=[Revocation(serial, igc.made_at)])
    judge = Judge(igc.trust_store(), CrlStore([revoking, igc.crls["ACR-FO"]]))
    forger = igc.authorities["rogue-fort-personnes"].key
    after = request.not_after + timedelta(days=1)
    extension, critical = private_extension(igc.request().extensions[-1][0].oid, 0x30, b"x")
    malformed = igc.issue(request.having(extension, critical=critical), signing_key=forger)
    forged, genuine = igc.issue(request, signing_key=forger), igc.issue(request)
    with pytest.raises(CertificateMalformed):
        judge.judge(malformed, at=after)
    with pytest.raises(CertificateExpired):
        judge.judge(forged, at=after)
    with pytest.raises(UntrustedIssuer):
        judge.judge(forged, at=igc.made_at)
    with pytest.raises(WrongPurpose):
        judge.judge(genuine, at=igc.made_at)
    allowing = Judge(igc.trust_store(test_cards=True), judge.crls)
    with pytest.raises(CertificateRevoked):
        allowing.judge(genuine, at=igc.made_at)


def test_errors_carry_the_fingerprint(igc: FakeIgcSante, igc_dir: Path) -> None:
    """Every refusal names the certificate by the SHA-256 of what was read, and nobody by name."""
    judge = folder_judge(igc_dir)
    for name, persona in PERSONAS.items():
        if persona.defect is CertificateDefect.NONE:
            continue
        der = igc.credentials(name).authentication_certificate_der
        with pytest.raises(CpsAuthError) as caught:
            judge.judge(der, at=igc.made_at)
        assert caught.value.data()["sha256_hex"] == hashlib.sha256(der).hexdigest()
        assert persona.surname is not None
        assert persona.surname not in str(caught.value)


def test_production_is_refused_where_nothing_is_installed(
    igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the pinned certificates there is no production judge, and no weaker one."""
    igc.write(tmp_path)
    folders = [tmp_path / "anchors", tmp_path / "intermediates"]
    monkeypatch.setattr("cps_auth.pki.judge.production_trust", lambda: production_trust(folders))
    with pytest.raises(TrustStoreUnusable):
        production_judge()


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_nothing_altered_is_accepted(igc: FakeIgcSante, data: st.DataObject) -> None:
    """Whatever bytes of a good certificate are changed, it is refused with our own error."""
    judge = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    genuine = igc.credentials("doctor").authentication_certificate_der
    altered = bytearray(genuine)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(altered) - 1))
        altered[start : start + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    if bytes(altered) == genuine:
        assert judge.judge(genuine, at=igc.made_at)
    else:
        with pytest.raises(REFUSED_UNREAD):
            judge.judge(bytes(altered), at=igc.made_at)


def test_what_is_remembered_of_a_list_gets_old(igc: FakeIgcSante) -> None:
    """The same judge, running for weeks, refuses when its list is past due, or not there yet."""
    hour = timedelta(hours=1)
    dates = {"this_update": igc.made_at - hour, "next_update": igc.made_at + hour}
    lists = CrlStore([igc.crl(number=1, **dates), igc.crl("fort", number=1, **dates)])
    judge = Judge(igc.trust_store(), lists)
    der = igc.credentials("doctor").authentication_certificate_der
    steps = ((0, None), (2, "crl-stale"), (0, None), (-2, "crl-not-yet-valid"), (1, None))
    for hours, why in steps:
        at = igc.made_at + hours * hour
        if why is None:
            assert judge.judge(der, at=at)
        else:
            with pytest.raises(RevocationUnknown) as caught:
                judge.judge(der, at=at)
            assert caught.value.why == why


def test_no_lists_no_login(igc: FakeIgcSante) -> None:
    """A judge without lists refuses the doctor as unknown."""
    der = igc.credentials("doctor").authentication_certificate_der
    with pytest.raises(RevocationUnknown):
        Judge(igc.trust_store(), CrlStore()).judge(der, at=igc.made_at)
