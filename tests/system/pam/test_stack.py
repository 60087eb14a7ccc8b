"""The shipped PAM stack under pamtester, the daemon as a process, a virtual CPS3 behind pcscd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.pin_traces import pin_traces

pytestmark = pytest.mark.system

PrivatePcscd = Any  # the fixtures' classes live in conftest.py, which is no module to import
InstalledPc = Any
ACCOUNT = "games"
AS_NOBODY = ("setpriv", "--reuid=nobody", "--clear-groups")


def test_card_and_pin_authenticate(enrolled: InstalledPc) -> None:
    """The right PIN succeeds; the attempts left were said before, and nothing after."""
    yes, said = enrolled.pamtester(b"1234\n")
    assert yes, said + enrolled.log()
    assert "Card code (3 tries):" in said
    assert len(said.splitlines()) == 2, said  # the prompt, pamtester's own


@pytest.mark.parametrize("stack", ["cps-auth", "cps-auth-or-password"])
def test_what_a_login_calls_after_it_succeeds(enrolled: InstalledPc, stack: str) -> None:
    """A login whose credentials cannot be set is none, though card and PIN were right."""
    (enrolled.root / "etc/pam.d/whole").write_text(f"@include {stack}\nauth required pam_deny.so\n")
    seen = enrolled.pam("1234", service="whole", calls="authenticate,setcred")
    assert (seen["authenticate"], seen["setcred"]) == (0, 0), enrolled.log()
    seen = enrolled.pam("9999", service="whole", calls="authenticate,setcred")
    assert 0 not in (seen["authenticate"], seen["setcred"])


def test_a_locker_that_runs_as_the_user_authenticates(enrolled: InstalledPc) -> None:
    """The account itself may ask, without any privilege."""
    yes, said = enrolled.pamtester(b"1234\n", as_user=ACCOUNT)
    assert yes, said + enrolled.log()


def test_somebody_else_may_not_ask_for_the_account(enrolled: InstalledPc) -> None:
    """With the right card and PIN, another user's process is refused by the kernel's word."""
    yes, said = enrolled.pamtester(b"1234\n", as_user="nobody")
    assert not yes
    assert "not allowed" in said
    assert "outcome=peer-not-allowed" in enrolled.log()


@pytest.mark.parametrize(("asker", "may"), [("nobody", False), ("games", True), (None, True)])
def test_a_set_uid_program_asks_for_who_runs_it(
    enrolled: InstalledPc, asker: str | None, may: bool
) -> None:
    """What `su` is told by another user reaches no card: its privilege is not its user's."""
    (enrolled.root / "etc/pam.d/su").write_text(
        "@include cps-auth\naccount required pam_permit.so\nsession required pam_permit.so\n"
    )
    become = ["setpriv", f"--reuid={asker}", "--clear-groups"] if asker else []
    command = enrolled.in_private_mounts(*become, "su", "games", "-c", "id")
    for typed in (b"9999\n", b"1234\n"):
        subprocess.run(command, input=typed, capture_output=True, timeout=60, check=False)
        expected = 2 if may and typed == b"9999\n" else 3
        assert f"{expected} tries" in enrolled.pamtester(b"")[1]
    assert ("outcome=verified" in enrolled.log()) is may


def test_a_wrong_pin_is_refused(enrolled: InstalledPc) -> None:
    """The attempts left are told at once, and by the next prompt."""
    yes, said = enrolled.pamtester(b"9999\n")
    assert not yes
    assert "2 attempts left" in said
    assert "2 tries" in enrolled.pamtester(b"1234\n")[1]


@pytest.mark.parametrize("typed", [b"password\n", b"12345\n", b"123\n", b"\n", b""])
def test_what_is_not_a_pin_spends_no_attempt(enrolled: InstalledPc, typed: bytes) -> None:
    """Letters, too many, too few, nothing and the end of input are refused before the card."""
    assert not enrolled.pamtester(typed)[0]
    assert "3 tries" in enrolled.pamtester(b"1234\n")[1]


def test_another_account_is_refused(enrolled: InstalledPc) -> None:
    """The doctor's card does not open an account that is not the doctor's."""
    enrolled.allow("pharmacist", "nobody")
    yes, said = enrolled.pamtester(b"1234\n", account="nobody")
    assert not yes
    assert "no access here" in said


def test_no_card_is_refused_after_the_question(pc: InstalledPc) -> None:
    """A display manager that asks again at once would loop: gdm did, hundreds of times."""
    pc.allow("doctor")
    pc.start_daemon()
    yes, said = pc.pamtester(b"1234\n")
    assert not yes
    assert "no card" in said
    assert "Card code:" in said


def test_a_dead_daemon_is_refused(enrolled: InstalledPc) -> None:
    """Killed while it served, the daemon lets nobody in, and the person is told."""
    enrolled.end_daemon(signal.SIGKILL)
    yes, said = enrolled.pamtester(b"1234\n")
    assert not yes
    assert "does not answer" in said


