"""Real certificates: the production authorities, and what ANS has published of its TEST ones.

They are public, belong to others and are not part of the project.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cps_auth.errors import CertificateMalformed, CpsAuthError, RevocationUnknown
from cps_auth.model import CardType
from cps_auth.pki.certificate.parse import load_x509, parse_certificate
from cps_auth.pki.certificate.purpose import check_login_purpose
from cps_auth.pki.chain.trust_store import TrustStore, folder_trust, production_trust, recognise
from cps_auth.pki.chain.verify import verify_chain
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore

SAMPLES = Path(__file__).parents[4] / "shared" / "igc-sante"
PRODUCTION = SAMPLES / "production"
TEST = SAMPLES / "test"
NAMES = {
    "ACR_ELEMENTAIRE": "AC RACINE IGC-SANTE ELEMENTAIRE",
    "ACR_FORT": "AC RACINE IGC-SANTE FORT",
    "ACR_STANDARD": "AC RACINE IGC-SANTE STANDARD",
    "AC_ELEMENTAIRE_ORGANISATIONS": "AC IGC-SANTE ELEMENTAIRE ORGANISATIONS",
    "AC_ELEMENTAIRE_PERSONNES": "AC IGC-SANTE ELEMENTAIRE PERSONNES",
    "AC_FORT_ORGANISATIONS": "AC IGC-SANTE FORT ORGANISATIONS",
    "AC_FORT_PERSONNES": "AC IGC-SANTE FORT PERSONNES",
    "AC_STANDARD_ORGANISATIONS": "AC IGC-SANTE STANDARD ORGANISATIONS",
    "AC_STANDARD_PERSONNES": "AC IGC-SANTE STANDARD PERSONNES",
}

pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="the public IGC-Santé certificates are not beside the repository"
)


@pytest.fixture(scope="module")
def production() -> TrustStore:
    """The pinned authorities, read from the nine files."""
    return production_trust([PRODUCTION])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    """The published authorities of the TEST hierarchy, as a plain folder of a laboratory."""
    folder = tmp_path_factory.mktemp("trust") / "ANS TEST"
    folder.mkdir()
    for file in TEST.glob("CA_TEST_*.der"):
        shutil.copy(file, folder)
    return folder_trust(folder)


@pytest.mark.parametrize("file", NAMES)
def test_production_authorities_are_recognised(file: str) -> None:
    """Each of the nine is recognised by its fingerprint, under the name that it bears."""
    der = (PRODUCTION / f"{file}_20130625.cer").read_bytes()
    assert recognise(der) == NAMES[file]
    assert NAMES[file] in load_x509(der).subject.rfc4514_string()
    assert recognise(der[:-1] + bytes([der[-1] ^ 1])) is None


def test_production_authorities_make_chains() -> None:
    """Each of the six intermediates was issued by the root of its own gamme."""
    found = {name: load_x509((PRODUCTION / f"{name}_20130625.cer").read_bytes()) for name in NAMES}
    for name, certificate in found.items():
        gamme = name.split("_")[1]
        certificate.verify_directly_issued_by(found[f"ACR_{gamme}"])


def test_production_trusts_four_of_nine(production: TrustStore) -> None:
    """FORT and STANDARD with their PERSONNES authorities, and nothing else, are trusted."""
    trusted = [*production.anchors, *production.intermediates]
    names = [certificate.subject.rfc4514_string().split(",")[0] for certificate in trusted]
    assert names == [
        "CN=AC RACINE IGC-SANTE FORT",
        "CN=AC RACINE IGC-SANTE STANDARD",
        "CN=AC IGC-SANTE FORT PERSONNES",
        "CN=AC IGC-SANTE STANDARD PERSONNES",
    ]
    assert production.name == "IGC-Santé"
    assert production.test_cards is False


def test_one_missing_authority_is_named(tmp_path: Path) -> None:
    """Without STANDARD PERSONNES there is no production trust, and the error says which."""
    for file in PRODUCTION.glob("*.cer"):
        if "STANDARD_PERSONNES" not in file.name:
            shutil.copy(file, tmp_path)
    with pytest.raises(CpsAuthError) as caught:
        production_trust([tmp_path])
    assert str(caught.value).endswith(f"missing in {tmp_path}: AC IGC-SANTE STANDARD PERSONNES")


@pytest.mark.parametrize(
    ("sample", "year", "expected", "expected_in_production"),
    [
        ("CA_AC_IGC-SANTE_ELEMENTAIRE_ORGANISATIONS", 2020, "organizational unit: twice", None),
        ("CA_AC_RACINE_IGC-SANTE_ELEMENTAIRE", 2020, "organizational unit: twice", None),
        (
            "CA_TEST_AC_IGC-SANTE_ELEMENTAIRE_ORGANISATIONS",
            2020,
            "organizational unit: twice",
            None,
        ),
        ("CA_TEST_AC_IGC-SANTE_ELEMENTAIRE_PERSONNES", 2020, "organizational unit: twice", None),
        ("CA_TEST_AC_IGC-SANTE_STANDARD_PERSONNES", 2020, "organizational unit: twice", None),
        ("CA_TEST_AC_RACINE_IGC-SANTE_ELEMENTAIRE", 2020, "organizational unit: twice", None),
        ("CA_TEST_AC_RACINE_IGC-SANTE_STANDARD", 2020, "organizational unit: twice", None),
        ("cpe_TEST_auth_igcsante_standard_personnes", 2018, "no-crl", "unknown-issuer"),
        ("cpe_TEST_auth_TAMPERED_signature_invalid", 2018, "bad-signature", "unknown-issuer"),
        ("cpe_TEST_auth_igcsante_standard_personnes", 2021, "certificate-expired", None),
        ("cps2ter_TEST_auth_medecin_TEST_CLASSE-1", 2014, "unknown-issuer", None),
        ("cps2ter_TEST_sign_medecin_UNSORTED_RDN_T61", 2017, "unknown-issuer", None),
        # the TEST authority FORT PERSONNES was never published
        ("cps3_TEST_sign_infirmier2_igcsante_fort_personnes", 2021, "unknown-issuer", None),
        ("cps3_TEST_sign_infirmier_igcsante_fort_personnes", 2021, "unknown-issuer", None),
        (
            "soft_PROD_org_server_elementaire_organisations_2019",
            2021,
            "common name: not a PS_IdNat",
            None,
        ),
        (
            "soft_PROD_org_sign_elementaire_organisations_2016",
            2018,
            "common name: not a PS_IdNat",
            None,
        ),
        (
            "soft_TEST_org_named_revoked_elementaire_organisations",
            2020,
            "common name: not a PS_IdNat",
            None,
        ),
        (
            "soft_TEST_org_sign_elementaire_organisations_2021",
            2023,
            "common name: not a PS_IdNat",
            None,
        ),
        (
            "soft_TEST_sign_medecin_igcsante_elementaire_personnes",
            2020,
            "signature-certificate",
            "unknown-issuer",
        ),
    ],
)
def test_every_sample_is_refused_for_a_stated_reason(
    published: TrustStore,
    production: TrustStore,
    sample: str,
    year: int,
    expected: str,
    expected_in_production: str | None,
) -> None:
    """Under the TEST authorities and under the pins, with a date inside the validity."""
    der = (TEST / f"{sample}.der").read_bytes()
    at = datetime(year, 1, 1, tzinfo=UTC)
    assert _verdict(published, der, at) == expected
    assert _verdict(production, der, at) == (expected_in_production or expected)


def test_the_table_is_complete() -> None:
    """No sample was left out of the table above."""
    marks = test_every_sample_is_refused_for_a_stated_reason.pytestmark  # type: ignore[attr-defined]
    table = {row[0] for row in marks[0].args[1]}
    assert table == {file.stem for file in TEST.glob("*.der")}


def test_published_authentication_certificate_is_good_but_for_its_list(
    published: TrustStore,
) -> None:
    """ANS's TEST CPE passes identity, chain and purpose where TEST cards are allowed."""
    at = datetime(2018, 1, 1, tzinfo=UTC)
    der = (TEST / "cpe_TEST_auth_igcsante_standard_personnes.der").read_bytes()
    certificate = parse_certificate(der)
    assert len(verify_chain(certificate, published, at=at).certificates) == 3
    check_login_purpose(certificate, test_cards=published.test_cards)
    assert certificate.category == 0x80
    holder = certificate.practitioner
    assert (holder.ps_idnat, holder.card_type) == ("30B0057881/CPET0002", CardType.CPE)
    assert (holder.given_name, holder.organisation) == ("CHARLES", "HOPITAL DES 3 DAMES")
    assert (holder.structure_id, holder.title) == ("10B0057881", "Personnel santé ou social")
    assert holder.card_number == "8025000001/2600301752"


