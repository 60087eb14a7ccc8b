"""Settings make a judge: how old a list may be, and whether responders are asked."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from cps_auth.errors import RevocationUnknown
from cps_auth.pki.open import open_judge
from cps_auth.pki.upkeep.fetch import OnlineOcsp
from hardware_mocks.igc.fake_igc import FakeIgcSante


@pytest.fixture
def stale_dir(igc: FakeIgcSante, igc_dir: Path, tmp_path: Path) -> Path:
    """The fake IGC-Santé of a PC that has been offline for ten hours too long."""
    folder = tmp_path / "stale"
    shutil.copytree(igc_dir, folder)
    end = igc.made_at - timedelta(hours=10)
    stale = igc.crl(this_update=end - timedelta(hours=1), next_update=end)
    (folder / "crl/ACI-FO-PP.crl").write_bytes(stale)
    shutil.rmtree(folder / "crl/index", ignore_errors=True)
    return folder


def test_without_a_word_evidence_has_to_be_current(igc: FakeIgcSante, stale_dir: Path) -> None:
    """The default takes no list that should have been replaced, and asks nobody."""
    judge = open_judge(stale_dir)
    assert judge.ocsp is None
    with pytest.raises(RevocationUnknown):
        judge.judge(igc.credentials("doctor").authentication_certificate_der, at=igc.made_at)


@pytest.mark.parametrize("hours", [10, 24])
def test_a_grace_takes_it_and_says_so(igc: FakeIgcSante, stale_dir: Path, hours: float) -> None:
    """The verdict tells that the list was past due."""
    judged = open_judge(stale_dir, grace_hours=hours).judge(
        igc.credentials("doctor").authentication_certificate_der, at=igc.made_at
    )
    assert [piece.past_due for piece in judged.revocation] == [True, False]


def test_a_grace_has_an_end(igc: FakeIgcSante, stale_dir: Path) -> None:
    """After it, nobody knows."""
    with pytest.raises(RevocationUnknown):
        open_judge(stale_dir, grace_hours=9.9).judge(
            igc.credentials("doctor").authentication_certificate_der, at=igc.made_at
        )


@pytest.mark.parametrize("hours", [-1.0, 745.0, float("nan")])
def test_there_is_no_endless_grace(stale_dir: Path, hours: float) -> None:
    """That would be revocation switched off."""
    with pytest.raises(ValueError, match="grace"):
        open_judge(stale_dir, grace_hours=hours)


def test_responders_are_those_of_the_trust_store(igc_dir: Path) -> None:
    """Asked where no list is current evidence; test_pki_fetch.py holds what they may say."""
    assert isinstance(open_judge(igc_dir, ask_responders=True).ocsp, OnlineOcsp)


def test_whether_a_nonce_has_to_come_back_is_a_setting(igc_dir: Path) -> None:
    """It has to unless somebody says otherwise, with a grace or without."""
    assert open_judge(igc_dir).policy.nonce_required
    for hours in (0, 24):
        judge = open_judge(igc_dir, grace_hours=hours, nonce_required=False)
        assert not judge.policy.nonce_required
