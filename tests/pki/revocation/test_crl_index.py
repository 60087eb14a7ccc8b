"""The index of a list on disk: made once, believed only where nobody could have changed it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.der import Element
from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.files import version_of
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation import crl as crl_module
from cps_auth.pki.revocation.crl import Crl, find_entry
from cps_auth.pki.revocation.crl_entries import Entries, read_entries
from cps_auth.pki.revocation.crl_index import index_path
from cps_auth.pki.revocation.crl_lookup import number_key
from cps_auth.pki.revocation.crl_store import CrlNumbers, CrlStore
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

NAME = "ACI-FO-PP.crl"


@pytest.fixture
def folder(igc: FakeIgcSante, tmp_path: Path) -> Path:
    """A folder with the lists."""
    tmp_path.chmod(0o755)
    for name, der in igc.crls.items():
        (tmp_path / f"{name}.crl").write_bytes(der)
    return tmp_path


def _doctor(igc: FakeIgcSante) -> bytes:
    return igc.credentials("doctor").authentication_certificate_der


def _judge(igc: FakeIgcSante, folder: Path) -> Judge:
    return Judge(igc.trust_store(), CrlStore.from_folder(folder))


def _parses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the lists that are parsed from now on."""
    counted: list[int] = []
    parse = Crl.parse

    def counting(unverified_crl: bytes) -> Crl:
        counted.append(len(unverified_crl))
        return parse(unverified_crl)

    monkeypatch.setattr(crl_module.Crl, "parse", counting)
    return counted


def test_list_is_parsed_once_for_all(
    igc: FakeIgcSante, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one judgement, a new store (another process) parses nothing and decides the same."""
    first = _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    counted = _parses(monkeypatch)
    second = _judge(igc, folder)
    assert second.judge(_doctor(igc), at=igc.made_at).revocation == first.revocation
    revoked = igc.credentials("revoked").authentication_certificate_der
    with pytest.raises(CertificateRevoked) as caught:
        second.judge(revoked, at=igc.made_at)
    assert caught.value.revoked_at == igc.made_at - timedelta(days=2)
    assert caught.value.reason == "keyCompromise"
    # the two lists of STANDARD, which nobody verified, are parsed by everybody
    assert len(counted) == 2


def test_another_process_reads_it(igc: FakeIgcSante, igc_dir: Path, folder: Path) -> None:
    """A process of its own opens the index that this one made."""
    _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    program = (
        "import sys; from pathlib import Path; from datetime import datetime\n"
        "from cps_auth.pki.revocation.crl import Crl\n"
        "from cps_auth.pki.revocation.crl_store import CrlStore\n"
        "from cps_auth.pki.judge import Judge\n"
        "from cps_auth.pki.chain.trust_store import folder_trust\n"
        "trust, lists, leaf, at = sys.argv[1:]\n"
        "judge = Judge(folder_trust(Path(trust)), CrlStore.from_folder(Path(lists)))\n"
        "Crl.parse = classmethod(lambda cls, der: 1 / 0)\n"
        "print(len(judge.judge(Path(leaf).read_bytes(), at=datetime.fromisoformat(at)).chain))\n"
    )
    for stale in ("ACR-ST.crl", "ACI-ST-PP.crl"):
        (folder / stale).unlink()
    leaf = igc_dir / "personas" / "doctor" / "authentication.cer"
    arguments = [str(igc_dir), str(folder), str(leaf), igc.made_at.isoformat()]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert done.stdout.strip() == b"3", done.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"CPSCRL01" + path.read_bytes()[9:]),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"count"', b'"cOunt"')),
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o666),
        lambda path: path.parent.chmod(0o777),
    ],
    ids=["short", "header", "json", "empty", "writable", "folder-writable"],
)
def test_index_that_is_not_believed(
    igc: FakeIgcSante,
    folder: Path,
    spoil: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An index that is damaged, or that others could write, is passed over for the list."""
    _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    spoil(index_path(folder / NAME))
    counted = _parses(monkeypatch)
    assert _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    assert len(igc.crls["ACI-FO-PP"]) in counted


def test_index_of_somebody_else(igc: FakeIgcSante, folder: Path) -> None:
    """An index that belongs to another user, not root, is not looked at."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    path = index_path(folder / NAME)
    os.chown(path, 4711, 4711)
    crl = Crl.from_file(folder / NAME, version_of(folder / NAME))
    assert crl._source is not None


def test_symbolic_link_is_not_followed(igc: FakeIgcSante, folder: Path, tmp_path: Path) -> None:
    """An index that points elsewhere is not looked at."""
    _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    path = index_path(folder / NAME)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    crl = Crl.from_file(folder / NAME, version_of(folder / NAME))
    assert crl._source is not None


def test_index_of_a_list_that_changed(igc: FakeIgcSante, folder: Path) -> None:
    """A new list is read although the old one's index is there, and gets its own."""
    judge = _judge(igc, folder)
    judge.judge(_doctor(igc), at=igc.made_at)
    serial = x509.load_der_x509_certificate(_doctor(igc)).serial_number
    newer = igc.crl(number=2, revoked=[Revocation(serial, igc.made_at)])
    (folder / NAME).write_bytes(newer)
    for again in (judge, _judge(igc, folder)):
        with pytest.raises(CertificateRevoked):
            again.judge(_doctor(igc), at=igc.made_at)


def test_forged_list_gets_no_index(igc: FakeIgcSante, folder: Path) -> None:
    """Only what was verified is indexed."""
    forged = igc.crl(signing_key=igc.authorities["rogue-fort-personnes"].key, revoked=[])
    (folder / NAME).write_bytes(forged)
    with pytest.raises(RevocationUnknown):
        _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    assert not index_path(folder / NAME).exists()


def test_index_names_the_key_that_verified(igc: FakeIgcSante, folder: Path) -> None:
    """An index made under one authority is nothing under another of the same name."""
    _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    crl = Crl.from_file(folder / NAME, version_of(folder / NAME))
    genuine, forger = (
        igc.authorities[name].certificate for name in ("fort-personnes", "rogue-fort-personnes")
    )
    assert crl.signature_problem(Issuer.of(genuine)) is None
    doubt = crl.signature_problem(Issuer.of(forger))
    assert doubt is not None
    assert doubt.value == "crl-other-key"


def test_many_readers_at_once(igc: FakeIgcSante, folder: Path) -> None:
    """Stores that build the same index at the same time all decide the same."""
    with ThreadPoolExecutor(8) as threads:
        verdicts = threads.map(
            lambda _: len(_judge(igc, folder).judge(_doctor(igc), at=igc.made_at).revocation),
            range(16),
        )
        assert set(verdicts) == {2}
    assert not list((folder / "index").glob(".new-*"))


def test_folder_of_somebody_else_is_left_alone(igc: FakeIgcSante, folder: Path) -> None:
    """Nothing is written into a folder that others may write to."""
    folder.chmod(0o777)
    assert _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    assert not (folder / "index").exists()


# --- Numbers ---------------------------------------------------------------------


def test_number_never_goes_back(igc: FakeIgcSante, folder: Path) -> None:
    """An older list in place of a newer one is refused, by this process and by the next."""
    serial = x509.load_der_x509_certificate(_doctor(igc)).serial_number
    (folder / NAME).write_bytes(igc.crl(number=2**70, revoked=[Revocation(serial, igc.made_at)]))
    judge = _judge(igc, folder)
    with pytest.raises(CertificateRevoked):
        judge.judge(_doctor(igc), at=igc.made_at)
    for older in (igc.crl(number=2**70 - 1, revoked=[]), igc.crls["ACI-FO-PP"]):
        (folder / NAME).write_bytes(older)
        for again in (judge, _judge(igc, folder)):
            with pytest.raises(RevocationUnknown) as caught:
                again.judge(_doctor(igc), at=igc.made_at)
            assert caught.value.why == "crl-rollback"
    (folder / NAME).write_bytes(igc.crl(number=2**70, revoked=[]))
    assert _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)