def test_published_nurse_and_doctor_are_read() -> None:
    """Profession and speciality codes of the published certificates have their labels."""
    nurse = parse_certificate(
        (TEST / "cps3_TEST_sign_infirmier_igcsante_fort_personnes.der").read_bytes()
    ).practitioner
    doctor = parse_certificate(
        (TEST / "soft_TEST_sign_medecin_igcsante_elementaire_personnes.der").read_bytes()
    ).practitioner
    assert (nurse.profession_code, nurse.profession, nurse.rpps) == ("60", "Infirmier", None)
    assert (doctor.profession, doctor.specialities) == ("Médecin", ("SM26",))
    assert (doctor.rpps, doctor.card_type) == ("99900063480", None)


def test_published_cards_of_the_former_pki_are_read() -> None:
    """Latin-1 in a T61String, and names out of order: read, and not trusted."""
    doctor, other = (
        parse_certificate((TEST / f"cps2ter_TEST_{name}.der").read_bytes()).practitioner
        for name in ("auth_medecin_TEST_CLASSE-1", "sign_medecin_UNSORTED_RDN_T61")
    )
    assert (doctor.ps_idnat, doctor.profession) == ("00B1058110", "Médecin")
    assert doctor.specialities == ("SM36",)
    assert (other.ps_idnat, other.display_name) == ("899900038839", "ADEMIS TRAL")


def _verdict(trust: TrustStore, der: bytes, at: datetime) -> str:
    with pytest.raises(CpsAuthError) as caught:
        Judge(trust, CrlStore()).judge(der, at=at)
    error = caught.value
    if isinstance(error, CertificateMalformed):
        return error.what
    if isinstance(error, RevocationUnknown):
        return error.why
    return str(getattr(error, "reason", error.code))
