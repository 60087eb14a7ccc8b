"""pam_cps.so under Linux-PAM: exact codes, what is shown, and no error of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pam_helper

pytestmark = pytest.mark.system

PrivatePcscd = Any  # the fixtures' classes live in conftest.py, which is no module to import
InstalledPc = Any
AS_NOBODY = ("setpriv", "--reuid=nobody", "--clear-groups")
SUCCESS, SYSTEM_ERR, PERM_DENIED, AUTH_ERR = 0, 4, 6, 7
USER_UNKNOWN, MAXTRIES, CRED_EXPIRED, CONV_ERR = 10, 11, 16, 19
"""Linux-PAM 1.5, _pam_types.h."""
HOW_LAST = "One try is left for this card. To use it, type ! and then the code."
SOURCES = Path(pam_helper.__file__).parent / "share/pam_cps"
PROMPT = "Card code (3 tries): "


def test_card_and_pin_authenticate_silently(enrolled: InstalledPc) -> None:
    """The prompt carries the attempts left; nothing else is said, and every call succeeds."""
    calls = "authenticate,setcred,acct_mgmt,open_session,close_session"
    (enrolled.root / "etc/pam.d/whole").write_text(
        "".join(
            f"{kind} required pam_cps.so card_required\n" for kind in ("auth", "account", "session")
        )
    )
    seen = enrolled.pam("1234", service="whole", calls=calls)
    assert [seen[call] for call in calls.split(",")] == [SUCCESS] * 5, enrolled.log()
    assert seen["said"] == [["prompt", PROMPT]]


def test_pamtester_agrees(enrolled: InstalledPc) -> None:
    """The same through pamtester, as root and as the user's own locker."""
    for as_user in (None, "games"):
        yes, said = enrolled.pamtester(b"1234\n", as_user=as_user)
        assert yes, said + enrolled.log()
    assert not enrolled.pamtester(b"9999\n")[0]
    assert not enrolled.pamtester(b"")[0]


def test_a_wrong_pin_tells_the_attempts(enrolled: InstalledPc) -> None:
    """PAM_AUTH_ERR with the number, and the next prompt carries it."""
    seen = enrolled.pam("9999")
    assert seen["authenticate"] == AUTH_ERR
    assert ["error", "2 attempts left."] in seen["said"]
    assert enrolled.pam("9999")["said"][0][1] == "Card code (2 tries): "
    last = enrolled.pam("1234")
    assert last["authenticate"] == MAXTRIES
    assert last["said"][:2] == [["info", HOW_LAST], ["prompt", "Last try: !code: "]]
    assert enrolled.pam("!1234")["authenticate"] == SUCCESS
    assert enrolled.pam("")["said"][0][1] == PROMPT


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("", AUTH_ERR),
        ("NULL", AUTH_ERR),
        ("FAIL", CONV_ERR),
        ("password", AUTH_ERR),
        ("12345", AUTH_ERR),
        ("123", AUTH_ERR),
        ("１２３４", AUTH_ERR),
        ("!123", AUTH_ERR),
        ("1" * 500, AUTH_ERR),
    ],
)
def test_what_is_not_a_pin_spends_no_attempt(enrolled: InstalledPc, answer: str, code: int) -> None:
    """Nothing, NULL, a conversation that fails, a password: refused, and the card hears nothing."""
    seen = enrolled.pam(answer)
    assert seen["authenticate"] == code
    assert "outcome=pin-malformed" not in enrolled.log()
    assert enrolled.pam("1234") == {"said": [["prompt", PROMPT]], "start": 0, "authenticate": 0}


@pytest.mark.parametrize(
    ("persona", "code", "words"),
    [
        ("revoked", PERM_DENIED, "reported lost"),
        ("expired", CRED_EXPIRED, "expired"),
        ("unknown-root", AUTH_ERR, "not issued by"),
        ("pin-blocked", MAXTRIES, "blocked"),
        ("last-attempt", MAXTRIES, "type ! and then the code"),
    ],
)
def test_each_refusal_has_its_code_and_words(
    pc: InstalledPc, private_pcscd: PrivatePcscd, persona: str, code: int, words: str
) -> None:
    """Asked once, and told why it did not do; revoked is not told as expired."""
    card = private_pcscd.insert(persona=persona)
    before = card.card.pin_attempts_left
    pc.allow(persona)
    pc.start_daemon()
    seen = pc.pam("1234")
    assert seen["authenticate"] == code
    assert words in str(seen["said"])
    assert [style for style, _ in seen["said"]].count("prompt") == 1
    assert card.card.pin_attempts_left == before