def test_numbers_of_the_same_name_and_another_key_are_apart(
    igc: FakeIgcSante, folder: Path
) -> None:
    """A forger's high number does not make the genuine list an old one."""
    forged = igc.crl("rogue-fort-personnes", number=999, revoked=[])
    (folder / "forged.crl").write_bytes(forged)
    assert _judge(igc, folder).judge(_doctor(igc), at=igc.made_at).revocation[0].crl_number == 1


def test_future_list_raises_no_number(igc: FakeIgcSante, folder: Path) -> None:
    """A list that is not valid yet does not make the current one an old one."""
    future = igc.crl(number=9, this_update=igc.made_at + timedelta(hours=1))
    (folder / "future.crl").write_bytes(future)
    for _ in range(2):
        assert _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)


def test_unreadable_numbers_are_not_zero(igc: FakeIgcSante, folder: Path) -> None:
    """Where nobody can tell which number was seen, nobody is let in."""
    _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    (folder / "index" / "numbers.json").write_bytes(b"{")
    with pytest.raises(RevocationUnknown) as caught:
        _judge(igc, folder).judge(_doctor(igc), at=igc.made_at)
    assert caught.value.why == "crl-numbers-unreadable"


def test_numbers_of_two_processes_are_put_together(tmp_path: Path) -> None:
    """Each process adds what it saw; the higher of two numbers stays."""
    tmp_path.chmod(0o755)
    one, two = CrlNumbers(tmp_path), CrlNumbers(tmp_path)
    one.saw(("a", "x"), 5)
    two.saw(("b", "x"), 7)
    two.saw(("a", "x"), 4)
    third = CrlNumbers(tmp_path)
    told = {(key, n): third.is_rollback((key, "x"), n) for key in "abc" for n in (None, 4, 5, 6, 7)}
    older = {pair for pair, is_old in told.items() if is_old}
    assert older == {("a", None), ("a", 4), ("b", None), ("b", 4), ("b", 5), ("b", 6)}


