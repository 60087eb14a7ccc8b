"""One-time codes, and what a bad daemon cannot do to a login program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

PrivatePcscd = Any  # the fixtures' classes live in conftest.py, which is no module to import
InstalledPc = Any
AS_NOBODY = ("setpriv", "--reuid=nobody", "--clear-groups")
SUCCESS, SYSTEM_ERR, AUTH_ERR, USER_UNKNOWN = 0, 4, 7, 10
"""Linux-PAM 1.5, _pam_types.h."""


def test_a_one_time_code_lets_in_once(pc: InstalledPc) -> None:
    """Typed where the card's code is asked for, and told of its use."""
    pc.allow("doctor")
    pc.start_daemon()
    place = str(pc.root / "var/lib/cps-auth/codes.json")
    code = pc.run("pc", "code", "games", "--codes", place).stdout.decode().split()[0]
    seen = pc.pam(code.lower())
    assert seen["authenticate"] == SUCCESS, seen
    assert seen["said"][-2] == ["prompt", "Card code: "]
    assert seen["said"][-1][0] == "info"
    assert "ONE-TIME CODE USED for account games" in pc.log()
    assert code.replace("-", "") not in pc.log()
    assert pc.pam(code)["authenticate"] == AUTH_ERR


def test_who_comes_from_afar_is_not_in_front_of_the_reader(
    pc: InstalledPc, private_pcscd: PrivatePcscd
) -> None:
    """The card in the reader is another's then; nobody is asked, and nothing is told."""
    private_pcscd.insert()
    pc.allow("doctor")
    pc.start_daemon()
    afar = pc.pam("1234", host="192.0.2.1")
    assert afar["authenticate"] == USER_UNKNOWN
    assert afar["said"] == []
    assert "verb=" not in pc.log()
    assert pc.pam("1234", host="localhost")["authenticate"] == SUCCESS


class Impostor:
    """Root's daemon gone bad: answers every connection with the same bytes."""

    def __init__(
        self, path: Path, reply: bytes, *, linger: bool = False, alive: bool = True
    ) -> None:
        script = (
            "import socket,sys\n"
            "s=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);s.listen(9);print(flush=True)\n"
            "keep=[]\n"
            "while True:\n"
            "  c,_=s.accept();asked=c.recv(4096)\n"
            "  asks=b' ask ' in asked or b' require ' in asked\n"
            "  alive=b'PAM_AUTHINFO_UNAVAIL alive - -\\n'*asks*len(sys.argv[4])\n"
            "  try: c.sendall(alive + bytes.fromhex(sys.argv[2]))\n"
            "  except OSError: pass\n"
            "  keep.append(c) if sys.argv[3] else c.close()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", script, str(path), reply.hex(), "x" * linger, "x" * alive],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@pytest.mark.parametrize(
    "reply",
    [
        b"PAM_SUCCESS verified - -",
        b"PAM_SUCCESS verified - -\nmore\n",
        b"PAM_SUCCESS question 3 any\n",
        b"PAM_SUCCESS question 3 any\nPIN\n",
        b"PAM_SUCCESS code-accepted - any+code\nCode\n",
        b"PAM_IGNORE question 3 any\nPIN\n",
        b"25 question 3 any\nPIN\n",
        b"0 0 0 0\n",
        b"\0" * 100,
        b"PAM_SUCCESS verified - -\n" * 400,
        b"\n",
    ],
)
def test_no_other_words_open(pc: InstalledPc, reply: bytes) -> None:
    """Whatever root's socket says but the one line, at any step, is no login and never IGNORE."""
    impostor = Impostor(pc.root / "run/auth.sock", reply)
    try:
        seen = pc.pam("1234")
    finally:
        impostor.stop()
    assert seen["authenticate"] in (SYSTEM_ERR, AUTH_ERR)


def test_what_does_not_say_first_that_it_runs_is_no_daemon(pc: InstalledPc) -> None:
    """Its question is not put to anybody; the module's own is, and the answer goes nowhere."""
    reply = b"PAM_SUCCESS question 3 card\nPIN\n"
    for alive, code, asked in (
        (False, AUTH_ERR, "Card code: "),
        (True, AUTH_ERR, "PIN "),
    ):
        said = reply if alive else b"PAM_AUTHINFO_UNAVAIL alive - x\n" + reply
        impostor = Impostor(pc.root / "run/auth.sock", said, alive=alive)
        try:
            seen = pc.pam("not a PIN")
        finally:
            impostor.stop()
            (pc.root / "run/auth.sock").unlink()
        assert seen["authenticate"] == code
        assert seen["said"][0] == ["prompt", asked]


def test_another_users_socket_sees_no_pin(pc: InstalledPc) -> None:
    """Who listens is asked of the kernel before anything is sent."""
    (pc.root / "run").chmod(0o777)
    script = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);s.listen();"
        "print('up',flush=True);c,_=s.accept();print(c.recv(99),flush=True)"
    )
    impostor = subprocess.Popen(
        [*AS_NOBODY, "/usr/bin/python3", "-c", script, str(pc.root / "run/auth.sock")],
        stdout=subprocess.PIPE,
    )
    try:
        assert impostor.stdout is not None
        assert impostor.stdout.readline() == b"up\n"
        (pc.root / "run/auth.sock").chmod(0o666)
        assert pc.pam("1234")["authenticate"] == AUTH_ERR
        assert impostor.stdout.readline() == b"b''\n"
    finally:
        impostor.kill()
        impostor.communicate()


def test_a_daemon_that_never_answers_is_given_up(pc: InstalledPc) -> None:
    """One whose card never answers holds a login program for its deadline, not for ever."""
    impostor = Impostor(pc.root / "run/auth.sock", b"", linger=True)
    started_s = time.monotonic()
    try:
        assert pc.pam("1234")["authenticate"] == AUTH_ERR
    finally:
        impostor.stop()
    assert 4 < time.monotonic() - started_s < 35


def test_a_stopped_daemon_holds_nobody_up(enrolled: InstalledPc) -> None:
    """It is asked whether it is there before anything else; once it goes on, all is as before."""
    os.kill(enrolled.daemon_pid, signal.SIGSTOP)
    started_s = time.monotonic()
    try:
        seen = enrolled.pam("1234")
    finally:
        took_s = time.monotonic() - started_s
        os.kill(enrolled.daemon_pid, signal.SIGCONT)
    assert seen["authenticate"] == AUTH_ERR
    assert seen["said"][-1] == ["error", "The CPS card service does not answer."]
    assert took_s < 10, "as long as a card may take"
    assert enrolled.pam("1234")["authenticate"] == SUCCESS
