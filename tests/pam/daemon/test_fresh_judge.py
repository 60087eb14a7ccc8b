"""The daemon's judge is that of the files of now, in every folder that it is made of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cps_auth.config import TrustSettings
from cps_auth.errors import CertificateRevoked, TrustStoreUnusable
from cps_auth.pki.chain.trust_store import PRODUCTION_FOLDERS
from cps_auth.pki.open import folders_of
from hardware_mocks.igc.crls import Revocation
from pam_helper.daemon.fresh_judge import FreshJudge, judge_of


@pytest.fixture
def folder(tmp_path: Path, igc) -> Path:
    """A trust folder."""
    igc.write(tmp_path / "trust")
    return tmp_path / "trust"


def test_it_is_kept_while_nothing_changes(folder: Path) -> None:
    """Indexes, and what is on its way to its name, are not changes."""
    judge = judge_of(TrustSettings(), folder)
    first = judge()
    (folder / "crl/index").mkdir(exist_ok=True)
    (folder / "crl/index/one").write_bytes(b"x")
    (folder / "crl/.new").write_bytes(b"x")
    assert judge() is first


@pytest.mark.parametrize("name", [".", "anchors", "intermediates"])
def test_a_file_that_comes_or_goes_is_seen(folder: Path, name: str) -> None:
    """A new file, and the lack of it, in each of the folders."""
    judge = judge_of(TrustSettings(), folder)
    first = judge()
    (folder / name / "note.txt").write_text("new")
    second = judge()
    assert second is not first
    (folder / name / "note.txt").unlink()
    assert judge() is not second


def test_a_file_that_is_replaced_or_rewritten_is_seen(folder: Path) -> None:
    """By its inode, or by its time."""
    judge = judge_of(TrustSettings(), folder)
    first = judge()
    one = next((folder / "anchors").glob("*.cer"))
    shutil.copy2(one, folder / "anchors/.copy")
    (folder / "anchors/.copy").rename(one)
    second = judge()
    assert second is not first
    os.utime(one, ns=(1, 1))
    assert judge() is not second


def test_lists_are_read_anew_by_the_same_judge(folder: Path, igc) -> None:
    """A list that comes revokes at once; what the judge remembers of others need not be lost."""
    judge = judge_of(TrustSettings(), folder)
    first, doctor = judge(), igc.credentials("doctor").authentication_certificate_der
    serial = first.judge(doctor, at=igc.made_at).chain[0].serial_number
    (folder / "crl/new.crl").write_bytes(
        igc.crl(number=2, revoked=[Revocation(serial, igc.made_at)])
    )
    assert judge() is first
    with pytest.raises(CertificateRevoked):
        first.judge(doctor, at=igc.made_at)


def test_what_cannot_be_used_any_more_is_refused(folder: Path) -> None:
    """Neither the old judge nor none: an error, until the folder can be used again."""
    judge = judge_of(TrustSettings(), folder)
    judge()
    (folder / "anchors").rename(folder / "away")
    for _ in range(2):
        with pytest.raises(TrustStoreUnusable):
            judge()
    (folder / "away").rename(folder / "anchors")
    assert judge().trust.anchors


def test_production_looks_at_certificates(tmp_path: Path) -> None:
    """Of real cards: every folder that certificates come from; one may come later."""
    assert folders_of() == PRODUCTION_FOLDERS
    loads: list[int] = []
    late = tmp_path / "late"
    judge = FreshJudge((tmp_path / "never", late), lambda: loads.append(1))  # type: ignore[arg-type,return-value]  # counts only
    judge()
    assert len(loads) == 1
    late.mkdir()
    (late / "ca.cer").write_bytes(b"x")
    judge()
    assert len(loads) == 2
