"""Files that decide who gets in: owner and mode, whole replacement, locks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cps_auth.errors import ConfigurationError
from cps_auth.files import (
    as_configuration_error,
    is_protected,
    locked,
    locked_for_update,
    make_folder,
    ownership_fault,
    read_protected,
    replace_file,
    unfinished,
    version_of,
    write_protected,
)

SOMEBODY = 65534


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o620])
def test_what_others_may_write_decides_nothing(tmp_path: Path, mode: int) -> None:
    """The group's write bit counts as everybody's does, for files and folders."""
    file = tmp_path / "file"
    file.write_bytes(b"x")
    file.chmod(mode)
    assert ownership_fault(file.stat()) == "writable by group or others"
    assert not is_protected(file)
    with pytest.raises(ConfigurationError, match="writable by group or others"):
        read_protected(file, 10)
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode | 0o111)
    assert not is_protected(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_somebody_else_owns_decides_nothing(tmp_path: Path) -> None:
    """Neither an ordinary user's file nor their folder."""
    for path in (tmp_path / "file", tmp_path / "folder"):
        path.touch() if path.name == "file" else path.mkdir()
        assert is_protected(path)
        assert is_protected(path, writable=True)
        os.chown(path, SOMEBODY, -1)
        assert ownership_fault(path.stat()) == f"owned by uid {SOMEBODY}, not by root"
        assert not is_protected(path)


def test_what_is_neither_file_nor_folder_decides_nothing(tmp_path: Path) -> None:
    """A link, a pipe, and what is not there."""
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "absent"):
        assert not is_protected(tmp_path / name), name
    with pytest.raises(ConfigurationError, match="not a regular file"):
        read_protected(Path("/dev/null"), 10)


def test_the_limit_is_the_limit(tmp_path: Path) -> None:
    """Exactly as long is read, one byte more is refused."""
    write_protected(tmp_path / "file", b"12345")
    assert read_protected(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ConfigurationError, match="longer than 4 bytes"):
        read_protected(tmp_path / "file", 4)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """Files and folders have the mode that was said."""
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "a" / "b", 0o755)
        replace_file(tmp_path / "a" / "b" / "public", b"x", mode=0o644)
        write_protected(tmp_path / "a" / "b" / "private", b"x")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o755, "b": 0o755, "public": 0o644, "private": 0o600}


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """Whatever fails while the new content is made."""
    file = tmp_path / "file"
    replace_file(file, b"old")
    version = version_of(file)

    def broken() -> list[bytes]:
        raise OSError(28, "No space left on device")

    class Parts:
        def __iter__(self) -> object:
            return iter(broken())

    with pytest.raises(OSError, match="No space left"):
        replace_file(file, b"new", Parts())  # type: ignore[arg-type]  # iterates by failing
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert version_of(file) == version
    replace_file(file, b"new", [b" ", b"parts"])
    assert file.read_bytes() == b"new parts"
    assert version_of(file) != version
    assert version_of(tmp_path / "absent") == ()


def test_what_a_power_cut_left_is_found(tmp_path: Path) -> None:
    """By the file that it was to become, and no other's."""
    (tmp_path / ".file.k3j2.new").touch()
    (tmp_path / ".other.k3j2.new").touch()
    assert unfinished(tmp_path / "file") == [tmp_path / ".file.k3j2.new"]


def test_a_lock_keeps_others_out_is_private_and_does_not_stay(tmp_path: Path) -> None:
    """Of eight threads one is inside at a time; a lock that was left readable is private again."""
    lock, inside, most = tmp_path / "lock", [0], [0]
    lock.touch()
    lock.chmod(0o644)

    def enter() -> None:
        with locked(lock):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            assert lock.stat().st_mode & 0o077 == 0
            inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert not lock.exists()


def test_a_lock_that_cannot_be_had_is_told_with_its_name(tmp_path: Path) -> None:
    """And what fails inside the block is not taken for the lock's fault."""
    with (
        pytest.raises(ConfigurationError, match="nowhere"),
        locked_for_update(tmp_path / "nowhere" / "file"),
    ):
        raise AssertionError("not reached")
    with pytest.raises(OSError, match="inside"), locked_for_update(tmp_path / "file"):
        raise OSError(5, "inside")


def test_a_refusal_of_the_system_names_the_file(tmp_path: Path) -> None:
    """The one that the system names, or the one that was meant."""
    with (
        pytest.raises(ConfigurationError, match="elsewhere: gone"),
        as_configuration_error(tmp_path),
    ):
        raise OSError(2, "gone", "elsewhere")
    with pytest.raises(ConfigurationError, match=str(tmp_path)), as_configuration_error(tmp_path):
        raise OSError(2, "gone")
