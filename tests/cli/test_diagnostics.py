"""What `cps-auth doctor` and `pc check` find, link by link, on virtual readers."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from cps_auth.cli.diagnostics import (
    find_card,
    find_lists,
    find_readers,
    lists_end_text,
    look_at,
)
from cps_auth.errors import (
    CardUnavailable,
    CertificateRefused,
    CertificateRevoked,
    LastAttempt,
    NoCard,
    NoReader,
    PinBlocked,
    PinRefused,
    ReaderServiceLost,
    RevocationUnknown,
)
from cps_auth.pki.judge import Judge, folder_judge
from cps_auth.pki.revocation.policy import RevocationPolicy
from hardware_mocks.igc.fake_igc import CRL_LIFETIME, FakeIgcSante
from webdemo.desk import VirtualDesk


@pytest.fixture
def desk(igc: FakeIgcSante) -> VirtualDesk:
    """A reader, and every persona's card beside it."""
    return VirtualDesk(igc)


def test_a_card_that_may_log_in(desk: VirtualDesk, judge: Judge, igc: FakeIgcSante) -> None:
    """Whose it is and its attempts, of which none is spent."""
    desk.insert("doctor")
    text = find_card(desk.cards, None, judge, "fr", at=igc.made_at)
    assert text == "Camille LAVERGNE (899900000011): 3 essais restants."
    assert desk.card("doctor").pin_attempts_left == 3


@pytest.mark.parametrize(
    ("persona", "refusal"),
    [
        (None, NoCard),
        ("revoked", CertificateRevoked),
        ("pin-blocked", PinBlocked),
        ("last-attempt", LastAttempt),
    ],
)
def test_a_card_that_may_not(
    desk: VirtualDesk,
    judge: Judge,
    igc: FakeIgcSante,
    persona: str | None,
    refusal: type[CardUnavailable | CertificateRefused | PinRefused],
) -> None:
    """Each by its own error."""
    if persona is not None:
        desk.insert(persona)
    with pytest.raises(refusal):
        find_card(desk.cards, None, judge, "en", at=igc.made_at)


def test_readers(desk: VirtualDesk) -> None:
    """The one that the settings name has to be there."""
    assert find_readers(desk.cards, None, "en").endswith(": no card")
    with pytest.raises(NoReader):
        find_readers(desk.cards, "another", "en")


def test_lists(judge: Judge, igc: FakeIgcSante, igc_dir: Path, tmp_path: Path) -> None:
    """All current, with the age of the oldest; or which authority has none."""
    assert find_lists(judge, "en", at=igc.made_at) == "4 lists, the oldest 1 h old"
    with pytest.raises(RevocationUnknown) as caught:
        find_lists(judge, "en", at=igc.made_at + timedelta(days=3000))
    assert (caught.value.why, caught.value.issuer) == (
        "crl-stale",
        "FICTIVE AC RACINE IGC-SANTE FORT",
    )
    bare = tmp_path / "bare"
    shutil.copytree(igc_dir, bare, ignore=shutil.ignore_patterns("*.crl", "index"))
    with pytest.raises(RevocationUnknown):
        find_lists(folder_judge(bare), "en", at=igc.made_at)


def test_lists_that_are_over_and_still_accepted(igc: FakeIgcSante, igc_dir: Path) -> None:
    """Within the grace of the settings no card is refused for them: told, and not broken."""
    judge = folder_judge(igc_dir, policy=RevocationPolicy.grace(48))
    ends = igc.made_at + CRL_LIFETIME
    text = find_lists(judge, "en", at=ends + timedelta(hours=48))
    assert "lists are over: connect this computer to the Internet" in text
    with pytest.raises(RevocationUnknown):
        find_lists(judge, "en", at=ends + timedelta(hours=49))


def test_every_link_is_looked_at_and_nothing_is_said_twice() -> None:
    """What is broken is told once; what depends on it points there."""

    def broken() -> str:
        raise ReaderServiceLost

    links = {"settings": lambda: "good", "readers": broken, "card": broken, "last": lambda: "too"}
    findings = list(look_at(links, "fr"))
    assert [(finding.link, finding.ok) for finding in findings] == [
        ("settings", True),
        ("readers", False),
        ("card", False),
        ("last", True),
    ]
    assert "cartes à puce" in findings[1].text
    assert findings[2].text == "pour la même raison que : readers"


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(days=3, seconds=1), None),
        (timedelta(days=3), "encore 3 jours"),
        (timedelta(days=1, hours=23), "encore 1 jour\u00a0:"),
        (timedelta(hours=23, minutes=59), "encore 23\u00a0h"),
        (timedelta(0), "échues"),
        (timedelta(days=-9), "échues"),
    ],
)
def test_lists_that_end_soon_are_told(
    igc: FakeIgcSante, left: timedelta, words: str | None
) -> None:
    """From three days before, in one line that fits on a lock screen, with what to do."""
    at = igc.made_at
    for language in ("fr", "en"):
        text = lists_end_text(at + left, at, language)
        assert (text is None) is (words is None)
        assert len(text or "") <= 96
    assert words is None or words in str(lists_end_text(at + left, at, "fr"))
