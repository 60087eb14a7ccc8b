"""What the package puts on a system: units, stacks, profile, and the constants of pam_cps.so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import pam_helper
from cps_auth.config import PamSettings, Settings, read_settings
from pam_helper.daemon import protocol
from pam_helper.daemon.pam_results import PAM_RESULTS

SHARE = Path(pam_helper.__file__).parent / "share"


def _lines(name: str) -> list[str]:
    text = (SHARE / name).read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_the_shipped_settings_are_the_defaults(tmp_path: Path) -> None:
    """The example file is valid as shipped, and with every line switched on."""
    shipped, full = tmp_path / "shipped.toml", tmp_path / "full.toml"
    shipped.write_text((SHARE / "config.toml").read_text())  # a checkout's mode is its umask's
    assert read_settings(shipped) == Settings()
    lines = shipped.read_text().splitlines()
    full.write_text("\n".join(re.sub(r"^# (?=\[|\w+ +=)", "", line) for line in lines))
    settings = read_settings(full)
    assert settings.lock.command == ("/usr/bin/xsecurelock",)
    assert settings.lock.confirm_within_s == Settings().lock.confirm_within_s
    assert settings.pam == PamSettings(("xsecurelock",))


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say against them, and the daemon is what they run."""
    units = []
    for unit in (SHARE / "systemd").iterdir():
        text = unit.read_text().replace("@PYTHON@", "/usr/bin/python3")
        units.append(tmp_path / unit.name)
        units[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if "cps-auth" in line]
    assert (done.returncode, said) == (0, []), done.stderr
    assert "ExecStart=@PYTHON@ -I -m pam_helper daemon" in _lines("systemd/cps-auth.service")


def test_the_package_knows_the_timers_time_zone() -> None:
    """A timer in a zone that the system does not know never starts: bare Debians have no tzdata."""
    root = SHARE.parents[1]
    (timer,) = (root / "cps_auth/share/systemd").glob("*.timer")
    assert re.search(r"^OnCalendar=.* [A-Z]\w+/\w+$", timer.read_text(), re.MULTILINE)
    assert " tzdata,\n" in (root / "packaging/debian/control").read_text()


def test_the_stack_can_only_succeed_in_one_place() -> None:
    """Card required: one line ends with success, everything else dies, the last one denies."""
    *first, last = _lines("pam.d/cps-auth")
    assert sum("success=done" in line for line in first) == 1
    assert all("default=die]" in line for line in first)
    assert last == "auth required pam_deny.so"


def test_the_profile_is_off_until_it_is_chosen() -> None:
    """Installing the package changes no login; only what is not for the card leads on."""
    lines = _lines("pam-configs/cps-auth")
    assert "Default: no" in lines
    (line,) = [line for line in lines if "pam_" in line]
    control, module = line.strip("\t[").split("] ")
    assert module == "pam_cps.so"
    actions = dict(word.split("=") for word in control.split())
    assert actions.pop("success") == "end"
    assert actions.pop("default") == "ignore", "without the module the password still counts"
    refused = {result.removeprefix("PAM_").lower() for result in PAM_RESULTS.values()}
    assert set(actions) == refused - {"system_err"}, "the person is not asked a second time"
    assert set(actions.values()) == {"die"}


@pytest.mark.parametrize("name", ["49-cps-auth-only-daemon.rules", "50-cps-auth.rules"])
def test_a_polkit_rule_speaks_of_pcscd_alone(name: str) -> None:
    """No other action is decided, and one rule lets in a group and nobody else."""
    text = (SHARE / "polkit" / name).read_text()
    actions = {f"org.debian.pcsc-lite.access_{what}" for what in ("card", "pcsc")}
    assert set(re.findall(r'action\.id === "([^"]+)"', text)) == actions
    assert ("polkit.Result.YES" in text) is ('subject.isInGroup("cps-auth")' in text)


def test_pam_cps_speaks_the_daemons_protocol() -> None:
    """The constants that stand in both programs, by necessity, are the same."""
    source = (SHARE / "pam_cps/pam_cps.c").read_text()
    verified = b"PAM_SUCCESS verified - -\n"
    assert protocol.encode_reply(protocol.VERIFIED) == verified
    assert f'"{verified.decode().rstrip()}\\n"' in source
    assert f'SOCKET_PATH "{protocol.SOCKET_PATH}"' in source
    assert f"CODE_CHARACTERS {protocol.CODE_CHARACTERS}\n" in source
    assert f"PIN_DIGITS {protocol.PIN_DIGITS}\n" in source
    alive = protocol.encode_reply(protocol.ALIVE).decode().rstrip()
    assert f'ALIVE_LINE "{alive}\\n"' in source
    assert f"MAX_REPLY {protocol.MAX_REPLY_BYTES}\n" in (SHARE / "pam_cps/reply.h").read_text()
