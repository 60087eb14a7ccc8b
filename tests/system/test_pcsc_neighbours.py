"""A good neighbour: other programs' sessions on the card outlive whatever only looks.

The neighbours are OpenSC's module, logged in through python-pkcs11 in a process of its own, and a
program that holds a verified PIN over PC/SC alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cps_auth.card.open import find_module, open_cards
from cps_auth.errors import CardBusy
from tests.opensc import needs_login
from tests.system.test_pcsc import OtherProgram

pytestmark = pytest.mark.system

DEADLINE_S = 60.0
_VERIFY = bytes.fromhex("0020000104") + b"1234"

_OPENSC = """
import sys
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass
slots = pkcs11.lib(sys.argv[1]).get_slots(token_present=True)
session = slots[0].get_token().open(user_pin="1234")
keys = [key for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})]
key = next(key for key in keys if bytes(key[Attribute.ID])[-1] == 2)
for _ in sys.stdin:
    try:
        print("signed", len(key.sign(b"x" * 51, mechanism=Mechanism.RSA_PKCS)), flush=True)
    except pkcs11.PKCS11Error as error:
        print("refused", type(error).__name__, flush=True)
"""

LOOKS = {
    "readers": ["readers"],
    "show": ["show"],
    "pin status": ["pin", "status"],
    "doctor": ["doctor"],
}


class OpenSc:
    """Another program, logged in to the card through OpenSC's module."""

    def __init__(self, env: dict[str, str]) -> None:
        module = str(find_module("opensc"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OPENSC, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def sign(self) -> str:
        """Sign in the session that it has had from the start."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """Leave."""
        self._process.communicate("", timeout=DEADLINE_S)


@pytest.fixture
def opensc(private_pcscd: Any) -> Iterator[OpenSc]:
    """OpenSC's session on a doctor's card."""
    private_pcscd.insert()
    neighbour = OpenSc(private_pcscd.env)
    yield neighbour
    neighbour.close()


@pytest.fixture
def run(private_pcscd: Any, igc_dir: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command of ours as a process of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        trust = () if words[0] == "readers" else ("--trust", str(igc_dir))
        return subprocess.run(
            [sys.executable, "-m", "cps_auth", *words, "--json", *trust],
            capture_output=True,
            text=True,
            env=private_pcscd.env,
            timeout=DEADLINE_S,
        )

    return run


@needs_login
@pytest.mark.parametrize("look", LOOKS)
def test_opensc_signs_again_after_a_look(opensc: OpenSc, run: Any, look: str) -> None:
    """Its session is alive, its PIN still verified, without asking for it again."""
    assert opensc.sign() == "signed 256"
    done = run(*LOOKS[look])
    assert done.returncode == 0, done.stdout + done.stderr
    assert opensc.sign() == "signed 256"


@pytest.mark.parametrize("look", LOOKS)
def test_a_verified_pin_outlives_a_look(private_pcscd: Any, run: Any, look: str) -> None:
    """A neighbour of ours that holds one, over PC/SC alone, is not reset."""
    neighbour = OtherProgram(private_pcscd.insert().reader)
    try:
        assert neighbour.transmit(_VERIFY) == b"\x90\x00"
        done = run(*LOOKS[look])
        assert done.returncode == 0, done.stdout + done.stderr
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
