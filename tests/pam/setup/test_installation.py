"""Install and uninstall, in the root folder of another system; the PAM side by itself."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cps_auth.config import PamSettings, Settings, read_settings
from cps_auth.errors import ConfigurationError
from pam_helper.daemon import protocol
from pam_helper.setup import system_files
from pam_helper.setup.command import SetupOptions, install, uninstall
from pam_helper.setup.system_files import SHARE, PamSide, pam_side, planned_files

HELPER = SHARE / "cps-auth-pam"
MODULE_PLACE = "/usr/lib/x86_64-linux-gnu/security/pam_cps.so"
SIDES = [PamSide(None, MODULE_PLACE, "en"), PamSide(b"\x7fELF", MODULE_PLACE, "fr")]


def _tree(root: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in root.rglob("*")
    }


def _install(root: Path, **options: bool) -> set[str]:
    return {step.what for step in install(SetupOptions(root, **options))}


def _uninstall(root: Path, **options: bool) -> set[str]:
    return {step.what for step in uninstall(SetupOptions(root, **options))}


class Interrupted(BaseException):
    """Whoever pulls the plug."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bare system: the folders that every Debian has."""
    for folder in (
        "etc/pam.d",
        "usr/lib/x86_64-linux-gnu/security",
        "etc/systemd/system",
        "var/lib",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/security/pam_unix.so").touch()
    (tmp_path / "etc/pam.d/login").write_text("auth required pam_unix.so\n")
    return tmp_path


@pytest.mark.parametrize("want_module", [True, False])
def test_install_then_uninstall_leaves_no_difference(root: Path, want_module: bool) -> None:
    """Every file and folder is as it was."""
    before = _tree(root)
    assert _install(root, want_module=want_module, only_daemon=True) == {"create"}
    assert (root / MODULE_PLACE[1:]).exists() is want_module
    assert _uninstall(root) == {"remove"}
    assert _tree(root) == before


def test_a_dry_run_changes_nothing_and_shows_every_line(root: Path) -> None:
    """The steps that it names are those that are taken afterwards, with what they write."""
    before = _tree(root)
    planned = list(install(SetupOptions(root, dry_run=True)))
    assert _tree(root) == before
    assert any("+auth required pam_deny.so" in step.diff for step in planned)
    assert list(install(SetupOptions(root))) == planned
    installed = _tree(root)
    removals = list(uninstall(SetupOptions(root, dry_run=True)))
    assert _tree(root) == installed
    assert list(uninstall(SetupOptions(root))) == removals


def test_installing_twice_keeps_everything(root: Path) -> None:
    """The second time there is nothing to do: the module is built to the same bytes."""
    _install(root)
    before = _tree(root)
    assert _install(root) == {"keep"}
    assert _tree(root) == before


def test_another_version_of_ours_is_brought_up_to_date(root: Path) -> None:
    """What an earlier install wrote is replaced; uninstall still leaves nothing."""
    before = _tree(root)
    _install(root, want_module=False)
    (root / "etc/cps-auth/config.toml").write_text('language = "en"\n')
    assert _install(root) == {"create", "update", "keep"}
    assert b"lang=en" in (root / "etc/pam.d/cps-auth").read_bytes()
    (root / "etc/cps-auth/config.toml").write_bytes((SHARE / "config.toml").read_bytes())
    _uninstall(root)
    assert _tree(root) == before


def test_a_changed_file_is_neither_overwritten_nor_removed(root: Path) -> None:
    """An administrator's own stack stops the installation before it has done anything."""
    stack = root / "etc/pam.d/cps-auth"
    stack.write_text("auth required pam_deny.so\n")
    before = _tree(root)
    with pytest.raises(ConfigurationError):
        _install(root)
    assert _tree(root) == before
    _uninstall(root)
    assert _tree(root) == before


def test_units_that_were_enabled_leave_no_links(root: Path) -> None:
    """What `systemctl enable` makes goes, with the folder if nobody else uses it."""
    others = root / "etc/systemd/system/sockets.target.wants/other.socket"
    others.parent.mkdir()
    others.symlink_to("/lib/systemd/system/other.socket")
    before = _tree(root)
    _install(root, want_module=False)
    enable = ["systemctl", f"--root={root}", "enable", "cps-auth.socket", "cps-auth.service"]
    subprocess.run(enable, check=True, capture_output=True, timeout=60)
    links = sorted(path for path in root.rglob("*.wants/cps-auth.*"))
    assert len(links) == 2
    _uninstall(root)
    assert not any(link.is_symlink() for link in links)
    assert _tree(root) == before


def test_a_stack_that_is_in_use_is_not_taken_away(root: Path) -> None:
    """A service whose included file went would let nobody in: uninstall refuses, and names it."""
    _install(root)
    (root / "etc/pam.d/login").write_text("@include cps-auth\n")
    before = _tree(root)
    with pytest.raises(ConfigurationError, match="login"):
        _uninstall(root)
    assert _tree(root) == before


def test_settings_are_the_administrators_own(root: Path) -> None:
    """Settings that are there are kept, by install and by uninstall."""
    settings = root / "etc/cps-auth/config.toml"
    settings.parent.mkdir()
    settings.write_text('language = "en"\n')
    _install(root)
    _uninstall(root)
    assert settings.read_text() == 'language = "en"\n'


def test_a_symbolic_link_is_not_followed(root: Path) -> None:
    """A link in the place of a file of ours stops the installation."""
    (root / "etc/pam.d/cps-auth").symlink_to("/etc/passwd")
    with pytest.raises(ConfigurationError):
        _install(root)


def test_interrupted_anywhere_it_can_be_finished_or_undone(root: Path) -> None:
    """After every single step: the logins are untouched, uninstall and install both work."""
    before, steps = _tree(root), 0
    while True:
        told: list[str] = []

        def pull_the_plug(step: str, told: list[str] = told, at: int = steps) -> None:
            told.append(step)
            if len(told) > at:
                raise Interrupted

        try:
            list(install(SetupOptions(root), pull_the_plug))
        except Interrupted:
            assert (root / "etc/pam.d/login").read_text() == "auth required pam_unix.so\n"
            _uninstall(root)
            assert {k: v for k, v in _tree(root).items() if k not in before} == {}
            assert _tree(root) == before
            steps += 1
        else:
            break
    assert steps > 10
    assert _install(root) == {"keep"}


CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.symlink"}


def _killed_before_change(number: int, change: Callable[[], object]) -> bool:
    """Run in a process that is killed just before its n-th change of a file; whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # nothing else runs in the child
        child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o1103
            if writes or event in CHANGES:
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            change()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("killed", ["install", "update", "uninstall"])
def test_killed_before_any_change_it_can_be_undone(
    root: Path, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL, which runs no clean-up: uninstall leaves the system as it was, install finishes."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    login, settings = root / "etc/pam.d/login", root / "etc/cps-auth/config.toml"
    before, number, was_killed = _tree(root), 0, True
    while was_killed:
        number += 1
        if killed != "install":
            _install(root, want_module=False)
        if killed == "update":
            settings.write_text('language = "en"\n')
        change = _uninstall if killed == "uninstall" else partial(_install, want_module=False)
        was_killed = _killed_before_change(number, partial(change, root))
        assert login.read_text() == "auth required pam_unix.so\n"
        if number % 2:  # finished first
            change(root)
        if killed == "update":
            settings.write_bytes((SHARE / "config.toml").read_bytes())
        _uninstall(root)
        assert _tree(root) == before, number
    assert number > 15


def test_a_half_written_file_is_no_service_and_goes(root: Path) -> None:
    """What a power cut leaves beside its place is read by nobody, and uninstall takes it away."""
    before = _tree(root)
    _install(root)
    (root / "etc/pam.d/cps-auth").rename(root / "etc/pam.d/cps-auth~")
    _uninstall(root)
    assert _tree(root) == before


def test_the_shipped_settings_are_the_defaults(root: Path) -> None:
    """The example file is valid as shipped, and with every line switched on."""
    shipped, full = root / "shipped.toml", root / "full.toml"
    shipped.write_text((SHARE / "config.toml").read_text())  # a checkout's mode is its umask's
    assert read_settings(shipped) == Settings()
    lines = shipped.read_text().splitlines()
    full.write_text("\n".join(re.sub(r"^# (?=\[|\w+ +=)", "", line) for line in lines))
    settings = read_settings(full)
    assert settings.lock.command == ("/usr/bin/xsecurelock",)
    assert settings.lock.confirm_within_s == Settings().lock.confirm_within_s
    assert settings.pam == PamSettings(("xsecurelock",))


def test_the_unit_names_the_interpreter() -> None:
    """No placeholder is left in what is installed."""
    files = planned_files(SIDES[0], Settings(), python="/opt/x/python")
    (unit,) = [f for f in files if f.place.endswith(".service")]
    assert b"ExecStart=/opt/x/python -I -m pam_helper daemon\n" in unit.content
    assert b"@" not in unit.content.replace(b"~@", b"").replace(b" @", b" ")


def test_systemd_accepts_the_units(root: Path) -> None:
    """`systemd-analyze verify` has nothing to say against what is installed."""
    units = [f for f in planned_files(SIDES[0], Settings()) if "/systemd/" in f.place]
    for unit in units:
        (root / Path(unit.place).name).write_bytes(unit.content)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(root / Path(u.place).name) for u in units)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if "cps-auth" in line]
    assert (done.returncode, said) == (0, []), done.stderr


@pytest.mark.parametrize("side", SIDES, ids=["pam_exec", "pam_cps.so"])
def test_the_stack_can_only_succeed_in_one_place(side: PamSide) -> None:
    """Card required: one line ends with success, everything else dies, the last one denies."""
    (stack,) = [f for f in planned_files(side, Settings()) if f.place == "/etc/pam.d/cps-auth"]
    lines = [x for x in stack.content.decode().splitlines() if not x.startswith("#")]
    assert sum("success=done" in line for line in lines) == 1
    assert all("default=die]" in line for line in lines[:-1])
    assert lines[-1] == "auth required pam_deny.so"
    assert not any("optional" in line or "sufficient" in line for line in lines)


@pytest.mark.parametrize("side", SIDES, ids=["pam_exec", "pam_cps.so"])
def test_no_password_counts_where_the_card_is_required(side: PamSide) -> None:
    """The profile ends in a denial for exactly the services of the settings, and not else."""
    settings = Settings(pam=PamSettings(("xsecurelock", "gdm-password")))
    for wanted, tail in ((Settings(), ()), (settings, ("notin xsecurelock:gdm-password", "deny"))):
        files = planned_files(side, wanted)
        (profile,) = [f for f in files if f.place.startswith("/usr/share/pam-configs/")]
        text = profile.content.decode()
        assert "Default: no\n" in text
        assert text.count("success=end") == 1
        assert ("pam_deny.so" in text) is bool(tail)
        assert all(part in text for part in tail)


def test_the_module_is_built_where_it_can_be(root: Path) -> None:
    """It goes where the system's own modules are; without those, pam_exec is used."""
    side = pam_side(root, Settings())
    assert side.module is not None
    assert side.module.startswith(b"\x7fELF")
    assert side.module_place == MODULE_PLACE
    assert pam_side(root / "empty", Settings()).module is None
    assert pam_side(root, Settings(), want_module=False).module is None


def test_the_pam_side_speaks_the_daemons_protocol() -> None:
    """The constants that stand in both programs, by necessity, are the same."""
    constants = dict(re.findall(r"^my \$(\w+) = (.+?);", HELPER.read_text(), re.MULTILINE))
    for name in ("MAX_REPLY_BYTES", "MAX_TEXT_LINES", "PIN_DIGITS", "CODE_CHARACTERS"):
        assert constants[name] == str(getattr(protocol, name))
    assert constants["SOCKET_PATH"] == f'"{protocol.SOCKET_PATH}"'
    for line, reply in (("VERIFIED_LINE", protocol.VERIFIED), ("ALIVE_LINE", protocol.ALIVE)):
        assert ast.literal_eval(constants[line]).encode() == protocol.encode_reply(reply)
    assert protocol.encode_reply(protocol.VERIFIED) == protocol.VERIFIED_LINE
    source = (SHARE / "pam_cps/pam_cps.c").read_text()
    assert f'"{protocol.VERIFIED_LINE.decode().rstrip()}\\n"' in source
    assert f'SOCKET_PATH "{protocol.SOCKET_PATH}"' in source
    assert f"CODE_CHARACTERS {protocol.CODE_CHARACTERS}\n" in source
    assert f"MAX_REPLY {protocol.MAX_REPLY_BYTES}\n" in (SHARE / "pam_cps/reply.h").read_text()


def test_a_system_without_the_helpers_language_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written; where the module can be built it is not needed."""
    assert HELPER.read_text().startswith(f"#!{system_files.HELPER_RUNS_ON} ")
    monkeypatch.setattr(system_files, "HELPER_RUNS_ON", Path("/nonexistent/perl"))
    with pytest.raises(ConfigurationError, match="/nonexistent/perl is needed"):
        list(install(SetupOptions(want_module=False, dry_run=True)))
    assert pam_side(Path("/"), Settings()).module is not None


def test_the_pam_side_loads_nothing() -> None:
    """No module that is slow to start, and none that an environment could replace."""
    source = re.sub(r"#.*", "", HELPER.read_text())
    assert not re.search(r"\b(?:use|require|do|no)\b", source)
    assert HELPER.read_text().splitlines()[0].endswith("perl -T")  # PERL5LIB, PERL5OPT: ignored


def test_perl_has_nothing_to_say_of_it() -> None:
    """Not even where every variable must be declared, and every doubt is told."""
    words = ["perl", "-T", "-Mstrict", "-Mwarnings", "-c", str(HELPER)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, f"{HELPER} syntax OK\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "stdin"),
    [
        (["verify", "en"], {}, b"1234"),
        (["verify", "en"], {"PAM_USER": "root", "PAM_SERVICE": "x"}, b"1234"),
        (["unlock", "en"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        ([], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify", "en"], {"PAM_USER": "é", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify", "en"], {"PAM_USER": 'a"b', "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify", "en"], {"PAM_USER": "nosuch", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"1234"),
        (["verify", "en"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b"pass\0"),
        (["verify", "en"], {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}, b""),
        (
            ["verify", "en"],
            {"PAM_USER": "root", "PAM_SERVICE": "x", "PAM_TYPE": "auth"},
            b"1" * 9000,
        ),
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
