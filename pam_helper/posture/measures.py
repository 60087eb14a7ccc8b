"""The six measures, each one function from facts to what a PC can say of it. No change is made."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

from cps_auth.config import Settings
from cps_auth.errors import ConfigurationError
from pam_helper.accounts.accounts import ACCOUNTS_PATH, read_accounts
from pam_helper.posture.desktop_lock import desktop_locks
from pam_helper.posture.facts import Facts, settings_in
from pam_helper.posture.model import Observation, Seen, observe
from pam_helper.posture.network import network
from pam_helper.setup.profile import services_that_use_us, under

MIN_PASSWORD = 12
LISTS_FRESH_FOR = timedelta(days=7)
_MOUNTS = ("/", "/home", "/var", "[SWAP]")


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_NO_RULE = _("new passwords may be of any kind: pam_pwquality is not in use")
_RULE = _("new passwords have at least {count} characters (pam_pwquality)")
_SHORT_RULE = _("new passwords may have only {count} characters (pam_pwquality)")
_EMPTY = _("accounts without a password: {accounts}")
_NONE_EMPTY = _("no account without a password")
_SHADOW = _("only root sees whether an account has no password")
_AUTOLOGIN = _("{file} opens a session without asking anybody")
_PAM_UNREADABLE = _("{file} may not be read")
_NO_IDLE_LOCK = _("the screen does not lock by itself: {places}")
_IDLE_LOCK = _("the screen locks by itself: {places}")
_IDLE_UNKNOWN = _("whether the screen locks by itself is each person's own setting here")
_NO_DESKTOP = _("no desktop that this program knows")
_PULL_LOCK = _("the screen locks when the card is pulled")
_END = _("{release} gets no security updates since {date}")
_SUPPORTED = _("{release} gets security updates until {date}")
_LISTS_OLD = _("updates were last looked for on {date}")
_LISTS_NEW = _("updates were looked for on {date}")
_LISTS_UNKNOWN = _("when updates were last looked for cannot be told")
_PENDING = _("{count} security updates wait")
_NONE_PENDING = _("no security update waits")
_PENDING_UNKNOWN = _("apt does not say which updates wait")
_REBOOT = _("updates wait for a restart")
_UNATTENDED = _("security updates install themselves (unattended-upgrades)")
_PLAIN = _("not encrypted: {places}")
_ENCRYPTED = _("encrypted (LUKS): {places}")
_DISK_UNKNOWN = _("lsblk does not say on which disk the system is")
_CARD_UNUSED = _("no login service asks for the card")
_CARD_USED = _("the card opens: {services}")
_ENROLLED = _("{count} accounts are opened by a card")
_NOBODY = _("no card opens any account")
_ACCOUNTS_ROOT = _("only root sees whose card opens which account")
_REQUIRED = _("no password counts in: {services}")
_OTHER_TRUST = _("cards of other authorities than the IGC-Santé are accepted: {folder}")


def passwords(facts: Facts, _settings: Settings, _at: datetime) -> Observation:
    """Look at the rule for new passwords, empty passwords and automatic logins."""
    good, bad, unknown = list[Seen](), list[Seen](), list[Seen]()
    file = "etc/pam.d/common-password"
    lines = facts.lines(file)
    if lines is None:
        unknown.append(Seen(_PAM_UNREADABLE, {"file": f"/{file}"}))
    elif not (rules := [line for line in lines if "pam_pwquality.so" in line]):
        bad.append(Seen(_NO_RULE))
    else:
        count = _least_characters(facts, rules[0])
        is_long = count >= MIN_PASSWORD
        (good if is_long else bad).append(Seen(_RULE if is_long else _SHORT_RULE, {"count": count}))
    shadow = facts.lines("etc/shadow")
    if not shadow:
        unknown.append(Seen(_SHADOW))
    elif empty := [line.split(":")[0] for line in shadow if line.split(":")[1:2] == [""]]:
        bad.append(Seen(_EMPTY, {"accounts": ", ".join(empty)}))
    else:
        good.append(Seen(_NONE_EMPTY))
    bad += [Seen(_AUTOLOGIN, {"file": f"/{file}"}) for file in _automatic_logins(facts)]
    return observe("passwords", good=good, bad=bad, unknown=unknown)


def _least_characters(facts: Facts, rule: str) -> int:
    """Return pam_pwquality's minlen: of its line, else of its files, else its default."""
    lines = facts.lines("etc/security/pwquality.conf") or []
    for file in facts.files("etc/security/pwquality.conf.d/*.conf"):
        lines += facts.lines(file) or []
    found = re.findall(r"\bminlen\s*=\s*(\d+)", "\n".join([*lines, rule]))
    return int(found[-1]) if found else 8


