"""`cps-auth posture` as a command on whatever PC runs it: three forms of one answer."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from cps_auth.cli.main import cli
from cps_auth.exit_codes import EXIT_CODES, POSTURE_INCOMPLETE

SIX = ["passwords", "lock", "updates", "encryption", "network", "card"]


def _run(*words: str, language: str = "C") -> Result:
    environment = {"LC_ALL": language, "LANGUAGE": None, "SUDO_USER": "camille"}
    return CliRunner(env=environment).invoke(cli, ["posture", *words])


def test_json_lines_and_page_say_the_same(tmp_path: Path) -> None:
    """Exit code 0 only if all six are present; a page that exists is kept."""
    page = tmp_path / "poste.html"
    done = _run("--json", "--html", str(page))
    told = json.loads(done.stdout)
    assert [one["measure"] for one in told["measures"]] == SIX
    verdicts = [one["verdict"] for one in told["measures"]]
    is_whole = set(verdicts) == {"present"}
    assert told["ok"] is is_whole
    assert done.exit_code == (0 if is_whole else POSTURE_INCOMPLETE)
    assert page.read_text().count('<span class="verdict ') == len(SIX)
    for one in set(verdicts):
        assert page.read_text().count(f'class="verdict {one}"') == verdicts.count(one)
    again = _run("--html", str(page))
    assert "poste.html" in again.output
    assert again.exit_code not in (0, POSTURE_INCOMPLETE)


def test_people_read_it_in_their_language() -> None:
    """Each measure, its verdict, and what to do where it is not a yes."""
    french = _run(language="fr_FR.UTF-8").stdout
    heads = [line for line in french.splitlines() if line[0] in "✓✗?"]
    assert len(heads) == len(SIX)
    assert "Mots de passe" in heads[0]
    assert _run().stdout.startswith(heads[0][0])
    wanting = sum(not line.startswith("✓") for line in heads)
    assert french.count("À faire") == wanting


def test_its_exit_code_is_its_own() -> None:
    """No error has it."""
    assert POSTURE_INCOMPLETE not in EXIT_CODES.values()