def test_no_card_no_daemon_no_account_from_afar(
    pc: InstalledPc, private_pcscd: PrivatePcscd
) -> None:
    """Nothing to authenticate with is PAM_AUTH_ERR; strangers and guests get their own."""
    assert pc.pam("1234")["authenticate"] == AUTH_ERR  # never started
    pc.allow("doctor")
    pc.start_daemon()
    seen = pc.pam("1234")
    assert seen["authenticate"] == AUTH_ERR
    assert "no card" in str(seen["said"])
    private_pcscd.insert()
    assert pc.pam("1234", as_user="nobody")["authenticate"] == PERM_DENIED
    assert pc.pam("1234", account="-x")["authenticate"] == USER_UNKNOWN
    assert pc.pam("1234", account="a b")["authenticate"] == USER_UNKNOWN
    assert pc.pam("1234", account="man")["authenticate"] == PERM_DENIED  # where it is required
    afar = pc.pam("1234", host="192.0.2.1")
    assert (afar["authenticate"], afar["said"]) == (USER_UNKNOWN, [])
    assert pc.pam("1234", host="localhost")["authenticate"] == SUCCESS
    pc.end_daemon(signal.SIGKILL)
    dead = pc.pam("1234")
    assert dead["authenticate"] == AUTH_ERR
    assert dead["said"] == [
        ["prompt", "Card code: "],
        ["error", "The CPS card service does not answer."],
    ]


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
        assert f"({expected} tries)" in enrolled.pam()["said"][0][1]
    assert ("outcome=verified" in enrolled.log()) is may


@pytest.mark.parametrize(
    ("settings", "arguments", "prompt"),
    [
        ('language = "en"', "", "Card code or password: "),
        ("# the practice's\n  language='en' # so they read", "", "Card code or password: "),
        ('language = "fr"', "", "Code de la carte ou mot de passe : "),
        ('[other]\nlanguage = "en"', "", "Code de la carte ou mot de passe : "),
        ('# language = "en"', "", "Code de la carte ou mot de passe : "),
        ("", "", "Code de la carte ou mot de passe : "),
        ('language = "en"', "lang=fr", "Code de la carte ou mot de passe : "),
    ],
)
def test_its_own_sentences_are_in_the_language_of_the_settings(
    pc: InstalledPc, settings: str, arguments: str, prompt: str
) -> None:
    """What setup wrote counts where no daemon runs, too; an argument of the stack before it."""
    (pc.root / "etc/cps-auth/config.toml").write_text(settings + "\n")
    (pc.root / "etc/pam.d/whole").write_text(f"auth required pam_cps.so {arguments}\n")
    assert pc.pam("1234", service="whole")["said"][0] == ["prompt", prompt]


def test_another_way_in_is_no_card_login(enrolled: InstalledPc) -> None:
    """acct_mgmt says yes only in the transaction in which the card did."""
    (enrolled.root / "etc/pam.d/other-way").write_text(
        "auth required pam_permit.so\naccount required pam_cps.so\n"
    )
    seen = enrolled.pam(service="other-way", calls="authenticate,acct_mgmt")
    assert (seen["authenticate"], seen["acct_mgmt"]) == (SUCCESS, PERM_DENIED)


def test_an_unknown_argument_lets_nobody_in(enrolled: InstalledPc) -> None:
    """A typo in the stack is not read past."""
    (enrolled.root / "etc/pam.d/typo").write_text("auth required pam_cps.so nullok\n")
    assert enrolled.pam("1234", service="typo")["authenticate"] == SYSTEM_ERR


PASSWORD = "correct horse"
ANY = "Card code (3 tries) or password: "


@pytest.mark.parametrize("daemon", ["alive", "dead"])
@pytest.mark.parametrize(
    ("typed", "reaches"),
    [(PASSWORD, True), ("12345", True), ("", True), ("9999", False), ("1234", False)],
)
def test_card_or_password_is_one_question(
    enrolled: InstalledPc, daemon: str, typed: str, reaches: bool
) -> None:
    """Four digits are the card's and never the next module's; all else is its token, unasked."""
    got = enrolled.root / "got"
    script = enrolled.root / "next-module"
    script.write_text(f"#!/bin/sh\ntr -d '\\0' > {got}\nexit 0\n")
    script.chmod(0o755)
    (enrolled.root / "etc/pam.d/whole").write_text(
        f"@include cps-auth-or-password\nauth required pam_exec.so quiet expose_authtok {script}\n"
    )
    if daemon == "dead":
        enrolled.end_daemon(signal.SIGKILL)
    seen = enrolled.pam(typed, service="whole")
    assert [style for style, _ in seen["said"]].count("prompt") == 1
    assert seen["said"][0][1] == (ANY if daemon == "alive" else "Card code or password: ")
    assert got.exists() is reaches
    if reaches:
        assert (seen["authenticate"], got.read_text()) == (SUCCESS, typed)
    else:
        right = typed == "1234" and daemon == "alive"
        assert (seen["authenticate"] == SUCCESS) is right


