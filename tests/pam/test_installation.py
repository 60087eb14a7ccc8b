"""Install and uninstall, in the root folder of another system."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from cps_auth.errors import ConfigurationError
from pam_helper import protocol
from pam_helper.installation import SHARE, install, installed_files, uninstall

HELPER = SHARE / "cps-auth-pam"


def _tree(root: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in root.rglob("*")
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bare system: the folders that every Debian has."""
    for folder in ("etc/pam.d", "usr/lib", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/pam.d/login").write_text("auth required pam_unix.so\n")
    return tmp_path


def test_install_then_uninstall_leaves_no_difference(root: Path) -> None:
    """Every file and folder is as it was."""
    before = _tree(root)
    assert {step.what for step in install(root, dry_run=False)} == {"create"}
    assert len(_tree(root)) > len(before)
    uninstall(root, dry_run=False)
    assert _tree(root) == before


def test_a_dry_run_changes_nothing_and_says_the_same(root: Path) -> None:
    """The steps that it names are those that are taken afterwards."""
    before = _tree(root)
    planned = install(root, dry_run=True)
    assert _tree(root) == before
    assert install(root, dry_run=False) == planned
    installed = _tree(root)
    removals = uninstall(root, dry_run=True)
    assert _tree(root) == installed
    assert uninstall(root, dry_run=False) == removals


def test_installing_twice_keeps_everything(root: Path) -> None:
    """The second time there is nothing to do."""
    install(root, dry_run=False)
    before = _tree(root)
    assert {step.what for step in install(root, dry_run=False)} == {"keep"}
    assert _tree(root) == before


def test_a_changed_file_is_neither_overwritten_nor_removed(root: Path) -> None:
    """An administrator's own stack stops the installation before it has done anything."""
    stack = root / "etc/pam.d/cps-auth"
    stack.write_text("auth required pam_deny.so\n")
    before = _tree(root)
    with pytest.raises(ConfigurationError):
        install(root, dry_run=False)
    assert _tree(root) == before
    uninstall(root, dry_run=False)
    assert _tree(root) == before


def test_settings_are_the_administrators_own(root: Path) -> None:
    """Settings that are there are kept, by install and by uninstall."""
    settings = root / "etc/cps-auth/config.toml"
    settings.parent.mkdir()
    settings.write_text('language = "en"\n')
    install(root, dry_run=False)
    uninstall(root, dry_run=False)
    assert settings.read_text() == 'language = "en"\n'


def test_a_symbolic_link_is_not_followed(root: Path) -> None:
    """A link in the place of a file of ours stops the installation."""
    (root / "etc/pam.d/cps-auth").symlink_to("/etc/passwd")
    with pytest.raises(ConfigurationError):
        install(root, dry_run=False)


def test_the_shipped_settings_are_the_defaults(root: Path) -> None:
    """The example file is valid as shipped, and with every line switched on."""
    from cps_auth.config import Settings, read_settings

    shipped, full = root / "shipped.toml", root / "full.toml"
    shipped.write_text((SHARE / "config.toml").read_text())  # a checkout's mode is its umask's
    assert read_settings(shipped) == Settings()
    lines = shipped.read_text().splitlines()
    full.write_text("\n".join(re.sub(r"^# (?=\[|\w+ +=)", "", line) for line in lines))
    assert read_settings(full).lock == Settings().lock.__class__(command=("/usr/bin/xsecurelock",))


def test_the_unit_names_the_interpreter() -> None:
    """No placeholder is left in what is installed."""
    (unit,) = [f for f in installed_files("/opt/x/python") if f.place.endswith(".service")]
    assert b"ExecStart=/opt/x/python -I -m pam_helper daemon\n" in unit.content
    assert b"@" not in unit.content


def test_the_stack_can_only_succeed_in_one_place() -> None:
    """`success` leads on or ends; everything else dies; the last line is a denial."""
    lines = [
        line.split()
        for line in (SHARE / "pam.d/cps-auth").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    text = [" ".join(line) for line in lines]
    assert text[0].startswith("auth [success=ignore default=die] pam_exec.so")
    assert text[1].startswith("auth [success=done default=die] pam_exec.so")
    assert text[2:] == ["auth required pam_deny.so"]


def test_the_pam_side_knows_the_daemons_words() -> None:
    """The constants that it cannot import are those of the protocol."""
    tree = ast.parse(HELPER.read_text())
    constants = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for name in ("SOCKET_PATH", "VERIFIED_LINE", "MAX_REPLY_BYTES", "PIN_DIGITS"):
        assert constants[name] == getattr(protocol, name)
    assert protocol.encode_reply(protocol.VERIFIED) == protocol.VERIFIED_LINE


def test_the_pam_side_imports_only_what_python_brings() -> None:
    """Nothing of the project, and nothing that is slow to start on the way to yes."""
    imported = {
        alias.name
        for node in ast.walk(ast.parse(HELPER.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported == {"posix", "pwd", "sys", "json", "_socket", "_signal"}


@pytest.mark.parametrize(
    ("arguments", "environment", "stdin"),
    [
        (["verify"], {}, b"1234"),
        (["verify"], {"PAM_USER": "root", "PAM_SERVICE": "x"}, b"1234"),
        (["unlock"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        ([], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify"], {"PAM_USER": "é", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify"], {"PAM_USER": 'a"b', "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify"], {"PAM_USER": "nosuch", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"pass\0"),
        (["verify"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b""),
        (["verify"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1" * 9000),
    ],
)
def test_the_pam_side_refuses_without_a_traceback(
    arguments: list[str], environment: dict[str, str], stdin: bytes
) -> None:
    """Whatever it is given, it ends with 1, prints no NUL, no traceback and no PIN."""
    done = subprocess.run(
        [str(HELPER), *arguments], env=environment, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == b""
    assert b"\0" not in done.stdout
    assert b"1234" not in done.stdout
