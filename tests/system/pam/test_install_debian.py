"""Install and uninstall on a whole Debian 12 tree, by its own pam-auth-update and its own su."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pam_helper.setup.command import SetupOptions, install, uninstall

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]  # the first one fetches a Debian

PASSWORD = "un-mot-de-passe"


class Interrupted(BaseException):
    """Whoever pulls the plug."""


@pytest.fixture(scope="module")
def debian_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare Debian 12, from where this machine gets its packages."""
    folder = tmp_path_factory.mktemp("debootstrap")
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    mirrors = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    command = ["debootstrap", "--variant=minbase", "bookworm", str(folder / "root"), *mirrors[:1]]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("debootstrap fetched no Debian tree: " + done.stdout.decode()[-200:])
    with tarfile.open(folder / "debian.tar", "w") as tar:
        tar.add(folder / "root", ".")
    return folder / "debian.tar"


@pytest.fixture
def debian(tmp_path: Path, debian_tar: Path) -> Path:
    """A fresh Debian 12 with an account that has a password."""
    root = tmp_path / "debian"
    root.mkdir()
    subprocess.run(["tar", "-xf", debian_tar, "--numeric-owner", "-C", root], check=True)
    root.chmod(0o755)
    in_it = ["chroot", str(root)]
    subprocess.run([*in_it, "useradd", "-m", "camille"], check=True, capture_output=True)
    subprocess.run([*in_it, "chpasswd"], input=f"camille:{PASSWORD}".encode(), check=True)
    return root


def _tree(root: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for top in ("etc", "usr", "var"):
        for folder, folders, files in os.walk(root / top):
            for name in folders + files:
                path = Path(folder, name)
                if "var/log" in folder:
                    continue  # where our own tries to log in are written
                status = path.lstat()
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                digest = hashlib.sha256(content).hexdigest()
                found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, digest)
    return found


def _can_log_in(root: Path, password: str = PASSWORD) -> bool:
    """Whether the account gets in by its password, as an ordinary user's su asks for it."""
    done = subprocess.run(
        ["chroot", "--userspec=65534:65534", str(root), "su", "camille", "-c", "echo in"],
        input=f"{password}\n".encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() == b"in"


@pytest.mark.parametrize("want_module", [True, False], ids=["pam_cps.so", "pam_exec"])
def test_install_then_uninstall_leaves_no_difference(debian: Path, want_module: bool) -> None:
    """With the profile switched on and off again, every file of the system is as it was."""
    before = _tree(debian)
    options = SetupOptions(debian, profile=True, want_module=want_module)
    shown = list(install(SetupOptions(debian, dry_run=True, profile=True, want_module=want_module)))
    assert _tree(debian) == before
    assert any("common-auth" in step.diff and "+auth" in step.diff for step in shown)
    list(install(options))
    common = (debian / "etc/pam.d/common-auth").read_text()
    assert ("pam_cps.so" if want_module else "cps-auth-pam verify") in common
    assert _can_log_in(debian), "the password is a way in, with no daemon at all"
    assert not _can_log_in(debian, "wrong")
    list(uninstall(SetupOptions(debian)))
    assert _tree(debian) == before
    assert _can_log_in(debian)


def test_interrupted_at_any_step_one_can_log_in(debian: Path) -> None:
    """The plug is pulled after each step of install: the password lets in, uninstall undoes it."""
    before, steps = _tree(debian), 0
    while True:
        told: list[str] = []

        def pull_the_plug(step: str, told: list[str] = told, at: int = steps) -> None:
            told.append(step)
            if len(told) > at:
                raise Interrupted

        try:
            list(install(SetupOptions(debian, profile=True), pull_the_plug))
        except Interrupted:
            assert _can_log_in(debian), told[-1]
            list(uninstall(SetupOptions(debian)))
            assert _tree(debian) == before, told[-1]
            steps += 4 if steps < 12 else 1
        else:
            break
    assert steps > 12
    assert _can_log_in(debian)
