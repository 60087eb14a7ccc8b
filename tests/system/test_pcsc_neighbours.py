"""A good neighbour: other programs' sessions on the card outlive whatever only looks.

The neighbours are OpenSC's module, logged in through python-pkcs11 in a process of its own, and a
program that holds a verified PIN over PC/SC alone. PAM's question who is there looks, too:
`tests/system/pam/test_neighbours.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cps_auth.card.open import open_cards
from cps_auth.errors import CardBusy
from cps_auth.flask import CpsLogin
from cps_auth.pki.judge import folder_judge
from tests.opensc import needs_login
from tests.system.neighbours import DEADLINE_S, OpenSc
from tests.system.test_pcsc import OtherProgram

pytestmark = pytest.mark.system

_VERIFY = bytes.fromhex("0020000104") + b"1234"

LOOKS = {
    "readers": ["readers"],
    "show": ["show"],
    "pin status": ["pin", "status"],
    "doctor": ["doctor"],
}

Look = Callable[[], None]


@pytest.fixture
def opensc(private_pcscd: Any) -> Iterator[OpenSc]:
    """OpenSC's session on a doctor's card."""
    private_pcscd.insert()
    neighbour = OpenSc(private_pcscd.env)
    yield neighbour
    neighbour.close()


@pytest.fixture(params=[*LOOKS, "Flask's login page"])
def look(request: pytest.FixtureRequest, private_pcscd: Any, igc_dir: Path, tmp_path: Path) -> Look:
    """Whatever only looks at the card: a command, or the login page of an application."""

    def run_command() -> None:
        words = LOOKS[request.param]
        trust = () if words[0] == "readers" else ("--trust", str(igc_dir))
        done = subprocess.run(
            [sys.executable, "-m", "cps_auth", *words, "--json", *trust],
            capture_output=True,
            text=True,
            env=private_pcscd.env,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def open_login_page() -> None:
        app = Flask("practice")
        app.config.update(
            SECRET_KEY="a key for tests",
            CPS_ORIGIN="http://127.0.0.1:5000",
            CPS_DATABASE=tmp_path / "practice.sqlite3",
        )
        login = CpsLogin(app, cards=open_cards(), judge=folder_judge(igc_dir))
        try:
            page = app.test_client().get("/cps/login", base_url="http://127.0.0.1:5000")
            assert "LAVERGNE" in page.text
        finally:
            login.stop(app)

    return run_command if request.param in LOOKS else open_login_page


@needs_login
def test_opensc_signs_again_after_a_look(opensc: OpenSc, look: Look) -> None:
    """Its session is alive, its PIN still verified, without asking for it again."""
    assert opensc.sign() == "signed 256"
    look()
    assert opensc.sign() == "signed 256"


def test_a_verified_pin_outlives_a_look(private_pcscd: Any, look: Look) -> None:
    """A neighbour of ours that holds one, over PC/SC alone, is not reset."""
    neighbour = OtherProgram(private_pcscd.insert().reader)
    try:
        assert neighbour.transmit(_VERIFY) == b"\x90\x00"
        look()
        assert neighbour.transmit(bytes.fromhex("0020000100")) == b"\x90\x00"
    finally:
        neighbour.close()


def test_a_login_forgets_the_pin(private_pcscd: Any, challenge: Any) -> None:
    """What was verified for it is verified for nobody else: the card is reset."""
    neighbour = OtherProgram(private_pcscd.insert().reader)
    try:
        with open_cards().open_card() as card:
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert neighbour.pin_status() == b"\x63\xc3"
    finally:
        neighbour.close()


def test_who_holds_the_card_is_named(private_pcscd: Any) -> None:
    """A program that keeps it is waited for, and named where the system tells."""
    reader = private_pcscd.insert().reader
    program = (
        "import sys; from smartcard import scard\n"
        "_, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)\n"
        "_, handle, _ = scard.SCardConnect(context, sys.argv[1], 2, 3)\n"
        "assert scard.SCardBeginTransaction(handle) == 0\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, reader],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=private_pcscd.env,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(CardBusy) as busy:
        open_cards().open_card()
    holder.communicate("", timeout=DEADLINE_S)
    assert not busy.value.held_by or any("python" in name for name in busy.value.held_by)
    with open_cards().open_card() as card:
        assert card.pin_attempts_left() == 3