def _automatic_logins(facts: Facts) -> Iterator[str]:
    for file in ("etc/gdm3/daemon.conf", "etc/gdm3/custom.conf"):
        daemon = settings_in(facts.lines(file) or [], "daemon")
        if daemon.get("AutomaticLoginEnable", "").lower() in ("true", "1"):
            yield file
    for file in ("etc/sddm.conf", *facts.files("etc/sddm.conf.d/*.conf")):
        if settings_in(facts.lines(file) or [], "Autologin").get("User"):
            yield file


def lock(facts: Facts, _settings: Settings, _at: datetime) -> Observation:
    """Look at the lock of an idle screen, and at the one of a pulled card."""
    good, bad, unknown = list[Seen](), list[Seen](), list[Seen]()
    found = desktop_locks(facts)
    off = [place for place, is_on in found.items() if is_on is False]
    on = [place for place, is_on in found.items() if is_on]
    if off:
        bad.append(Seen(_NO_IDLE_LOCK, {"places": ", ".join(off)}))
    elif not found:
        unknown.append(Seen(_NO_DESKTOP))
    elif len(on) < len(found):
        unknown.append(Seen(_IDLE_UNKNOWN))
    if on:
        good.append(Seen(_IDLE_LOCK, {"places": ", ".join(on)}))
    if services_that_use_us(facts.root):
        good.append(Seen(_PULL_LOCK))
    return observe("lock", good=good, bad=bad, unknown=unknown)


def updates(facts: Facts, _settings: Settings, at: datetime) -> Observation:
    """Look at the release's end, apt's last look, what waits, and whether a restart does."""
    good, bad, unknown = list[Seen](), list[Seen](), list[Seen]()
    if (end := _release_end(facts)) is not None:
        release, last = end
        words = {"release": release, "date": last}
        is_over = last < at.date()
        (bad if is_over else good).append(Seen(_END if is_over else _SUPPORTED, words))
    looked = facts.changed_at("var/lib/apt/periodic/update-success-stamp") or facts.changed_at(
        "var/cache/apt/pkgcache.bin"
    )
    if looked is None:
        unknown.append(Seen(_LISTS_UNKNOWN))
    else:
        is_old = at - looked > LISTS_FRESH_FOR
        words = {"date": looked.date()}
        (bad if is_old else good).append(Seen(_LISTS_OLD if is_old else _LISTS_NEW, words))
    waiting = facts.run("apt-get", "--simulate", "-o", "Debug::NoLocking=true", "upgrade")
    if waiting is None:
        unknown.append(Seen(_PENDING_UNKNOWN))
    elif count := sum("security" in line.lower() for line in _installed(waiting)):
        bad.append(Seen(_PENDING, {"count": count}))
    else:
        good.append(Seen(_NONE_PENDING))
    if facts.text("run/reboot-required") not in ("", None):
        bad.append(Seen(_REBOOT))
    if _installs_itself(facts):
        good.append(Seen(_UNATTENDED))
    return observe("updates", good=good, bad=bad, unknown=unknown)


def _installed(simulated: str) -> list[str]:
    return [line for line in simulated.splitlines() if line.startswith("Inst ")]


def _installs_itself(facts: Facts) -> bool:
    periodic = "\n".join(
        line for file in facts.files("etc/apt/apt.conf.d/*") for line in facts.lines(file) or []
    )
    return bool(re.search(r'APT::Periodic::Unattended-Upgrade\s+"[1-9]', periodic))


