"""OpenSC, which nobody here wrote, reads the virtual CPS3 behind the real pcscd."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.system


def test_opensc_names_the_card(private_pcscd) -> None:
    """OpenSC recognises the ATR as a CPS."""
    private_pcscd.insert("cps3", "doctor")
    done = subprocess.run(
        ["opensc-tool", "-n"], env=private_pcscd.env, capture_output=True, text=True, timeout=60
    )
    assert "IAS-ECC" in done.stdout, done
    print(done)
