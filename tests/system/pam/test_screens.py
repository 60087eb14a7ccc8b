"""The whole story on a virtual screen, with a picture of each state.

The pictures go to the folder named by CPS_AUTH_SCREENSHOTS, else to pytest's own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

PrivatePcscd = Any  # the fixtures' classes live in conftest.py, which is no module to import
InstalledPc = Any
MockLogind = Any
DEADLINE_S = 20.0
LOCKERS = {
    "xsecurelock": ["/usr/bin/env", "XSECURELOCK_PAM_SERVICE=cps-auth", "xsecurelock"],
    "i3lock": ["i3lock", "--nofork", "--color=204060"],
}


def _await(condition: Callable[[], bool], what: str = "it") -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} never came true"
        time.sleep(0.05)


class Screen:
    """One X display: keys are typed on it, pictures are taken of it."""

    def __init__(self, display: str, folder: Path, prefix: str) -> None:
        self._env = {"PATH": os.environ["PATH"], "DISPLAY": display}
        self._folder = folder
        self._prefix = prefix

    def type(self, text: str) -> None:
        """Type and press Enter."""
        for command in (["type", "--delay", "30", text], ["key", "Return"]):
            subprocess.run(["xdotool", *command], env=self._env, check=True, timeout=30)

    def press(self, key: str) -> None:
        """Press one key."""
        subprocess.run(["xdotool", "key", key], env=self._env, check=True, timeout=30)

    def picture(self, name: str) -> bytes:
        """Take a picture; return its pixels."""
        path = self._folder / f"{self._prefix}-{name}.png"
        command = ["import", "-silent", "-window", "root", str(path)]
        subprocess.run(command, env=self._env, check=True, timeout=30)
        done = subprocess.run(
            ["convert", str(path), "rgb:-"], capture_output=True, check=True, timeout=30
        )
        return done.stdout

    def colours(self, name: str) -> int:
        """Take a picture; return how many colours are in it: a black screen has one."""
        pixels = self.picture(name)
        return len({pixels[i : i + 3] for i in range(0, len(pixels), 3)})


@pytest.fixture
def pc(module_pc: InstalledPc) -> InstalledPc:
    """A PC whose stack uses pam_cps.so."""
    return module_pc


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where the pictures go."""
    folder = Path(os.environ.get("CPS_AUTH_SCREENSHOTS", tmp_path / "screens"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("locker", LOCKERS)
def test_the_story_on_a_screen(
    pc: InstalledPc,
    private_pcscd: PrivatePcscd,
    logind: MockLogind,
    display: str,
    pictures: Path,
    locker: str,
) -> None:
    """Enrol, log in, pull the card: locked; wrong PIN: refused; right PIN: unlocked."""
    argv = ", ".join(f'"{word}"' for word in LOCKERS[locker])
    (pc.root / "etc/cps-auth/config.toml").write_text(
        f'language = "fr"\n[lock]\nlockers = ["command"]\ncommand = [{argv}]\n'
        "confirm_within_s = 10.0\n"
    )
    assert pc.run("install", "--root", str(pc.root)).returncode == 0, pc.output
    (pc.root / "etc/pam.d/i3lock").write_text("@include cps-auth\n")
    card = private_pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    path = logind.session("c1")
    logind.set(path, Display=display)
    assert pc.pam("1234")["authenticate"] == 0, pc.log()

    screen = Screen(display, pictures, locker)
    unlocked = screen.picture("1-unlocked")
    card.remove()
    try:
        _await(lambda: "command locked 1 of 1" in pc.log(), "the lock")
    except AssertionError:
        raise AssertionError(pc.log()[-3000:]) from None
    if locker == "xsecurelock":
        screen.press("a")
        _await(lambda: "outcome=no-card" in pc.log(), "the question without a card")
        _await(lambda: screen.colours("2-locked-no-card") > 1, "words on the screen")
    else:
        assert screen.picture("2-locked-no-card") != unlocked
    assert screen.picture("2-locked-no-card") != unlocked

    private_pcscd.insert(persona=card.card)
    if locker == "xsecurelock":
        _press_until_asked(screen, pc)
        _await(lambda: screen.colours("3-card-back-asks-for-pin") > 1, "the prompt")
    screen.type("9999")
    _await(lambda: "outcome=wrong-pin" in pc.log(), "the wrong PIN")
    _await(lambda: screen.colours("4-wrong-pin") > 1, "the refusal")
    assert card.card.pin_attempts_left == 2
    if locker == "xsecurelock":
        usable = pc.log().count("outcome=usable")
        _await(lambda: pc.log().count("outcome=usable") > usable or _asks(pc), "the next prompt")
        _await(lambda: screen.colours("5-two-attempts-left") > 1, "the prompt with the number")
    else:
        _await(lambda: "outcome=wrong-pin" in pc.log(), "i3lock's refusal")
        time.sleep(2.5)  # i3lock takes no key while it shows that the last one was wrong
    verified = pc.log().count("outcome=verified")
    screen.type("1234")
    _await(lambda: pc.log().count("outcome=verified") > verified, "the right PIN")
    _await(lambda: screen.picture("6-unlocked-again") == unlocked, "the screen")
    assert card.card.pin_attempts_left == 3


def _press_until_asked(screen: Screen, pc: InstalledPc) -> None:
    usable = pc.log().count("outcome=usable")
    deadline_s = time.monotonic() + DEADLINE_S
    while pc.log().count("outcome=usable") == usable:
        assert time.monotonic() < deadline_s, "nobody asked for the PIN: " + pc.log()[-2000:]
        screen.press("Escape")
        time.sleep(0.5)
        screen.press("Shift_L")


def _asks(pc: InstalledPc) -> bool:
    lines = [line for line in pc.log().splitlines() if "verb=" in line]
    return bool(lines) and "verb=probe" in lines[-1]
