"""Who may open which account, and how a holder gets there."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from cps_auth.errors import ConfigurationError, HolderNotAllowed
from cps_auth.model import CardType, Practitioner
from pam_helper.accounts.accounts import (
    Selection,
    add_holder,
    allow,
    read_accounts,
    remove_holder,
    set_last_day,
)
from pam_helper.locking.session_owners import SessionOwner, SessionOwners

AT = datetime(2026, 11, 2, tzinfo=UTC)


def _holder(ps_idnat: str) -> Practitioner:
    return Practitioner(ps_idnat, CardType.CPS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The place of an accounts file that is not there yet."""
    return tmp_path / "accounts.toml"


def test_an_absent_file_lets_nobody_in(path: Path) -> None:
    """No file, no accounts."""
    with pytest.raises(HolderNotAllowed) as refused:
        allow("root", path, at=AT)(_holder("899900000011"))
    assert refused.value.reason == "no-account"


def test_enrolling_keeps_what_stands_there(path: Path) -> None:
    """Comments and other holders stay, and enrolling twice changes nothing."""
    path.write_text('# mine\n[[holder]]\nps_idnat = "1"\naccounts = ["a", "b"]\n')
    assert add_holder(_holder("30B0000044/CPET0004"), "a", path, at=AT)
    assert not add_holder(_holder("30B0000044/CPET0004"), "a", path, at=AT)
    assert add_holder(_holder("1"), "c", path, at=AT)
    assert path.read_text().startswith("# mine\n")
    accounts = read_accounts(path)
    assert [entry.accounts for entry in accounts.of("1")] == [("a", "b"), ("c",)]
    assert [entry.accounts for entry in accounts.of("30B0000044/CPET0004")] == [("a",)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_enrolling_at_once_loses_nobody(path: Path) -> None:
    """Two administrators who enrol at the same time both find their entry, and no lock stays."""
    numbers = [str(number) for number in range(6)]
    threads = [
        threading.Thread(target=add_holder, args=(_holder(number), "a", path), kwargs={"at": AT})
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.ps_idnat for entry in read_accounts(path).holder) == sorted(numbers)
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_the_locks_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Nothing is made or opened where a link leads."""
    (tmp_path / ".accounts.toml.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        add_holder(_holder("1"), "a", path, at=AT)
    assert not (tmp_path / "elsewhere").exists()


def test_a_holder_with_other_accounts_is_told_apart(path: Path) -> None:
    """The reason says whether the holder has no account here or another one."""
    add_holder(_holder("1"), "a", path, at=AT)
    allow("a", path, at=AT)(_holder("1"))
    with pytest.raises(HolderNotAllowed) as refused:
        allow("root", path, at=AT)(_holder("1"))
    assert refused.value.reason == "other-account"


@pytest.mark.parametrize(
    "content",
    [
        "holder = 3",
        '[[holder]]\nps_idnat = "1"\n',
        '[[holder]]\nps_idnat = 1\naccounts = ["a"]\n',
        '[[holder]]\nps_idnat = "1"\naccounts = ["../a"]\n',
        '[[holder]]\nps_idnat = "1"\naccounts = ["a"]\neverybody = true\n',
        "\x00",
        "[" * 2000,
    ],
)
def test_a_file_that_is_not_right_is_refused_whole(path: Path, content: str) -> None:
    """A typo never widens who may come in, and enrolling does not write over it."""
    path.write_text(content)
    with pytest.raises(ConfigurationError):
        read_accounts(path)
    with pytest.raises(ConfigurationError):
        add_holder(_holder("1"), "a", path, at=AT)
    assert path.read_text() == content


def test_a_file_that_others_could_write_is_refused(path: Path) -> None:
    """Whoever could write the file could let themselves in."""
    add_holder(_holder("1"), "a", path, at=AT)
    path.chmod(0o666)
    with pytest.raises(ConfigurationError):
        allow("a", path, at=AT)(_holder("1"))


@pytest.mark.parametrize("ps_idnat", ['1"\naccounts = ["root"]\n#', "é\\u0041\t", '"""'])
def test_a_strange_identifier_stays_one_string(path: Path, ps_idnat: str) -> None:
    """What a certificate holds cannot write other lines into the file."""
    add_holder(_holder(ps_idnat), "a", path, at=AT)
    assert [entry.ps_idnat for entry in read_accounts(path).holder] == [ps_idnat]


def test_a_replacement_is_let_in_until_the_last_day(path: Path) -> None:
    """The last day counts whole, in this computer's time zone; afterwards there is a reason."""
    until = AT.astimezone().date() + timedelta(days=2)
    add_holder(_holder("1"), "a", path, at=AT, until=until)
    on_the_day = datetime.combine(until, time(23, 59)).astimezone()
    allow("a", path, at=on_the_day)(_holder("1"))
    with pytest.raises(HolderNotAllowed) as refused:
        allow("a", path, at=on_the_day + timedelta(minutes=1))(_holder("1"))
    assert refused.value.reason == "account-over"
    assert add_holder(_holder("1"), "a", path, at=AT), "enrolled again, without an end"
    allow("a", path, at=on_the_day + timedelta(days=99))(_holder("1"))
    assert len(read_accounts(path).holder) == 1


def test_a_renewed_card_opens_what_the_old_one_did(path: Path) -> None:
    """The holder is enrolled, not the certificate: the same person's new card needs nothing."""
    add_holder(_holder("1"), "a", path, at=AT)
    new = Practitioner("1", CardType.CPS, "MARTIN", "Camille")
    allow("a", path, at=AT)(new)
    assert not add_holder(new, "a", path, at=AT)


MANY = """# the practice
[[holder]]  # the doctor
ps_idnat = "1"
accounts = ["a", "b"]

# the secretary
[[holder]]
ps_idnat = "2"
accounts = ["a"]

[[holder]]
ps_idnat = "1"
accounts = ["c"]
"""


def test_a_card_is_taken_away(path: Path) -> None:
    """From one account or all, and nothing of anybody else's entries changes."""
    path.write_text(MANY)
    assert remove_holder(path, Selection("1", "b")) == 1
    assert [entry.accounts for entry in read_accounts(path).of("1")] == [("a",), ("c",)]
    assert remove_holder(path, Selection("1")) == 2
    assert [entry.ps_idnat for entry in read_accounts(path).holder] == ["2"]
    assert path.read_text().startswith("# the practice\n")
    assert '[[holder]]\nps_idnat = "2"\naccounts = ["a"]\n' in path.read_text()
    left = path.read_text()
    assert remove_holder(path, Selection("3")) == 0
    assert path.read_text() == left


def test_a_last_day_is_set_and_taken_back(path: Path) -> None:
    """For one account of a holder's the others stay as they are."""
    path.write_text(MANY)
    day = AT.date()
    assert set_last_day(path, Selection("1", "a"), day) == 1
    assert [(entry.accounts, entry.until) for entry in read_accounts(path).of("1")] == [
        (("b",), None),
        (("a",), day),
        (("c",), None),
    ]
    assert set_last_day(path, Selection("1"), None) == 1
    assert {entry.until for entry in read_accounts(path).holder} == {None}


def test_entries_in_another_shape_are_left_to_whoever_wrote_them(path: Path) -> None:
    """Valid TOML that is not written entry by entry is refused, not rewritten."""
    text = 'holder = [{ps_idnat = "1", accounts = ["a"]}]\n'
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="by hand"):
        remove_holder(path, Selection("1"))
    assert path.read_text() == text


def test_owners_outlive_their_writer(tmp_path: Path) -> None:
    """What one daemon wrote the next one reads, and a forgotten one stays forgotten."""
    owners = SessionOwners(tmp_path / "sessions.json")
    kept = SessionOwner("2", ("c1",), (17,), is_followed=False)
    owners.put("a", SessionOwner("1"))
    owners.put("b", kept)
    owners.put("a", None)
    assert SessionOwners(tmp_path / "sessions.json").all() == {"b": kept}
    assert (tmp_path / "sessions.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}'])
def test_an_owners_file_that_cannot_be_believed_is_refused(tmp_path: Path, content: bytes) -> None:
    """The daemon does not start on a state that it cannot read."""
    path = tmp_path / "sessions.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        SessionOwners(path)


def test_an_owner_that_cannot_be_written_is_not_taken(tmp_path: Path) -> None:
    """Without its line on disk a session is not opened."""
    owners = SessionOwners(tmp_path / "gone" / "sessions.json")
    with pytest.raises(ConfigurationError):
        owners.put("a", SessionOwner("1"))
    assert owners.owner_of("a") is None