def test_a_display_manager_that_asks_again_at_once_waits_for_its_person(
    pc: InstalledPc, private_pcscd: PrivatePcscd
) -> None:
    """GDM, card required, no card: one request for each answer, so as many a minute as are typed.

    GNOME 43's asked some 2,400 times a minute where a module refused before it had asked, and was
    told to wait a minute when the card was back.
    """
    pc.allow("doctor")
    pc.start_daemon()
    rounds = 65  # more than a minute's questions
    seen = pc.pam(*[""] * rounds, calls=",".join(["authenticate"] * rounds))
    assert seen["said"].count(["prompt", "Card code: "]) == rounds
    assert pc.log().count(" verb=require ") == rounds
    assert seen["authenticate"] == AUTH_ERR
    private_pcscd.insert()
    assert pc.pam("1234")["authenticate"] == SUCCESS, "nobody waits for what a program has asked"


def test_a_service_in_which_no_password_counts(enrolled: InstalledPc) -> None:
    """The daemon's settings say so: the same line of the profile hands nothing on."""
    enrolled.end_daemon()
    config = enrolled.root / "etc/cps-auth/config.toml"
    config.write_text(config.read_text() + 'card_required = ["then-yes"]\n')
    enrolled.start_daemon()
    (enrolled.root / "etc/pam.d/then-yes").write_text(
        "@include cps-auth-or-password\nauth required pam_permit.so\n"
    )
    seen = enrolled.pam(PASSWORD, service="then-yes")
    assert (seen["authenticate"], seen["said"][0]) == (AUTH_ERR, ["prompt", PROMPT])
    assert enrolled.pam("1234", service="then-yes")["authenticate"] == SUCCESS


def test_a_service_that_the_card_does_not_answer(enrolled: InstalledPc) -> None:
    """Its password is asked for; a code of four digits goes neither there nor to the card."""
    (enrolled.root / "etc/pam.d/smtp").write_text(
        "@include cps-auth-or-password\nauth required pam_permit.so\n"
    )
    seen = enrolled.pam("1234", service="smtp")
    assert (seen["authenticate"], seen["said"][0]) == (AUTH_ERR, ["prompt", "Password: "])
    assert enrolled.pam(PASSWORD, service="smtp")["authenticate"] == SUCCESS
    assert "verb=verify" not in enrolled.log()


def test_an_account_without_a_card_hears_nothing_of_it(enrolled: InstalledPc) -> None:
    """Whoever has no card is asked for a password as if this were not there."""
    (enrolled.root / "etc/pam.d/then-yes").write_text(
        "@include cps-auth-or-password\nauth required pam_permit.so\n"
    )
    seen = enrolled.pam(account="nobody", service="then-yes")
    assert (seen["authenticate"], seen["said"]) == (SUCCESS, [])


