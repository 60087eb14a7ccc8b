"""Lists in a folder are read again when they change, and not when they don't."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Name, load_der_x509_crl

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.pki.crl import CrlStore
from cps_auth.pki.judge import Judge
from hardware_mocks.igc import FakeIgcSante
from hardware_mocks.igc_crls import Revocation


@pytest.fixture
def folder(igc: FakeIgcSante, tmp_path: Path) -> Path:
    """A folder with the four lists."""
    for name, der in igc.crls.items():
        (tmp_path / f"{name}.crl").write_bytes(der)
    return tmp_path


def _issuer(igc: FakeIgcSante) -> Name:
    return igc.authorities["fort-personnes"].certificate.subject


def test_new_list_counts_at_once(igc: FakeIgcSante, folder: Path) -> None:
    """A list that revokes the doctor, written while the judge lives, is used."""
    judge = Judge(igc.trust_store(), CrlStore.from_folder(folder))
    der = igc.credentials("doctor").authentication_certificate_der
    serial = judge.judge(der, at=igc.made_at).chain[0].serial_number
    newer = igc.crl(number=2, revoked=[Revocation(serial, igc.made_at)])
    (folder / "ACI-FO-PP.crl").write_bytes(newer)
    with pytest.raises(CertificateRevoked):
        judge.judge(der, at=igc.made_at)


def test_unchanged_list_is_read_once(igc: FakeIgcSante, folder: Path) -> None:
    """Asking twice gives the same object, whose entries and signature are not read again."""
    store = CrlStore.from_folder(folder)
    assert store.named(_issuer(igc))[0] is store.named(_issuer(igc))[0]


def test_removed_list_is_forgotten(igc: FakeIgcSante, folder: Path) -> None:
    """A list that is no longer there is no longer evidence."""
    judge = Judge(igc.trust_store(), CrlStore.from_folder(folder))
    der = igc.credentials("doctor").authentication_certificate_der
    judge.judge(der, at=igc.made_at)
    (folder / "ACI-FO-PP.crl").unlink()
    with pytest.raises(RevocationUnknown) as caught:
        judge.judge(der, at=igc.made_at)
    assert caught.value.why == "no-crl"


def test_folder_may_come_later(igc: FakeIgcSante, tmp_path: Path) -> None:
    """A folder that is not there has no lists; once it is there, it has."""
    later = tmp_path / "later"
    store = CrlStore.from_folder(later)
    assert store.named(_issuer(igc)) == ()
    later.mkdir()
    (later / "a.crl").write_bytes(igc.crls["ACI-FO-PP"])
    assert len(store.named(_issuer(igc))) == 1


def test_unreadable_file_is_told(igc: FakeIgcSante, folder: Path) -> None:
    """A folder in the place of a list counts as one that cannot be read."""
    (folder / "ACI-FO-PP.crl").unlink()
    (folder / "ACI-FO-PP.crl").mkdir()
    judge = Judge(igc.trust_store(), CrlStore.from_folder(folder))
    with pytest.raises(RevocationUnknown) as caught:
        judge.judge(igc.credentials("doctor").authentication_certificate_der, at=igc.made_at)
    assert caught.value.why == "crl-malformed"


def test_pem_list(igc: FakeIgcSante) -> None:
    """A list in PEM is read as well."""
    pem = load_der_x509_crl(igc.crls["ACI-FO-PP"]).public_bytes(Encoding.PEM)
    assert len(CrlStore([pem]).named(_issuer(igc))) == 1
