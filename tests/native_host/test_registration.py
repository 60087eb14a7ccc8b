"""`cps-auth browser`, and the extension that is registered with it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cps_auth.cli.main import cli
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.native_host import pin_window
from cps_auth.native_host.callers import OURS_CHROMIUM, OURS_FIREFOX, WEB_EID_CHROMIUM
from cps_auth.native_host.manifests import NAMES, OUR_NAME, WEB_EID_NAME

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "webextension"
CHROMIUM = "etc/chromium/native-messaging-hosts"
FIREFOX = "usr/lib/mozilla/native-messaging-hosts"


class Pc:
    """A computer in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.exit_code = 0

    def run(self, command: str, *options: str) -> Any:
        """Run `cps-auth browser` for everybody on this computer; return its JSON."""
        arguments = ["browser", command, "--system", "--root", str(self.root), "--json", *options]
        done = CliRunner().invoke(cli, arguments)
        self.exit_code = done.exit_code
        return json.loads(done.stdout)

    def states(self) -> set[str]:
        """Return which states there are."""
        return {row["state"] for row in self.run("status")["registrations"]}

    def manifest(self, folder: str, name: str) -> Any:
        """Return what a browser reads."""
        return json.loads((self.root / folder / f"{name}.json").read_text())

    def files(self) -> list[Path]:
        """Return every file."""
        return [path for path in self.root.rglob("*") if path.is_file()]


@pytest.fixture
def pc(tmp_path: Path) -> Pc:
    """A computer on which nothing is registered."""
    return Pc(tmp_path)


def test_install_registers_both_names_with_every_browser(pc: Pc) -> None:
    """Official extension and ours, Chromium, Chrome and Firefox; twice is the same as once."""
    for _ in range(2):
        rows = pc.run("install")["registrations"]
        assert {row["state"] for row in rows} == {"ours"}
        assert {(row["browser"], row["name"]) for row in rows} == {
            (browser, name) for browser in ("chromium", "chrome", "firefox") for name in NAMES
        }
    launcher = "/usr/lib/cps-auth/native-host"
    official = [f"chrome-extension://{one}/" for one in WEB_EID_CHROMIUM]
    manifest = pc.manifest(CHROMIUM, WEB_EID_NAME)
    assert manifest["name"] == "eu.webeid"
    assert manifest["type"] == "stdio"
    assert manifest["path"] == launcher
    assert manifest["allowed_origins"] == official
    assert pc.manifest(FIREFOX, OUR_NAME)["allowed_extensions"] == list(OURS_FIREFOX)
    assert "allowed_origins" not in pc.manifest(FIREFOX, OUR_NAME)


def test_the_launcher_starts_the_host(pc: Pc) -> None:
    """Run as a browser runs it, from anywhere, with a hostile Python environment: it greets."""
    pc.run("install")
    launcher = pc.root / "usr/lib/cps-auth/native-host"
    text = b'{"command":"quit","arguments":{}}'
    done = subprocess.run(
        [launcher, f"chrome-extension://{OURS_CHROMIUM[0]}/"],
        input=len(text).to_bytes(4, "little") + text,
        env={**os.environ, "PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere"},
        cwd="/",
        capture_output=True,
        check=True,
    )
    assert b'"version"' in done.stdout
    assert done.stderr == b""


def test_what_is_installed_for_everybody_can_be_read_by_everybody(pc: Pc) -> None:
    """Also where the administrator's umask keeps files private: browsers run as somebody else."""
    before = os.umask(0o077)
    try:
        pc.run("install")
    finally:
        os.umask(before)
    assert len(pc.files()) == 7
    for path in pc.files():
        assert path.stat().st_mode & 0o044 == 0o044
        made = [one for one in path.parents if pc.root in one.parents]
        assert [oct(one.stat().st_mode & 0o777) for one in made] == ["0o755"] * len(made)