def test_list_of_the_same_number_is_noticed(igc: FakeIgcSante, folder: Path) -> None:
    """What a judge remembers of a list goes with the file, whatever the number of the next."""
    judge = _judge(igc, folder)
    judge.judge(_doctor(igc), at=igc.made_at)
    serial = x509.load_der_x509_certificate(_doctor(igc)).serial_number
    again = igc.crl(number=1, revoked=[Revocation(serial, igc.made_at)])
    (folder / NAME).write_bytes(again)
    with pytest.raises(CertificateRevoked):
        judge.judge(_doctor(igc), at=igc.made_at)


def test_number_that_another_process_saw(igc: FakeIgcSante, folder: Path) -> None:
    """What a judge remembers goes with the numbers, too: its list may be an old one by now."""
    judge = _judge(igc, folder)
    judge.judge(_doctor(igc), at=igc.made_at)
    issuer = Issuer.of(igc.authorities["fort-personnes"].certificate)
    key = number_key(Crl.parse((folder / NAME).read_bytes()), issuer)
    CrlNumbers(folder / "index").saw(key, 2)
    with pytest.raises(RevocationUnknown) as caught:
        judge.judge(_doctor(igc), at=igc.made_at)
    assert caught.value.why == "crl-rollback"


# --- Entries ---------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    serials=st.lists(st.integers(1, 2**159 - 1), max_size=30, unique=True),
    other=st.integers(1, 2**168),
)
def test_entries_are_found_and_no_others(igc: FakeIgcSante, serials: list[int], other: int) -> None:
    """Exactly the serial numbers on the list are found, with their date and reason."""
    reasons = [*x509.ReasonFlags][1:]
    made = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
    lines = [
        Revocation(serial, made, None if i % 3 else reasons[i % len(reasons)])
        for i, serial in enumerate(serials)
    ]
    entries = _entries(igc, lines)
    for line in lines:
        reason = line.reason or x509.ReasonFlags.unspecified
        assert find_entry(entries, line.serial) == (made, reason.value)
    assert (find_entry(entries, other) is not None) is (other in serials)
    for near in {serial + step for serial in serials for step in (-1, 1, 256)} - set(serials):
        assert find_entry(entries, near) is None


def _entries(igc: FakeIgcSante, lines: list[Revocation]) -> Entries:
    """Return the entries of a list, which can be read once it was verified."""
    crl = Crl.parse(igc.crl(revoked=lines))
    assert crl.entry_count is None
    with pytest.raises(LookupError):
        _ = crl.entries
    assert crl.signature_problem(Issuer.of(igc.authorities["fort-personnes"].certificate)) is None
    return crl.entries


def test_dates_beyond_2049(igc: FakeIgcSante) -> None:
    """GeneralizedTime is read as UTCTime is (RFC 5280 section 5.1.2.6)."""
    for year in (1950, 1999, 2049, 2050, 9999):
        at = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
        found = find_entry(_entries(igc, [Revocation(7, at)]), 7)
        assert found is not None
        assert found[0] == at


def test_year_that_is_none() -> None:
    """The year 0 is a date in DER and none in Python: whoever is listed with it is listed."""
    entry = b"\x30\x14\x02\x01\x07\x18\x0f00000101000000Z"
    entries, _ = read_entries(entry, Element(0x30, 0, 0, len(entry)))
    assert find_entry(entries, 7) == (datetime.min.replace(tzinfo=UTC), "unspecified")


@pytest.mark.parametrize(
    "entry",
    [
        b"\x31\x12\x02\x01\x07\x17\x0d260101000000Z",
        b"\x30\x12\x04\x01\x07\x17\x0d260101000000Z",
        b"\x30\x12\x02\x01\x07\x17\x0e260101000000Z",
        b"\x30\x13\x02\x01\x07\x17\x0d260101000000Z",
        b"\x30\x53\x02\x42\0" + b"\x07" * 65 + b"\x17\x0d260101000000Z",
        b"\x30\x20\x02\x01\x07\x17\x0d260101000000Z"
        b"\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x02\x01\x01",
    ],
    ids=["set", "no-number", "date-too-long", "cut-short", "long-number", "odd-reason"],
)
def test_entries_that_are_none(entry: bytes) -> None:
    """What is no entry, or has a serial number that nobody gives, makes a list unreadable."""
    with pytest.raises((ValueError, IndexError)):
        read_entries(entry, Element(0x30, 0, 0, len(entry)))


def test_entry_longer_than_127_bytes(igc: FakeIgcSante) -> None:
    """An entry with a long extension that may be ignored is read as the others are."""
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04\x81\x90" + bytes(144))
    lines = [Revocation(7, igc.made_at, extra=((odd, False),)), Revocation(8, igc.made_at)]
    entries = _entries(igc, lines)
    found = [find_entry(entries, serial) is not None for serial in (6, 7, 8, 9)]
    assert found == [False, True, True, False]