def test_a_daemon_that_never_ran_is_refused(pc: InstalledPc) -> None:
    """Without a socket the answer is no."""
    assert not pc.pamtester(b"1234\n")[0]


@pytest.mark.parametrize(
    ("persona", "words"),
    [("revoked", "reported lost"), ("expired", "expired"), ("unknown-root", "not issued by")],
)
def test_a_card_that_is_not_good_says_why(
    pc: InstalledPc, private_pcscd: PrivatePcscd, persona: str, words: str
) -> None:
    """Revoked, expired and foreign cards are refused in different words."""
    card = private_pcscd.insert(persona=persona)
    pc.allow(persona)
    pc.start_daemon()
    yes, said = pc.pamtester(b"1234\n")
    assert not yes
    assert words in said
    assert card.card.pin_attempts_left == 3


def test_a_revoked_card_cannot_be_enrolled(pc: InstalledPc, private_pcscd: PrivatePcscd) -> None:
    """Enrolling runs the whole login, and changes nothing when it fails."""
    private_pcscd.insert(persona="revoked")
    assert pc.enrol() == 45
    assert not (pc.root / "etc/cps-auth/accounts.toml").exists()
    assert b"reported lost" in pc.output


def test_a_new_revocation_list_counts_at_once(
    pc: InstalledPc, private_pcscd: PrivatePcscd, igc_dir: Path
) -> None:
    """A daemon that runs for weeks uses the lists that are on disk now."""
    trust = pc.root / "trust"
    shutil.copytree(igc_dir, trust)
    pc.trust = trust
    private_pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    assert pc.pamtester(b"1234\n")[0]
    for crl in (trust / "crl").glob("*.crl"):
        crl.unlink()
    yes, said = pc.pamtester(b"1234\n")
    assert not yes
    assert "opposition list" in said


def test_no_output_anywhere_holds_the_pin(pc: InstalledPc, private_pcscd: PrivatePcscd) -> None:
    """Daemon, enrolment, pamtester and PAM side at DEBUG: neither right nor wrong PIN is seen."""
    private_pcscd.insert()
    pc.enrol(pin=b"1234\n")
    pc.enrol(pin=b"8642\n")
    pc.start_daemon()
    for typed in (b"1234\n", b"8642\n", b"97531\n"):
        pc.pamtester(typed)
    assert pc.end_daemon() == 0
    everything = pc.output + (pc.root / "log").read_bytes()
    assert b"outcome=verified" in everything
    for pin in (b"1234", b"8642", b"97531"):
        assert pin_traces(pin, everything.decode(errors="replace")) == []
    for path in pc.root.rglob("*"):
        if path.is_file() and path.parent != pc.root / "etc/pam.d":
            assert b"8642" not in path.read_bytes()


def test_a_daemon_that_stops_takes_its_socket_away(enrolled: InstalledPc) -> None:
    """SIGTERM ends it with 0 within its deadline, and the next one starts."""
    assert enrolled.end_daemon() == 0
    assert not (enrolled.root / "run/auth.sock").exists()
    enrolled.start_daemon()
    assert enrolled.pamtester(b"1234\n")[0]
    assert "has died" not in enrolled.log()


def test_a_second_daemon_does_not_take_the_place(enrolled: InstalledPc) -> None:
    """Two daemons on one socket would each think that they own the card."""
    done = enrolled.run("daemon", *enrolled.daemon_arguments(), module="pam_helper")
    assert done.returncode == 1
    assert b"another daemon answers there" in done.stderr
    assert enrolled.pamtester(b"1234\n")[0]


def test_check_finds_what_is_there_and_what_is_not(enrolled: InstalledPc) -> None:
    """Reader, trust, card, accounts and daemon are good; D-Bus is missing and is named."""
    found = enrolled.check()
    for link in ("settings", "reader", "trust", "card", "accounts", "daemon"):
        assert found[link], enrolled.output.decode()
    assert not found["logind"]
    os.kill(enrolled.daemon_pid, signal.SIGSTOP)
    assert not enrolled.check()["daemon"], "it takes connections and answers none"
    os.kill(enrolled.daemon_pid, signal.SIGCONT)
    enrolled.end_daemon(signal.SIGKILL)
    assert not enrolled.check()["daemon"]


def test_a_user_gets_no_answer_for_another(enrolled: InstalledPc) -> None:
    """Straight to the socket as `nobody`: refused for every account but its own."""
    script = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
        "s.sendall(sys.argv[2].encode()+b'\\n\\x041234');print(s.makefile().readline())"
    )
    for account, code in ((ACCOUNT, "peer-not-allowed"), ("root", "peer-not-allowed")):
        request = f"cps1 verify {account} x"
        socket_path = str(enrolled.root / "run/auth.sock")
        done = subprocess.run(
            [*AS_NOBODY, "/usr/bin/python3", "-c", script, socket_path, request],
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.decode().split()[1] == code