def test_a_computer_that_cannot_open_the_pin_window_is_told(
    pc: Pc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without Tk a login would fail after the click; without a display here it need not."""
    monkeypatch.delenv("DISPLAY", raising=False)
    assert pc.run("install")["pin_window"] is True
    for text in ("#!/bin/sh\nexit 3\n", None):
        python = tmp_path.parent / "python"
        if text is None:
            python.unlink()
        else:
            python.write_text(text)
            python.chmod(0o755)
        monkeypatch.setattr(pin_window, "python_with_tk", lambda python=python: python)
        assert pc.run("status")["pin_window"] is False
    arguments = ["browser", "status", "--system", "--root", str(pc.root)]
    assert "python3-tk" in CliRunner().invoke(cli, arguments).stderr


def test_uninstall_leaves_nothing(pc: Pc) -> None:
    """Manifests and launcher are gone, and `status` says so."""
    pc.run("install")
    assert {row["state"] for row in pc.run("uninstall")["registrations"]} == {"absent"}
    assert pc.files() == []


def test_another_web_eid_program_is_not_replaced_by_accident(pc: Pc) -> None:
    """Nothing at all is written then; --replace puts it aside, and uninstall puts it back."""
    theirs = pc.root / CHROMIUM / "eu.webeid.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"name": "eu.webeid", "path": "/usr/bin/web-eid"}')
    refusal = pc.run("install")
    assert refusal["error"] == "configuration-error"
    assert str(theirs) in refusal["what"]
    assert pc.exit_code == next(n for e, n in EXIT_CODES.items() if e.code == "configuration-error")
    assert pc.files() == [theirs]
    assert pc.states() == {"other", "absent"}
    pc.run("install", "--replace")
    assert pc.states() == {"ours"}
    pc.run("uninstall")
    assert json.loads(theirs.read_text())["path"] == "/usr/bin/web-eid"
    assert pc.files() == [theirs]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"path": 1}', "\x00"])
def test_a_manifest_that_cannot_be_read_is_somebody_elses(pc: Pc, content: str) -> None:
    """It is neither taken for ours nor removed."""
    theirs = pc.root / CHROMIUM / "eu.webeid.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(content)
    assert "other" in pc.states()
    pc.run("uninstall")
    assert theirs.read_text() == content


def test_a_launcher_that_is_gone_is_told(pc: Pc) -> None:
    """Registered, and nothing would start: installing again repairs it."""
    pc.run("install")
    (pc.root / "usr/lib/cps-auth/native-host").unlink()
    assert pc.states() == {"broken"}
    pc.run("install")
    assert pc.states() == {"ours"}


def test_one_browser_and_one_more_extension(pc: Pc) -> None:
    """A build of one's own is named in the manifest and to the host; a wrong name is refused."""
    other = "b" * 32
    pc.run("install", "--browser", "chromium", "--extension-id", other)
    assert pc.states() == {"ours", "absent"}
    allowed = pc.manifest(CHROMIUM, WEB_EID_NAME)["allowed_origins"]
    assert f"chrome-extension://{other}/" in allowed
    launcher = (pc.root / "usr/lib/cps-auth/native-host").read_text()
    assert f'--allow {other} "$@"' in launcher
    assert pc.run("install", "--extension-id", "x; rm -rf /")["error"] == "configuration-error"


def test_for_one_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --system it is the home of whoever asks."""
    monkeypatch.setenv("HOME", "/home/camille")
    arguments = ["browser", "install", "--root", str(tmp_path), "--browser", "firefox"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0
    home = tmp_path / "home/camille"
    manifest = json.loads((home / ".mozilla/native-messaging-hosts/eu.webeid.json").read_text())
    assert manifest["path"] == "/home/camille/.local/lib/cps-auth/native-host"
    assert os.access(home / ".local/lib/cps-auth/native-host", os.X_OK)


def test_one_person_is_told_what_is_installed_for_everybody(
    pc: Pc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's Web eID program is not overruled by accident; ours there is told, and stays."""
    monkeypatch.setenv("HOME", "/home/camille")
    theirs = pc.root / CHROMIUM / "eu.webeid.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('{"name": "eu.webeid", "path": "/usr/bin/web-eid"}')

    def run(command: str, *options: str) -> Any:
        arguments = ["browser", command, "--root", str(pc.root), "--json", *options]
        return json.loads(CliRunner().invoke(cli, arguments).stdout)

    assert str(theirs) in run("install")["what"]
    assert pc.files() == [theirs]
    rows = run("install", "--replace")["registrations"]
    assert [row["path"] for row in rows if row["state"] == "other"] == [str(theirs)]
    assert sum(row["state"] == "ours" for row in rows) == 6
    run("uninstall")
    assert pc.files() == [theirs]
    pc.run("install", "--replace")
    rows = run("status")["registrations"]
    assert [row["state"] for row in rows] == ["absent"] * 6 + ["ours"] * 6
    run("uninstall")
    assert pc.states() == {"ours"}


def test_the_extensions_identifier_follows_from_its_key() -> None:
    """Chromium computes it so, and the host allows exactly that one."""
    manifest = json.loads((EXTENSION / "manifest.json").read_text())
    digits = hashlib.sha256(base64.b64decode(manifest["key"])).hexdigest()[:32]
    assert (digits.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop")),) == (
        OURS_CHROMIUM
    )
    assert (manifest["browser_specific_settings"]["gecko"]["id"],) == OURS_FIREFOX


def test_the_extension_may_do_nothing_but_talk_to_the_host() -> None:
    """One permission, secure pages only, no frames, no code from elsewhere or from text."""
    manifest = json.loads((EXTENSION / "manifest.json").read_text())
    assert manifest["permissions"] == ["nativeMessaging"]
    assert not {"host_permissions", "externally_connectable", "web_accessible_resources"} & set(
        manifest
    )
    (script,) = manifest["content_scripts"]
    assert script["matches"] == ["https://*/*"]
    assert "all_frames" not in script
    code = "".join((EXTENSION / name).read_text() for name in ("content.js", "worker.js"))
    assert f'"{OUR_NAME}"' in code
    assert not re.search(r"\beval\(|new Function|innerHTML|importScripts|fetch\(|https?://", code)
