"""`cps-auth audit`: what it shows, proves and exports, and how it exits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cps_auth.audit.entry import AuditEvent
from cps_auth.audit.head import journal_files
from cps_auth.audit.journal import AuditJournal
from cps_auth.audit.verify import Finding
from cps_auth.cli.audit import EVENTS, FINDINGS, audit
from tests.audit.conftest import clock, written  # noqa: F401  # fixtures

ALTERED, CONFIGURATION = 4, 70


def _run(*arguments: str, language: str = "C") -> Result:
    environment = {"LC_ALL": language, "TZ": "UTC"}
    return CliRunner(env=environment).invoke(audit, list(arguments))


def test_every_event_and_finding_has_words() -> None:
    """None would be shown as a code."""
    assert set(EVENTS) == set(AuditEvent)
    assert set(FINDINGS) == set(Finding)


def test_show_says_when_where_what_and_who(written: Callable[[int], Path]) -> None:  # noqa: F811
    """In the person's language; as JSON every field."""
    folder = str(written(2))
    assert "pc-1 connexion refusée wrong-pin 899700000000 192.0.2.0" in (
        _run("show", "--folder", folder, language="fr_FR.UTF-8").output
    )
    shown = json.loads(_run("show", "--json", "--folder", folder, "--until", "2030-01-01").output)
    assert [line["entry"]["peer"] for line in shown["lines"]] == ["192.0.2.0", "192.0.2.1"]
    none = json.loads(_run("show", "--json", "--folder", folder, "--since", "2030-01-01").output)
    assert none == {"ok": True, "lines": []}


def test_verify_is_yes_only_for_an_intact_journal(written: Callable[[int], Path]) -> None:  # noqa: F811
    """Exit code 0, or 4 with the line."""
    folder = written(3)
    good = _run("verify", "--folder", str(folder))
    assert (good.exit_code, good.output.count("\n")) == (0, 1)
    (file,) = journal_files(folder)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], lines[2]]))
    bad = _run("verify", "--folder", str(folder))
    assert bad.exit_code == ALTERED
    assert "audit-2026-11.jsonl:2: lines before this one were removed" in bad.output
    value = json.loads(_run("verify", "--json", "--folder", str(folder)).output)
    assert value["ok"] is False
    assert value["journals"][str(folder)]["faults"][0]["finding"] == "missing"


def test_a_key_proves_the_seals(tmp_path: Path) -> None:
    """The key is shown once; another one is a usage error or proves nothing."""
    folder = tmp_path / "audit"
    AuditJournal(folder)
    sealed = _run("seal", "--folder", str(folder))
    assert sealed.exit_code == 0
    key = sealed.output.splitlines()[0]
    proven = _run("verify", "--folder", str(folder), "--key", key)
    assert "1 seals are genuine" in proven.output
    assert _run("verify", "--folder", str(folder), "--key", "nonsense").exit_code == 2


def test_export_as_a_table_and_for_the_register(written: Callable[[int], Path]) -> None:  # noqa: F811
    """CSV for a spreadsheet; with `--breach` the 72 hours are counted."""
    folder = str(written(2))
    heading, *rows = csv.reader(io.StringIO(_run("export", "--csv", "--folder", folder).output))
    assert [dict(zip(heading, row, strict=True))["peer"] for row in rows] == [
        "192.0.2.0",
        "192.0.2.1",
    ]
    extract = ("export", "--folder", folder, "--breach", "2026-12-01T09:00+00:00")
    assert "2026-12-04 09:00" in _run(*extract).output
    value = json.loads(_run(*extract, "--json").output)
    assert value["notify_by"] == "2026-12-04T09:00:00Z"
    assert value["counts"] == {"login-refused": 2}


@pytest.mark.parametrize("command", ["show", "verify", "export"])
def test_no_journal_is_no_empty_journal(command: str, tmp_path: Path) -> None:
    """A wrong folder is said, not shown as a journal without faults."""
    assert _run(command, "--folder", str(tmp_path / "absent")).exit_code == CONFIGURATION
    assert _run(command, "--folder", str(tmp_path)).exit_code == CONFIGURATION
