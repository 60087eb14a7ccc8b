"""Lists in a folder are read again when they change, and not when they don't."""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateRevocationListBuilder, Name, load_der_x509_crl

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.files import FileVersion, version_of
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation import crl, crl_store
from cps_auth.pki.revocation.crl_header import CrlProblem
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante


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


def test_new_list_in_the_place_of_the_old_one(igc: FakeIgcSante, folder: Path) -> None:
    """A file that is written over is noticed, though its folder did not change."""
    file = folder / "ACI-FO-PP.crl"
    os.utime(folder, (0, 0))
    judge = Judge(igc.trust_store(), CrlStore.from_folder(folder))
    der = igc.credentials("doctor").authentication_certificate_der
    serial = judge.judge(der, at=igc.made_at).chain[0].serial_number
    os.utime(folder, (0, 0))  # the index is in a folder below it
    judge.judge(der, at=igc.made_at)
    with file.open("r+b") as opened:
        opened.write(igc.crl(number=2, revoked=[Revocation(serial, igc.made_at)]))
        opened.truncate()
    assert folder.stat().st_mtime == 0
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


def test_a_list_that_came_within_one_tick_of_the_clock(
    igc: FakeIgcSante, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that changed just now may change again without a sign: it is listed again."""
    tick_ns = time.time_ns()

    def within_one_tick(path: str | Path) -> FileVersion:
        return (tick_ns, tick_ns, 0, 1) if Path(path) == tmp_path else version_of(path)

    monkeypatch.setattr(crl_store, "version_of", within_one_tick)
    store = CrlStore.from_folder(tmp_path)
    assert store.named(_issuer(igc)) == ()
    (tmp_path / "a.crl").write_bytes(igc.crls["ACI-FO-PP"])
    assert len(store.named(_issuer(igc))) == 1


def test_a_reading_that_failed_is_done_again(
    igc: FakeIgcSante, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came between: the lists of before do not pass for those of now."""
    store = CrlStore.from_folder(folder)
    (before,) = store.named(_issuer(igc))

    def no_memory(_path: Path, _version: FileVersion) -> None:
        raise MemoryError

    (folder / "ACI-FO-PP.crl").write_bytes(igc.crl(number=2))
    with monkeypatch.context() as short:
        short.setattr(crl_store, "_read_crl", no_memory)
        with pytest.raises(MemoryError):
            store.named(_issuer(igc))
    (after,) = store.named(_issuer(igc))
    assert (before.header.number, after.header.number) == (1, 2)


def test_a_list_beyond_all_size(igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not parsed, and counts as one that cannot be read."""
    der = igc.crls["ACI-FO-PP"]
    for most, count in ((len(der), 1), (len(der) - 1, 0)):
        monkeypatch.setattr(crl, "CRL_MAX_BYTES", most)
        assert len(CrlStore([der]).named(_issuer(igc))) == count


def test_a_list_without_key_identifier_has_one_signer(igc: FakeIgcSante) -> None:
    """Asked about another key of the same name, after the right one: not its list."""
    authority, other = igc.authorities["fort-personnes"], igc.authorities["standard-personnes"]
    dates = igc.made_at, igc.made_at + timedelta(days=1)
    builder = CertificateRevocationListBuilder(authority.certificate.subject, *dates)
    signed = builder.sign(authority.key, hashes.SHA256())
    read = crl.Crl.parse(signed.public_bytes(Encoding.DER))
    assert read.signature_problem(Issuer.of(other.certificate)) is CrlProblem.BAD_SIGNATURE
    assert read.signature_problem(Issuer.of(authority.certificate)) is None
    strangers = crl.Crl.parse(signed.public_bytes(Encoding.DER))
    assert strangers.signature_problem(Issuer.of(authority.certificate)) is None
    assert strangers.signature_problem(Issuer.of(other.certificate)) is CrlProblem.OTHER_KEY


def test_issuer_without_a_key_identifier(igc: FakeIgcSante) -> None:
    """Where it names no key, the signature alone says whose list it is."""
    authority = igc.authorities["fort-personnes"]
    issuer = dataclasses.replace(Issuer.of(authority.certificate), key_identifier=None)
    assert crl.Crl.parse(igc.crls["ACI-FO-PP"]).problem_under(issuer) is None
    other = dataclasses.replace(
        Issuer.of(igc.authorities["rogue-fort-personnes"].certificate), key_identifier=None
    )
    read = crl.Crl.parse(igc.crls["ACI-FO-PP"])
    assert read.problem_under(other) is CrlProblem.BAD_SIGNATURE
