"""Another program on the same card: OpenSC's module, logged in, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from cps_auth.card.open import find_module

DEADLINE_S = 60.0

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
