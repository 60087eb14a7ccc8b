"""`cps-auth doctor` as a command: what it prints, its table, and the bundle for support."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cps_auth import errors
from cps_auth.cli.diagnostics import Finding
from cps_auth.cli.doctor.bundle import write_bundle
from cps_auth.cli.doctor.command import finding_as_json, finding_lines
from cps_auth.cli.doctor.remedies import REMEDIES, cause_of
from cps_auth.config import CardSettings, PamSettings, Settings, TrustSettings
from cps_auth.errors import ConfigurationError, NoReader, WrongPin
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.wording import LANGUAGES, translations
from hardware_mocks.personas import PERSONAS
from tests.cli.conftest import Command
from tests.vocabulary.test_outcomes import sample

PIN = "1234"
ACCOUNT = "camille-lavergne"


def test_every_cause_begins_with_an_error_of_the_tree() -> None:
    """No row of the table is for an error that does not exist."""
    codes = {leaf.code for leaf in errors.leaves()}
    assert {cause.partition("/")[0] for cause in REMEDIES} <= codes


def test_every_error_of_card_certificate_and_installation_has_a_next_step() -> None:
    """Whatever a link can end in; a login's own refusals and a provider's are none of a link's."""
    no_link = {"provider-unavailable"}
    families = (10, 20, 40, 70)
    wanted = {leaf.code for leaf, code in EXIT_CODES.items() if code // 10 * 10 in families}
    assert wanted - no_link <= set(REMEDIES)


@pytest.mark.parametrize("leaf", errors.leaves(), ids=lambda leaf: leaf.code)
def test_a_cause_is_never_less_than_the_error(leaf: type[errors.CpsAuthError]) -> None:
    """Kinds that the table does not know fall back to the error itself."""
    assert cause_of(sample(leaf)).startswith(leaf.code)


def test_every_word_of_the_table_is_french_in_french() -> None:
    """But for what is a command in any language."""
    french = translations("fr").gettext
    for cause, (meaning, following) in REMEDIES.items():
        assert french(meaning) != meaning, cause
        is_command = following.split()[0] in (
            "sudo",
            "cps-auth",
            "timedatectl",
            "systemctl",
            "journalctl",
        )
        assert is_command or french(following) != following, cause


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_finding_says_what_to_type_next(language: str) -> None:
    """Once: what is broken for the same reason points to it."""
    finding = Finding("readers", "none", NoReader(devices=("Ingenico (0b00:0090)",)))
    line, following = finding_lines(finding, language)
    assert line == "✗ readers: none"
    assert following.startswith("    → sudo apt install libccid")
    repeated = Finding("card", "see readers", NoReader(), is_repeated=True)
    assert len(finding_lines(repeated, language)) == 1
    told = finding_as_json(finding, language)
    assert (told["error"], told["code"]) == ("no-reader", "no-reader/no-driver")
    assert following.endswith(str(told["next"]))


def test_the_command_writes_a_bundle_once(command: Command, tmp_path: Path) -> None:
    """Beside its answer; a file that exists is not replaced."""
    bundle = tmp_path / "help.zip"
    done = command("doctor", "--bundle", str(bundle), "--json")
    assert json.loads(done.stdout)["findings"][0]["link"] == "settings"
    with zipfile.ZipFile(bundle) as archive:
        findings = json.loads(archive.read("findings.json"))
    assert [one["link"] for one in findings][:4] == ["settings", "usb", "pcscd", "readers"]
    again = command("doctor", "--bundle", str(bundle))
    assert b"help.zip" in again.stderr


def test_the_bundle_has_no_personal_data(tmp_path: Path) -> None:
    """Names, numbers, accounts, readers, paths and PIN are in everything that goes in; not out."""
    who = PERSONAS["doctor"]
    serial_reader = "SCR 3310 [CCID Interface] (53311850713070)"
    text = f"{who.surname} {who.given_name} {who.ps_idnat} {who.chip_serial} {PIN} {ACCOUNT}"
    findings = [
        Finding("card", text, None),
        Finding("readers", text, NoReader(serial_reader, (serial_reader,))),
        Finding("card", text, WrongPin(2)),
        Finding("accounts", text, ConfigurationError(f"/home/{ACCOUNT}: {text}", "no-account")),
        *(Finding("any", text, sample(leaf)) for leaf in errors.leaves()),
    ]
    settings = Settings(
        trust=TrustSettings(folder=f"/home/{ACCOUNT}/{who.surname}"),
        card=CardSettings(reader=serial_reader, module=f"/home/{ACCOUNT}/module.so"),
        pam=PamSettings(others=(ACCOUNT,)),
    )
    usb = tmp_path / "usb"
    device = usb / "1-1"
    (device / "1-1:1.0").mkdir(parents=True)
    facts = {
        "idVendor": "08e6",
        "idProduct": "3438",
        "serial": "53311850713070",
        "product": f"Reader of {who.surname}",
        "1-1:1.0/bInterfaceClass": "0b",
    }
    for name, value in facts.items():
        (device / name).write_text(value)
    bundle = tmp_path / "bundle.zip"
    write_bundle(bundle, findings, settings, usb, at=datetime(2026, 12, 1, tzinfo=UTC))
    with zipfile.ZipFile(bundle) as archive:
        names = set(archive.namelist())
        content = b"\n".join(archive.read(name) for name in names).decode().lower()
    assert names == {"findings.json", "settings.json", "versions.json", "usb.json"}
    assert "08e6:3438" in content
    assert "configuration-error/no-account" in content
    secrets = [
        *(who.surname, who.given_name, who.ps_idnat, who.chip_serial, who.card_number),
        *(ACCOUNT, "53311850713070", "scr 3310", "/home", "sample", os.uname().nodename),
    ]
    for secret in secrets:
        assert str(secret).lower() not in content, secret
    assert f'"{PIN}"' not in content
