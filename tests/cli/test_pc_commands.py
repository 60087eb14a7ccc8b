"""`cps-auth pc accounts|code|setup`: what they say, write and ask; no card."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cps_auth.cli.main import cli
from cps_auth.cli.pc import setup as pc_setup
from cps_auth.config import read_settings
from cps_auth.errors import ConfigurationError, DaemonUnreachable, WrongPin
from cps_auth.exit_codes import EXIT_CODES, USAGE
from pam_helper.accounts.accounts import read_accounts
from pam_helper.setup import practice, profile

NOT_CONFIGURED = EXIT_CODES[ConfigurationError]
ME = "root"


def _run(*words: str, language: str = "C", typed: str | None = None) -> Result:
    environment = {"LC_ALL": language, "LANGUAGE": None}
    return CliRunner(env=environment).invoke(cli, ["pc", *words], input=typed)


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    """An accounts file with a doctor and a replacement whose time is over."""
    path = tmp_path / "accounts.toml"
    path.write_text(
        '[[holder]]\nps_idnat = "1"\naccounts = ["camille", "labo"]\nname = "Dr MARTIN"\n'
        '[[holder]]\nps_idnat = "2"\naccounts = ["camille"]\nuntil = 2020-01-31\n'
    )
    return path


def test_accounts_are_shown(accounts: Path) -> None:
    """A line a holder for people, in their language; one line of JSON for programs."""
    done = _run("accounts", "--accounts", str(accounts))
    assert done.stdout.splitlines() == [
        "1  Dr MARTIN: camille, labo",
        "2  -: camille, over since 2020-01-31",
    ]
    french = _run("accounts", "--accounts", str(accounts), language="fr_FR.UTF-8")
    assert "terminé depuis le 2020-01-31" in french.stdout
    answer = json.loads(_run("accounts", "--accounts", str(accounts), "--json").stdout)
    assert [row["ps_idnat"] for row in answer["accounts"]] == ["1", "2"]
    assert answer["accounts"][1]["until"] == "2020-01-31"


def test_accounts_are_changed(accounts: Path) -> None:
    """One is taken away, another gets a last day; a holder who is not there is an error."""
    common = ("accounts", "--accounts", str(accounts))
    assert _run(*common, "remove", "1", "--account", "labo").exit_code == 0
    assert _run(*common, "until", "2", "2099-12-31").exit_code == 0
    rows = read_accounts(accounts).holder
    assert [row.accounts for row in rows] == [("camille",), ("camille",)]
    assert str(rows[1].until) == "2099-12-31"
    assert _run(*common, "until", "2", "never").exit_code == 0
    assert read_accounts(accounts).holder[1].until is None
    assert _run(*common, "remove", "3").exit_code == NOT_CONFIGURED
    with pytest.raises(Exception, match="YYYY-MM-DD"):
        CliRunner().invoke(
            cli, ["pc", *common, "until", "2", "tomorrow"], standalone_mode=False,
            catch_exceptions=False,
        )  # fmt: skip


def test_a_code_is_issued_and_revoked(tmp_path: Path) -> None:
    """It is printed once, its hours with it; for an account that does not exist there is none."""
    codes = ("--codes", str(tmp_path / "codes.json"))
    done = _run("code", ME, "--hours", "2", *codes)
    assert done.exit_code == 0
    assert f"works once for {ME}, for 2 h" in done.stdout
    assert done.stdout.split()[0] not in (tmp_path / "codes.json").read_text()
    assert "1 codes" in _run("code", ME, "--revoke", *codes).stdout
    assert _run("code", "nosuch", *codes).exit_code == NOT_CONFIGURED


class Steps:
    """What setup does to the computer, recorded in place of done."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def note(self, *what: object) -> Callable[..., None]:
        """Return what records a step, with the arguments that are of interest."""
        return lambda *given, **_: self.done.append((*what, *given[:1]))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    """A computer on which nothing but the settings file is written."""
    steps = Steps()
    for module, name in (
        (pc_setup, "enrol_card"),
        (pc_setup, "walk_chain"),
        (profile, "switch_on"),
        (practice, "restart"),
    ):
        monkeypatch.setattr(module, name, steps.note(name))
    monkeypatch.setattr(pc_setup.update, "main", steps.note("fetch"))
    monkeypatch.setattr(practice, "POLKIT_FOLDER", tmp_path / "rules.d")
    (tmp_path / "rules.d").mkdir()
    monkeypatch.setattr(practice, "POLKIT_RULE", tmp_path / "only-daemon.rules")
    practice.POLKIT_RULE.write_text("rule")
    monkeypatch.setattr(practice, "PCSCD_ACTIONS", tmp_path)
    monkeypatch.setattr(practice, "RESPONDERS_DROP_IN", tmp_path / "cps-auth.service.d/ocsp.conf")
    monkeypatch.setattr(practice, "people", lambda: [ME])
    monkeypatch.setattr(profile, "installed_services", lambda: ("kde", "login"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("LC_ALL", "C")  # setup changes both: put back at the end
    monkeypatch.setenv("LANGUAGE", "")
    return steps


def _names(steps: Steps) -> list[object]:
    return [step[0] for step in steps.done if isinstance(step, tuple)]


def test_every_question_is_an_option(steps: Steps, tmp_path: Path) -> None:
    """With options alone all is written, and the logins change after everything else succeeded."""
    config = tmp_path / "config.toml"
    done = _run(
        *("setup", "--config", str(config), "--language", "en", "--account", ME, "--pin-stdin"),
        *("--required", "kde", "--required", "login", "--grace-hours", "48", "--ocsp"),
        *("--only-daemon", "--trust", "/opt/igc", "--locker", "mylocker", "--other", "cups"),
    )
    assert done.exit_code == 0, done.output
    settings = read_settings(config)
    assert (settings.language, settings.trust.grace_hours) == ("en", 48)
    assert (settings.trust.ocsp, settings.trust.folder) == (True, "/opt/igc")
    assert (settings.pam.lockers, settings.pam.others) == (("mylocker",), ("cups",))
    assert settings.pam.card_required == ("kde", "login")
    assert (tmp_path / "rules.d/only-daemon.rules").read_text() == "rule"
    assert "IPAddressAllow=any" in practice.RESPONDERS_DROP_IN.read_text()
    assert _names(steps) == ["fetch", "enrol_card", "switch_on", "restart", "walk_chain"]
    assert ("enrol_card", ME) in steps.done
    assert ("fetch", ["--trust", "/opt/igc"]) in steps.done
    assert ("switch_on", ("kde", "login")) in steps.done
    again = ("setup", "--config", str(config), "--no-enrol", "--no-fetch", "--no-everywhere")
    assert _run(*again, "--required", "none", "--no-ocsp", "--no-only-daemon").exit_code == 0
    assert read_settings(config).pam.card_required == ()
    assert read_settings(config).trust.grace_hours == 48, "what nobody answered stays"
    assert not practice.RESPONDERS_DROP_IN.exists()
    assert not (tmp_path / "rules.d/only-daemon.rules").exists()
    assert _names(steps)[5:] == ["restart", "walk_chain"]


def test_a_person_is_asked_in_their_language(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Return is the default: the only account, everywhere, no service required, no grace."""
    monkeypatch.setattr(pc_setup, "is_terminal", lambda: True)
    config = tmp_path / "config.toml"
    done = _run("setup", "--config", str(config), typed="fr\n\noui\nkde\n24\nnon\n\n")
    assert done.exit_code == 0, done.output
    for words in ("Comptes que la carte ouvre", "sur ce poste\u00a0: kde, login", "listes d’oppo"):
        assert words in done.output
    settings = read_settings(config)
    assert (settings.language, settings.trust.grace_hours) == ("fr", 24)
    assert settings.pam.card_required == ("kde",)
    assert ("enrol_card", ME) in steps.done
    assert ("switch_on", ("kde",)) in steps.done


@pytest.mark.parametrize("leaf", [WrongPin, DaemonUnreachable])
def test_no_login_changes_before_a_card_is_enrolled(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaf: type
) -> None:
    """What goes wrong on the way ends it, with its own exit code."""

    def refuse(*_: object, **__: object) -> None:
        raise leaf(2) if leaf is WrongPin else leaf

    monkeypatch.setattr(pc_setup, "enrol_card", refuse)
    done = _run("setup", "--config", str(tmp_path / "c.toml"), "--language", "en", "--pin-stdin")
    assert done.exit_code == EXIT_CODES[leaf]
    assert _names(steps) == ["fetch"]


def test_setup_asks_for_what_it_needs_before_it_does_anything(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several people and no account named, one that does not exist, no root: nothing is written."""
    config = tmp_path / "config.toml"
    words = ("setup", "--config", str(config), "--language", "en")
    monkeypatch.setattr(practice, "people", lambda: ["camille", "julien"])
    assert "--account" in _run(*words).output
    assert _run(*words, "--account", "nosuch").exit_code == NOT_CONFIGURED
    assert _run(*words, "--grace-hours", "99999").exit_code == USAGE
    monkeypatch.setattr(practice, "PCSCD_ACTIONS", tmp_path / "none")
    assert "polkit" in _run(*words, "--account", ME, "--only-daemon").output
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in _run(*words, "--account", ME).output
    assert (steps.done, config.exists()) == ([], False)


def test_without_the_pc_side_it_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without `[cabinet]` names what is missing."""
    import sys

    monkeypatch.setitem(sys.modules, "pam_helper.accounts.accounts", None)
    done = _run("accounts")
    assert done.exit_code == NOT_CONFIGURED
    assert "cps-auth[cabinet]" in done.output