@pytest.fixture
def sanitised() -> Iterator[Path]:
    """The reading of replies, built with the address and undefined-behaviour sanitisers."""
    driver = """
#include "reply.h"
#include <stdio.h>
#include <string.h>
int main(void) {  /* frames on stdin: two bytes of length, then the reply */
    unsigned char head[2];
    unsigned long yes = 0, read = 0, accepted = 0;
    static struct reply reply; static struct answer answer;
    while (fread(head, 1, 2, stdin) == 2) {
        reply.length = (size_t)head[0] << 8 | head[1];
        if (reply.length > sizeof reply.bytes) return 3;
        memset(reply.bytes, 0x41, sizeof reply.bytes);
        if (fread(reply.bytes, 1, reply.length, stdin) != reply.length) return 4;
        read++;
        if (is_exactly(&reply, "PAM_SUCCESS verified - -\\n")) yes++;
        (void)begins_with(&reply, "PAM_SUCCESS code-accepted - -\\n");
        if (read_answer(&reply, &answer)) {
            accepted++;
            if (answer.result == 25 || answer.line_count > MAX_LINES) return 5;
            for (size_t i = 0; i < answer.line_count; i++)
                if (strlen(answer.lines[i]) >= MAX_LINE) return 6;
        } else if (answer.result != 4) return 7;
        char text[64], code[12];
        size_t n = reply.length < 63 ? reply.length : 63;
        memcpy(text, reply.bytes, n); text[n] = 0;
        (void)looks_like_pin(text, 4); (void)kind_of(text, 4); (void)normalise_code(text, code, 12);
        (void)is_name(text); (void)is_this_machine(text);
        (void)is_table(text); (void)sets_english(text);
    }
    printf("%lu %lu %lu\\n", read, accepted, yes);
    return 0;
}
"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "driver.c").write_text(driver)
        sources = [str(SOURCES / "reply.c"), str(folder / "driver.c")]
        flags = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
        sanitisers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        command = ["gcc", *flags, *sanitisers, f"-I{SOURCES}"]
        subprocess.run([*command, "-o", str(folder / "driver"), *sources], check=True, timeout=60)
        yield folder / "driver"


def test_rubbish_replies_under_the_sanitisers(sanitised: Path) -> None:
    """100 000 mutated replies: nothing is read out of bounds, and only the one line is the yes."""
    import random

    chance = random.Random(6)  # noqa: S311 - the same rubbish in every run
    seeds = [
        b"PAM_SUCCESS verified - -\n",
        b"PAM_SUCCESS question 3 any+code\nCard code (3 tries) or password:\n",
        "PAM_AUTH_ERR wrong-pin 2 -\nCode erroné.\nIl reste 2 essais.\n".encode(),
        b"PAM_MAXTRIES pin-blocked 0 card+code\n" + b"x" * 600 + b"\n" + b"line\n" * 20,
    ]
    stream, expected, count = bytearray(), 0, 100_000
    for _ in range(count):
        reply = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            place = chance.randrange(len(reply) + 1)
            match chance.randrange(4):
                case 0:
                    reply[place:place] = chance.randbytes(chance.randrange(1, 9))
                case 1:
                    del reply[place : place + chance.randrange(1, 9)]
                case 2 if place < len(reply):
                    reply[place] ^= 1 << chance.randrange(8)
                case _:
                    reply = reply[:place]
            if not reply:
                reply = bytearray(b"\n")
        expected += bytes(reply) == seeds[0]
        stream += len(reply).to_bytes(2, "big") + reply
    done = subprocess.run(
        [str(sanitised)], input=bytes(stream), capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    read, _accepted, yes = map(int, done.stdout.split())
    assert (read, yes) == (count, expected)


@pytest.mark.parametrize("verb", ["ask", "verify"])
def test_the_whole_module_under_the_sanitisers(enrolled: InstalledPc, verb: str) -> None:
    """The module itself, instrumented, in a login program: right, wrong and rubbish answers."""
    library = enrolled.root / pam_place()
    subprocess.run(
        ["gcc", "-std=c11", "-g", "-O1", "-fPIC", "-shared", "-fsanitize=address,undefined"]
        + ["-fno-sanitize-recover=all", "-fvisibility=hidden", "-o", str(library)]
        + [str(path) for path in sorted(SOURCES.glob("*.c"))]
        + ["-lpam"],
        check=True,
        timeout=60,
    )
    asan = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, check=True, timeout=60
    )
    preload = Path(asan.stdout.decode().strip()).resolve()
    environment = {
        "PATH": os.environ["PATH"],
        "LD_PRELOAD": str(preload),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own, of its whole life
    }
    script = Path(__file__).parent / "pam_program.py"
    answers = {"ask": ["", "NULL", "FAIL"], "verify": ["1234", "!9999", "x" * 500]}[verb]
    for answer in answers:
        command = enrolled.in_private_mounts(
            *("/usr/bin/python3", str(script), "cps-auth", "games", "", "authenticate", answer)
        )
        done = subprocess.run(
            ["env", *(f"{k}={v}" for k, v in environment.items()), *command],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        assert b"ERROR: AddressSanitizer" not in done.stderr
        assert b"runtime error" not in done.stderr


def pam_place() -> str:
    """Where the module is, below the PC's folder."""
    return str(next(Path("/usr/lib").glob("*/security/pam_unix.so")).with_name("pam_cps.so"))[1:]


def test_the_compiler_has_nothing_to_say(tmp_path: Path) -> None:
    """No warning, gcc's own analysis of the paths included."""
    asked = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wformat=2 -Wcast-qual -fanalyzer"
    done = subprocess.run(
        ["make", "-s", "-C", str(SOURCES), f"OUT={tmp_path / 'x.so'}", f"EXTRA={asked}"],
        capture_output=True,
        timeout=100,
        check=True,
    )
    assert done.stderr == b""


def test_the_library_exports_only_what_pam_looks_up(pc: InstalledPc) -> None:
    """Five entry points, full RELRO and a stack protector; no interpreter, no other library."""
    library = str(pc.root / pam_place())
    names = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    exported = {line.split()[-1] for line in names.stdout.splitlines()}
    kinds = ("authenticate", "setcred", "acct_mgmt", "open_session", "close_session")
    assert exported == {f"pam_sm_{kind}" for kind in kinds}
    dynamic = subprocess.run(
        ["readelf", "-d", "-W", library], capture_output=True, text=True, check=True
    )
    needed = [line.split("[")[1][:-1] for line in dynamic.stdout.splitlines() if "NEEDED" in line]
    assert needed == ["libpam.so.0", "libc.so.6"]
    assert "BIND_NOW" in dynamic.stdout
