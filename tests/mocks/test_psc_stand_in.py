"""`python -m hardware_mocks psc`: one line starts it, and nothing of it is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from hardware_mocks.pro_sante_connect import installed
from hardware_mocks.pro_sante_connect.installed import StandInUnavailable, install

DEADLINE_S = 60.0
LOCK = installed.OURS / "package-lock.json"


@pytest.mark.usefixtures("psc_installed")
def test_one_line_starts_it_and_prints_the_settings() -> None:
    """Its discovery document is where ANS's is, with the endpoints at ANS's paths."""
    command = [sys.executable, "-m", "hardware_mocks", "psc", "http://127.0.0.1:5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(3)]
        settings = dict(re.findall(r'(CPS_PSC\w*) = "(.+)"', "".join(printed)))
        assert set(settings) == {"CPS_PSC", "CPS_PSC_CLIENT_ID", "CPS_PSC_CLIENT_SECRET"}
        issuer = settings["CPS_PSC"]
        with urlopen(f"{issuer}/.well-known/wallet-openid-configuration") as answer:  # noqa: S310
            document = json.load(answer)
        assert document["issuer"] == issuer
        assert document["token_endpoint"] == f"{issuer}/protocol/openid-connect/token"
        assert document["jwks_uri"] == f"{issuer}/protocol/openid-connect/certs"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130


def test_every_package_is_locked_and_no_registry_is_named() -> None:
    """By its hash; where it comes from is the reader's own npm's business."""
    text = LOCK.read_text()
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert len(packages) > 50
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert "resolved" not in text


def test_debians_node_is_new_enough_for_every_package() -> None:
    """Debian 12 has node 18: none of the packages asks for a newer one."""
    packages = json.loads(LOCK.read_text())["packages"].values()
    asked = [one["engines"]["node"] for one in packages if "node" in one.get("engines", {})]
    assert asked
    for wanted in asked:
        lowest = min(int(major) for major in re.findall(r"(?:>=?|\^) ?(\d+)", wanted))
        assert lowest <= 18, wanted


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without node, and without npm where it is not installed yet."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StandInUnavailable, match="node"):
        install()
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    monkeypatch.setattr(installed, "installed_folder", lambda: tmp_path / "stand-in")
    with pytest.raises(StandInUnavailable, match="npm"):
        install()
    assert os.listdir(tmp_path) == ["node"]  # noqa: PTH208 (names alone)
