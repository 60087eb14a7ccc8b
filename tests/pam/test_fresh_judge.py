"""The daemon's judge is that of the files of now, in every folder that it is made of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cps_auth.config import TrustSettings
from cps_auth.errors import TrustStoreUnusable
from cps_auth.pki.anchors import PRODUCTION_FOLDERS
from cps_auth.pki.judge import PRODUCTION_CRL_FOLDER
from cps_auth.pki.open import folders_of
from pam_helper.fresh_judge import FreshJudge, judge_of


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


@pytest.mark.parametrize("name", [".", "anchors", "intermediates", "crl"])
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
    one = next((folder / "crl").glob("*.crl"))
    shutil.copy2(one, folder / "crl/.copy")
    (folder / "crl/.copy").rename(one)
    second = judge()
    assert second is not first
    os.utime(one, ns=(1, 1))
    assert judge() is not second


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


def test_production_looks_at_certificates_and_lists(tmp_path: Path) -> None:
    """Of real cards: every folder that certificates come from, and that of the lists."""
    assert set(folders_of()) == {*PRODUCTION_FOLDERS, PRODUCTION_CRL_FOLDER}
    loads: list[int] = []
    late = tmp_path / "late"
    judge = FreshJudge((tmp_path / "never", late), lambda: loads.append(1))  # type: ignore[arg-type,return-value]  # counts only
    judge()
    assert len(loads) == 1
    late.mkdir()
    (late / "ca.cer").write_bytes(b"x")
    judge()
    assert len(loads) == 2
