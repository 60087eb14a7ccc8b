"""Tries a PAM stack in a folder of its own, before it goes live: `pam_start_confdir(3)` by ctypes.

Run as a program, in a process of its own: a module that crashes takes only the trial with it.
The person's part is played by somebody who answers nothing to every question.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cps_auth.errors import ConfigurationError

PAM_SUCCESS = 0
PAM_CONV_ERR = 19
"""Source: Linux-PAM 1.5, _pam_types.h."""
_WITHIN_S = 40.0
_SERVICE = "cps-auth-trial"


def try_lines(lines: Iterable[str], account: str = "root") -> None:
    """Check that a refused card leaves exactly the decision to the lines that follow.

    Args:
        lines: auth lines of a profile, without "auth", "end" for the end of its block.
        account: an account that exists; nobody answers for it, so no card and no PIN is used.

    Raises:
        ConfigurationError: the stack lets in or keeps out by itself, or PAM cannot run it.
    """
    jump = [line.replace("success=end", "success=done") for line in lines]
    for last, expected in (("pam_permit.so", True), ("pam_deny.so", False)):
        stack = [f"auth {line}" for line in jump] + [f"auth required {last}"]
        if _succeeds(stack, account) is not expected:
            raise ConfigurationError(
                f"tried in a private copy, the new lines before {last} "
                f"{'keep everybody out' if expected else 'let somebody in'}; nothing was changed"
            )


def _succeeds(stack: list[str], account: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _SERVICE).write_text("\n".join([*stack, ""]))
        try:
            done = subprocess.run(  # noqa: S603 - our own module, no shell
                [sys.executable, "-I", "-m", __name__, folder, account],
                capture_output=True,
                timeout=_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"the stack cannot be tried: {error}") from None
    if done.returncode not in (0, 1):
        said = done.stderr.decode(errors="replace")[-300:]
        raise ConfigurationError(f"the stack cannot be tried ({done.returncode}): {said}")
    return done.returncode == 0


def _authenticate(folder: str, account: str) -> int:
    """Return the PAM code of one authentication by somebody who answers nothing."""
    pam = ctypes.CDLL(ctypes.util.find_library("pam") or "libpam.so.0")
    conversation = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
    )

    class Conversation(ctypes.Structure):
        """`struct pam_conv`."""

        _fields_ = (("conv", conversation), ("appdata", ctypes.c_void_p))

    silent = conversation(lambda *_: PAM_CONV_ERR)
    handle = ctypes.c_void_p()
    code = pam.pam_start_confdir(
        _SERVICE.encode(),
        account.encode(),
        ctypes.byref(Conversation(silent, None)),
        folder.encode(),
        ctypes.byref(handle),
    )
    if code != PAM_SUCCESS:
        raise ConfigurationError(f"pam_start_confdir: {code}")
    code = pam.pam_authenticate(handle, 0)
    pam.pam_end(handle, code)
    return int(code)


if __name__ == "__main__":
    sys.exit(0 if _authenticate(*sys.argv[1:]) == PAM_SUCCESS else 1)