def _release_end(facts: Facts) -> tuple[str, date] | None:
    """Return this release's name and the last day of its security updates, LTS included.

    Source: distro-info-data, the package that keeps those days.
    """
    told = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', facts.text("etc/os-release") or "", re.M))
    table = facts.text(f"usr/share/distro-info/{told.get('ID', '')}.csv")
    for row in csv.DictReader((table or "").splitlines()):
        if row.get("version", "").split(" ")[0] == told.get("VERSION_ID"):
            last = row.get("eol-lts") or row.get("eol")
            if last and re.fullmatch(r"\d{4}-\d\d-\d\d", last):
                return told.get("PRETTY_NAME", ""), date.fromisoformat(last)
    return None


def encryption(facts: Facts, _settings: Settings, _at: datetime) -> Observation:
    """Look whether system, homes and swap lie on LUKS."""
    good, bad, unknown = list[Seen](), list[Seen](), list[Seen]()
    printed = facts.run("lsblk", "--json", "--output", "NAME,TYPE,MOUNTPOINTS")
    try:
        tree = json.loads(printed or "")["blockdevices"]
        places = dict(_encrypted_places(tree, is_encrypted=False))
    except (ValueError, KeyError, TypeError, AttributeError):
        places = {}
    ours = {place: places[place] for place in _MOUNTS if place in places}
    if "/" not in ours:
        unknown.append(Seen(_DISK_UNKNOWN))
    if plain := [place for place, is_encrypted in ours.items() if not is_encrypted]:
        bad.append(Seen(_PLAIN, {"places": ", ".join(plain)}))
    if hidden := [place for place, is_encrypted in ours.items() if is_encrypted]:
        good.append(Seen(_ENCRYPTED, {"places": ", ".join(hidden)}))
    return observe("encryption", good=good, bad=bad, unknown=unknown)


def _encrypted_places(devices: list[Any], *, is_encrypted: bool) -> Iterator[tuple[str, bool]]:
    for device in devices:
        in_memory = str(device.get("name", "")).startswith("zram")
        hidden = is_encrypted or device.get("type") == "crypt" or in_memory
        for place in device.get("mountpoints") or []:
            if place:
                yield str(place), hidden
        yield from _encrypted_places(device.get("children") or [], is_encrypted=hidden)


def card(facts: Facts, settings: Settings, _at: datetime) -> Observation:
    """Look whether the card opens sessions, whose, and under which authorities."""
    good, bad, unknown = list[Seen](), list[Seen](), list[Seen]()
    services = sorted(services_that_use_us(facts.root))
    if services:
        good.append(Seen(_CARD_USED, {"services": ", ".join(services)}))
    else:
        bad.append(Seen(_CARD_UNUSED))
    try:
        count = len(read_accounts(under(facts.root, ACCOUNTS_PATH)).names())
    except ConfigurationError as error:
        is_private = error.cause == "not-readable"
        unknown.append(Seen(_ACCOUNTS_ROOT) if is_private else Seen("{what}", {"what": error.what}))
    else:
        (good if count else bad).append(Seen(_ENROLLED if count else _NOBODY, {"count": count}))
    if required := settings.pam.card_required:
        good.append(Seen(_REQUIRED, {"services": ", ".join(required)}))
    if settings.trust.folder:
        bad.append(Seen(_OTHER_TRUST, {"folder": settings.trust.folder}))
    return observe("card", good=good, bad=bad, unknown=unknown)


MEASURES: tuple[Callable[[Facts, Settings, datetime], Observation], ...] = (
    passwords,
    lock,
    updates,
    encryption,
    network,
    card,
)
"""In the order of the page."""


def look(facts: Facts, settings: Settings, *, at: datetime) -> tuple[Observation, ...]:
    """Look at all six.

    Args:
        facts: of this PC.
        settings: of cps-auth.
        at: now, aware.
    """
    return tuple(measure(facts, settings, at) for measure in MEASURES)
