"""The whole story on a virtual screen, with a picture of each state.

The pictures go to the folder named by CPS_AUTH_SCREENSHOTS, else to pytest's own.
"""

from __future__ import annotations

import os
import signal
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

    def picture(self, name: str, *options: str) -> bytes:
        """Take a picture; return its pixels, none if a window went as it was taken.

        Args:
            name: of its file.
            options: of convert(1), for the pixels only.
        """
        path = self._folder / f"{self._prefix}-{name}.png"
        command = ["import", "-silent", "-window", "root", str(path)]
        taken = subprocess.run(
            command, env=self._env, check=False, timeout=30, stderr=subprocess.DEVNULL
        )
        if taken.returncode != 0:
            return b""
        done = subprocess.run(
            ["convert", str(path), *options, "rgb:-"], capture_output=True, check=True, timeout=30
        )
        return done.stdout

    def shows(self, name: str, *, error: bool) -> bool:
        """Take a picture; whether it shows words, and those of an error: in red.

        Only in its middle: at the sides, xsecurelock 1.9 leaves rests of longer lines before.
        """
        pixels = self.picture(name, "-gravity", "center", "-crop", "30%x100%+0+0")
        colours = {pixels[i : i + 3] for i in range(0, len(pixels), 3)}
        red = any(colour[0] > 150 and colour[1] < 60 for colour in colours)
        return len(colours) > 1 and red is error


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where the pictures go."""
    folder = Path(os.environ.get("CPS_AUTH_SCREENSHOTS", tmp_path / "screens"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open_session(
    pc: InstalledPc, pcscd: PrivatePcscd, logind: MockLogind, display: str, locker: str
) -> Any:
    """Install with a locker, enrol and log in; return the card that is in the reader."""
    argv = ", ".join(f'"{word}"' for word in LOCKERS[locker])
    settings = f'[lock]\nlockers = ["command"]\ncommand = [{argv}]\nconfirm_within_s = 10.0\n'
    pc.speak("fr", settings)
    (pc.root / "etc/pam.d/i3lock").write_text("@include cps-auth\n")
    card = pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    logind.set(logind.session("c1"), Display=display)
    assert pc.pam("1234")["authenticate"] == 0, pc.log()
    return card


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
    card = _open_session(pc, private_pcscd, logind, display, locker)
    screen = Screen(display, pictures, locker)
    unlocked = screen.picture("1-unlocked")
    assert set(unlocked) == {255}, "an empty desktop is white, a covered screen is not"
    card.remove()
    _await(lambda: "command locked c1" in pc.log(), "the lock")
    has_words = locker == "xsecurelock"
    if has_words:
        _press_until_asked(screen, pc)
        screen.type("1234")
        _await(lambda: screen.shows("2-locked-no-card", error=True), "the refusal without a card")
    assert screen.picture("2-locked-no-card") != unlocked

    private_pcscd.insert(persona=card.card)
    if has_words:
        _press_until_asked(screen, pc)
        _await(lambda: screen.shows("3-asks-for-the-pin", error=False), "the prompt")
    screen.type("9999")
    _await(lambda: screen.shows("4-wrong-pin", error=True), "the refusal")
    assert card.card.pin_attempts_left == 2
    if has_words:
        _await(lambda: screen.shows("5-two-attempts-left", error=False), "the next prompt")
    else:
        _await(lambda: not screen.shows("5-ready-again", error=True), "the end of the refusal")
    screen.type("1234")
    _await(lambda: screen.picture("6-unlocked-again") == unlocked, "the screen")
    assert "outcome=verified" in pc.log().split("outcome=wrong-pin")[-1]
    assert card.card.pin_attempts_left == 3


def _press_until_asked(screen: Screen, pc: InstalledPc) -> None:
    usable = pc.log().count("outcome=question")
    deadline_s = time.monotonic() + DEADLINE_S
    while pc.log().count("outcome=question") == usable:
        assert time.monotonic() < deadline_s, "nobody asked for the PIN: " + pc.log()[-2000:]
        screen.press("Escape")
        time.sleep(0.5)
        screen.press("Shift_L")


@pytest.mark.parametrize("pulled", [True, False], ids=["locked", "open"])
@pytest.mark.parametrize("locker", LOCKERS)
def test_a_daemon_that_is_killed_leaves_one_locker(
    pc: InstalledPc,
    private_pcscd: PrivatePcscd,
    logind: MockLogind,
    display: str,
    pictures: Path,
    locker: str,
    pulled: bool,
) -> None:
    """What it left covers, and what runs behind it; the next one starts no second locker."""
    card = _open_session(pc, private_pcscd, logind, display, locker)
    screen = Screen(display, pictures, f"killed-{locker}")
    unlocked = screen.picture("1-unlocked")
    if pulled:
        card.remove()
        _await(lambda: "command locked c1" in pc.log(), "the lock")
    pc.end_daemon(signal.SIGKILL)
    pc.lock_up()
    _await(lambda: screen.picture("2-locked") != unlocked, "the cover")
    pc.start_daemon()
    _await(lambda: pc.log().count("command locked c1") == 2 + pulled, "the next daemon")
    assert "is at work" in pc.log()
    assert screen.picture("2-locked") != unlocked
    if pulled:
        private_pcscd.insert(persona=card.card)
    if locker == "xsecurelock":
        _press_until_asked(screen, pc)
        _await(lambda: screen.shows("3-asks-for-the-pin", error=False), "the prompt")
    screen.type("1234")
    _await(lambda: screen.picture("4-unlocked-again") == unlocked, "the screen")
    assert "end-session" not in pc.log()
