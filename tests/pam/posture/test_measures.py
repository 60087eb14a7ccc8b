"""The six measures on prepared roots: each present, absent, and honestly unknown."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cps_auth.config import PamSettings, Settings, TrustSettings
from pam_helper.posture.facts import Facts, run_tool
from pam_helper.posture.measures import MEASURES, look
from pam_helper.posture.model import Observation, Verdict
from pam_helper.posture.page import posture_page, seen_text
from pam_helper.posture.words import MEASURE_WORDS, VERDICT_WORDS

AT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
ME = "899700000000"

LSBLK = ("lsblk", "--json", "--output", "NAME,TYPE,MOUNTPOINTS")
APT = ("apt-get", "--simulate", "-o", "Debug::NoLocking=true", "upgrade")
NFT = ("nft", "list", "ruleset")
ACTIVE = ("nmcli", "--terse", "--fields", "UUID,TYPE", "connection", "show", "--active")
_KEYS = "802-11-wireless-security.key-mgmt,802-1x.eap,ipv4.method"
CONNECTION = ("nmcli", "--terse", "--fields", _KEYS, "connection", "show", "u-1")
IDLE = ("gsettings", "get", "org.gnome.desktop.session", "idle-delay")
SAVER = ("gsettings", "get", "org.gnome.desktop.screensaver", "lock-enabled")


def _disk(root_type: str, swap_type: str = "crypt") -> str:
    """What lsblk prints of a disk whose system is on LVM, in LUKS or not."""
    system = {"name": "vg-root", "type": "lvm", "mountpoints": ["/"]}
    swap = {"name": "swap", "type": swap_type, "mountpoints": ["[SWAP]"]}
    boot = {"name": "sda1", "type": "part", "mountpoints": ["/boot"]}
    luks = {"name": "sda2_crypt", "type": root_type, "mountpoints": [None], "children": [system]}
    parts = [boot, {"name": "sda2", "type": "part", "mountpoints": [None], "children": [luks]}]
    disk = {"name": "sda", "type": "disk", "mountpoints": [None], "children": [*parts, swap]}
    return json.dumps({"blockdevices": [disk]})


FILES = {
    "etc/pam.d/common-password": "password requisite pam_pwquality.so retry=3\n",
    "etc/pam.d/common-auth": "auth sufficient pam_cps.so\n",
    "etc/security/pwquality.conf": "# minlen = 8\nminlen = 12\n",
    "etc/shadow": "root:*:20000::::::\ncamille:$y$j9T$x:20000::::::\n",
    "usr/share/xsessions/gnome.desktop": "",
    "etc/dconf/db/local.d/00-practice": (
        "[org/gnome/desktop/screensaver]\nlock-enabled=true\n"
        "[org/gnome/desktop/session]\nidle-delay=uint32 300\n"
    ),
    "etc/dconf/db/local.d/locks/practice": (
        "/org/gnome/desktop/screensaver/lock-enabled\n/org/gnome/desktop/session/idle-delay\n"
    ),
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13"\n',
    "usr/share/distro-info/debian.csv": (
        "version,codename,series,created,release,eol,eol-lts,eol-elts\n"
        "12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-06-10,2028-06-30,2033-06-30\n"
        "13,Trixie,trixie,2023-06-10,2025-08-09,2028-08-09,2030-06-30,2035-06-30\n"
        "9,Stretch,stretch,2015-04-25,2017-06-17,2020-07-18,2022-06-30,2027-06-30\n"
    ),
    "etc/apt/apt.conf.d/20auto-upgrades": 'APT::Periodic::Unattended-Upgrade "1";\n',
    "var/lib/apt/periodic/update-success-stamp": "",
    "etc/cps-auth/accounts.toml": f'[[holder]]\nps_idnat = "{ME}"\naccounts = ["camille"]\n',
}
"""A PC on which everything is as it should be."""

OUTPUTS = {
    LSBLK: _disk("crypt"),
    APT: "Reading package lists...\nInst tzdata [2025a] (2025b Debian:13/stable [all])\n",
    NFT: "table inet filter {\n chain input {\n"
    "  type filter hook input priority filter; policy drop;\n }\n}\n",
    ACTIVE: "u-1:802-3-ethernet\nu-2:loopback\n",
    CONNECTION: "802-1x.eap:tls\nipv4.method:auto\n",
}
"""What its tools print."""


class Pc:
    """A prepared root, and the recorded words of its tools."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outputs: dict[tuple[str, ...], str | None] = dict(OUTPUTS)
        self.is_root = True
        self.settings = Settings()
        for name, text in FILES.items():
            self.write(name, text)
        self.aged(timedelta(days=1))

    def write(self, name: str, text: str) -> None:
        """Write one file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def remove(self, name: str) -> None:
        """Remove one file."""
        (self.root / name).unlink()

    def aged(self, age: timedelta) -> None:
        """Let updates have been looked for so long ago."""
        stamp = (AT - age).timestamp()
        os.utime(self.root / "var/lib/apt/periodic/update-success-stamp", (stamp, stamp))

    def prints(self, command: tuple[str, ...], words: str | None) -> None:
        """Let a tool print something else; None: it is absent or fails."""
        self.outputs[command] = words

    def look(self) -> Mapping[str, Observation]:
        """Look at all measures."""
        facts = Facts(self.root, lambda *command: self.outputs.get(command), self.is_root)
        return {one.measure: one for one in look(facts, self.settings, at=AT)}


@pytest.fixture
def pc(tmp_path: Path) -> Pc:
    """A PC with all six measures."""
    return Pc(tmp_path)


def test_all_six_are_present(pc: Pc) -> None:
    """In the order of the page, and each with words."""
    found = pc.look()
    assert {one.verdict for one in found.values()} == {Verdict.PRESENT}, found
    assert list(found) == list(MEASURE_WORDS)
    assert len(MEASURES) == 6


def _without_root(pc: Pc) -> None:
    pc.is_root = False
    pc.remove("etc/shadow")


def _kde(words: str) -> Callable[[Pc], None]:
    def change(pc: Pc) -> None:
        pc.remove("usr/share/xsessions/gnome.desktop")
        pc.write("usr/share/wayland-sessions/plasma.desktop", "")
        pc.write("home/camille/.config/kscreenlockerrc", words)

    return change


def _own_gnome(enabled: str | None, delay: str | None) -> Callable[[Pc], None]:
    def change(pc: Pc) -> None:
        pc.remove("etc/dconf/db/local.d/locks/practice")
        pc.is_root = False
        pc.prints(SAVER, enabled)
        pc.prints(IDLE, delay)

    return change


def _wifi(words: str) -> Callable[[Pc], None]:
    def change(pc: Pc) -> None:
        pc.prints(ACTIVE, "u-1:802-11-wireless\n")
        pc.prints(CONNECTION, words)

    return change


def _test_cards(pc: Pc) -> None:
    pc.settings = Settings(trust=TrustSettings(folder="/opt/test-cards"))


_DCONF = "etc/dconf/db/local.d/00-practice"
_OFF = "[org/gnome/desktop/screensaver]\nlock-enabled=false\n"
_NEVER = "[org/gnome/desktop/session]\nidle-delay=uint32 0\n"

ABSENT: dict[str, tuple[str, Callable[[Pc], None]]] = {
    "no rule": ("passwords", lambda pc: pc.write("etc/pam.d/common-password", "pam_unix.so\n")),
    "a rule in a comment": (
        "passwords", lambda pc: pc.write("etc/pam.d/common-password", "# pam_pwquality.so\n")),
    "eight characters": ("passwords", lambda pc: pc.remove("etc/security/pwquality.conf")),
    "six by the line": (
        "passwords",
        lambda pc: pc.write("etc/pam.d/common-password", "pam_pwquality.so minlen=6\n")),
    "an empty password": ("passwords", lambda pc: pc.write("etc/shadow", "camille::20000::::::\n")),
    "gdm asks nobody": (
        "passwords",
        lambda pc: pc.write("etc/gdm3/daemon.conf", "[daemon]\nAutomaticLoginEnable=true\n")),
    "sddm asks nobody": (
        "passwords",
        lambda pc: pc.write("etc/sddm.conf.d/kde.conf", "[Autologin]\nUser=camille\n")),
    "GNOME's lock is off": ("lock", lambda pc: pc.write(_DCONF, _OFF)),
    "GNOME never idles": ("lock", lambda pc: pc.write(_DCONF, _NEVER)),
    "one's own lock is off": ("lock", _own_gnome("false\n", "uint32 300\n")),
    "one never idles": ("lock", _own_gnome("true\n", "uint32 0\n")),
    "KDE's lock is off": ("lock", _kde("[Daemon]\nAutolock=false\n")),
    "KDE never idles": ("lock", _kde("[Daemon]\nTimeout=0\n")),
    "a release that has ended": (
        "updates", lambda pc: pc.write("etc/os-release", 'ID=debian\nVERSION_ID="9"\n')),
    "nobody looked for a month": ("updates", lambda pc: pc.aged(timedelta(days=31))),
    "a security update waits": (
        "updates",
        lambda pc: pc.prints(APT, "Inst openssl [3.5.1] (3.5.4 Debian-Security:13/stable)\n")),
    "a restart waits": ("updates", lambda pc: pc.write("run/reboot-required", "*** restart ***\n")),
    "a plain disk": ("encryption", lambda pc: pc.prints(LSBLK, _disk("part"))),
    "a plain swap": ("encryption", lambda pc: pc.prints(LSBLK, _disk("crypt", "part"))),
    "an open Wi-Fi": ("network", _wifi("802-11-wireless-security.key-mgmt:\nipv4.method:auto\n")),
    "a hotspot": (
        "network",
        _wifi("802-11-wireless-security.key-mgmt:wpa-psk\nipv4.method:shared\n")),
    "no firewall": ("network", lambda pc: pc.prints(NFT, "")),
    "no service asks": (
        "card", lambda pc: pc.write("etc/pam.d/common-auth", "auth required pam_unix.so\n")),
    "nobody enrolled": ("card", lambda pc: pc.remove("etc/cps-auth/accounts.toml")),
    "test cards accepted": ("card", _test_cards),
}  # fmt: skip

UNKNOWN: dict[str, tuple[str, Callable[[Pc], None]]] = {
    "without root": ("passwords", _without_root),
    "another desktop": ("lock", lambda pc: pc.remove("usr/share/xsessions/gnome.desktop")),
    "everybody's own setting": (
        "lock", lambda pc: pc.remove("etc/dconf/db/local.d/locks/practice")),
    "no session to ask": ("lock", _own_gnome(None, None)),
    "no stamp of apt": (
        "updates", lambda pc: pc.remove("var/lib/apt/periodic/update-success-stamp")),
    "no apt": ("updates", lambda pc: pc.prints(APT, None)),
    "no lsblk": ("encryption", lambda pc: pc.prints(LSBLK, None)),
    "lsblk prints rubbish": ("encryption", lambda pc: pc.prints(LSBLK, '{"blockdevices": 3}')),
    "a container": ("encryption", lambda pc: pc.prints(LSBLK, '{"blockdevices": []}')),
    "a cable": ("network", lambda pc: pc.prints(CONNECTION, "ipv4.method:auto\n")),
    "one key for all": (
        "network",
        _wifi("802-11-wireless-security.key-mgmt:wpa-psk\nipv4.method:auto\n")),
    "no NetworkManager": ("network", lambda pc: pc.prints(ACTIVE, None)),
    "a connection that says nothing": ("network", _wifi("")),
    "rules without root": ("network", _without_root),
    "no nft": ("network", lambda pc: pc.prints(NFT, None)),
    "a slip in the accounts": ("card", lambda pc: pc.write("etc/cps-auth/accounts.toml", "x\n")),
}  # fmt: skip

PRESENT: dict[str, tuple[str, Callable[[Pc], None]]] = {
    "the rule is on the line": (
        "passwords",
        lambda pc: pc.write("etc/pam.d/common-password", "pam_pwquality.so minlen=14\n")),
    "one's own lock": ("lock", _own_gnome("true\n", "uint32 300\n")),
    "KDE as it comes": ("lock", _kde("[Greeter]\nTheme=x\n")),
    "an update that is none of security": ("updates", lambda pc: pc.prints(APT, "Inst a (1 x)\n")),
    "compressed memory as swap": (
        "encryption",
        lambda pc: pc.prints(LSBLK, _disk("crypt").replace('"swap"', '"zram0"'))),
    "Wi-Fi that knows its equipment": (
        "network",
        _wifi("802-11-wireless-security.key-mgmt:wpa-eap\n802-1x.eap:peap\nipv4.method:auto\n")),
    "the card is required": (
        "card",
        lambda pc: setattr(pc, "settings", Settings(pam=PamSettings(("gdm-password",))))),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_absent_is_said(pc: Pc, name: str) -> None:
    """And nothing else is blamed for it."""
    _assert_only(pc, *ABSENT[name], Verdict.ABSENT)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_told_is_no_yes(pc: Pc, name: str) -> None:
    """Not a yes, and not a no."""
    measure, change = UNKNOWN[name]
    change(pc)
    assert pc.look()[measure].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("name", PRESENT)
def test_other_ways_of_being_present(pc: Pc, name: str) -> None:
    """There is more than one way to do it right."""
    measure, change = PRESENT[name]
    change(pc)
    found = pc.look()[measure]
    assert found.verdict is Verdict.PRESENT, found


def test_each_measure_is_tried_in_all_three_ways() -> None:
    """As was asked for."""
    for cases in (ABSENT, UNKNOWN):
        assert {measure for measure, _ in cases.values()} == set(MEASURE_WORDS)


def _assert_only(pc: Pc, measure: str, change: Callable[[Pc], None], verdict: Verdict) -> None:
    before = pc.look()
    change(pc)
    after = pc.look()
    assert after[measure].verdict is verdict
    others = set(after) - {measure} - ({"lock"} if measure == "card" else set())
    for other in others:
        assert Verdict.ABSENT not in (before[other].verdict, after[other].verdict)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes rights away from itself")
def test_as_nobody_what_may_not_be_read_is_unknown() -> None:
    """Files that are there and closed: not taken for absent ones."""
    with tempfile.TemporaryDirectory(prefix="pc-") as name:
        pc = Pc(Path(name))
        pc.root.chmod(0o755)
        for closed in ("etc/shadow", "etc/pam.d/common-password", "etc/cps-auth/accounts.toml"):
            (pc.root / closed).chmod(0o600)
        pc.is_root = False
        os.seteuid(65534)
        try:
            found = pc.look()
        finally:
            os.seteuid(0)
    unknown = {name for name, one in found.items() if one.verdict is Verdict.UNKNOWN}
    assert unknown == {"passwords", "network", "card"}


def test_the_page_is_whole_french_and_signed(pc: Pc) -> None:
    """What was seen, when, by whom; nothing from elsewhere; nothing that a name could inject."""
    pc.prints(LSBLK, _disk("part"))
    pc.write("etc/shadow", "<b>::20000::::::\n")
    page = posture_page(tuple(pc.look().values()), at=AT, who="camille<i>", host="pc-1")
    assert page.startswith('<!doctype html><html lang="fr">')
    assert "01/12/2026" in page
    assert "camille&lt;i&gt;" in page
    assert "comptes sans mot de passe\u00a0: &lt;b&gt;" in page
    assert "4 mesures présentes sur 6" in page
    assert "<b>" not in page
    for word in ("src=", "http://", "https://", "<script"):
        assert word not in page
    assert page.count("<section>") == 6


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_sentence_has_its_facts(pc: Pc, language: str) -> None:
    """No placeholder is left in any of them, on any of the prepared PCs."""
    for _, change in (*ABSENT.values(), *UNKNOWN.values()):
        other = Pc(pc.root)
        change(other)
        for one in other.look().values():
            assert all("{" not in seen_text(fact, language) for fact in one.seen)
    assert set(VERDICT_WORDS) == set(Verdict)


def test_a_tool_that_is_absent_or_fails_says_nothing() -> None:
    """No traceback, and no half of an answer."""
    assert run_tool("no-such-tool-anywhere") is None
    assert run_tool("sh", "-c", "echo half; exit 3") is None
    assert run_tool("sh", "-c", 'echo "$LC_ALL"') == "C.UTF-8\n"
