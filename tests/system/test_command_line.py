"""The `cps-auth` command as a process, on a virtual CPS3 behind the real pcscd."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cps_auth.exit_codes import EXIT_CODES
from hardware_mocks.personas import PERSONAS
from tests.opensc import needs_login

pytestmark = pytest.mark.system

OPENSC_MODULE = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"

PrivatePcscd = Any  # the fixture's class lives in conftest.py, which is no module to import
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(private_pcscd: PrivatePcscd, igc_dir: Path) -> Run:
    """Return a function that runs the command in the private pcscd's environment."""

    def run_command(*arguments: str, stdin: str = "", **env: str) -> Any:
        if arguments[0] != "readers":
            arguments = (*arguments, "--trust", str(igc_dir))
        return subprocess.run(
            [sys.executable, "-m", "cps_auth", *arguments],
            input=stdin,
            env=private_pcscd.env | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_command


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def _assert_refused(done: subprocess.CompletedProcess[str], code: str) -> None:
    answer = _json(done)
    assert answer["ok"] is False
    assert answer["error"] == code
    assert done.returncode == next(n for cls, n in EXIT_CODES.items() if cls.code == code)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("reads_first", [0, 1, 100], ids=["at-once", "midway", "after-a-word"])
def test_a_pcscd_that_lets_nobody_in_is_no_pcscd_that_is_gone(
    run: Run, tmp_path: Path, reads_first: int
) -> None:
    """Debian 13's hangs up where polkit says no; what its client makes of it depends on when."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as pcscd:
        pcscd.bind(str(tmp_path / "comm"))
        pcscd.listen()

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # the test is over
                while True:
                    with pcscd.accept()[0] as client:
                        client.settimeout(0.1)
                        with contextlib.suppress(OSError):
                            client.recv(reads_first)

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            refused = run("readers", "--json", PCSCLITE_CSOCK_NAME=str(tmp_path / "comm"))
        finally:
            pcscd.shutdown(socket.SHUT_RDWR)
            thread.join()
    _assert_refused(refused, "reader-service-refused")
    gone = run("readers", "--json", PCSCLITE_CSOCK_NAME=str(tmp_path / "gone"))
    _assert_refused(gone, "reader-service-lost")


def test_readers_are_listed(private_pcscd: PrivatePcscd, run: Run) -> None:
    """Both readers are named, one with a CPS3 and one empty."""
    private_pcscd.insert()
    rows = _json(run("readers", "--json"))["readers"]
    assert [row["card"] for row in rows] == ["cps3", None]


@pytest.mark.parametrize(
    "module",
    [
        pytest.param((), id="native"),
        pytest.param(("--module", OPENSC_MODULE), id="opensc", marks=needs_login),
    ],
)
def test_show_and_login_give_the_same_holder_by_both_drivers(
    module: tuple[str, ...], private_pcscd: PrivatePcscd, run: Run
) -> None:
    """The doctor is shown without a PIN and logged in with it, natively and through OpenSC."""
    inserted = private_pcscd.insert()
    shown = run("show", "--json", *module)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    logged_in = run("login", "--json", "--pin-stdin", *module, stdin="1234\n")
    assert logged_in.returncode == 0, logged_in.stdout + logged_in.stderr
    holder = _json(shown)["holder"]
    assert _json(logged_in)["holder"] == holder
    assert holder["ps_idnat"] == PERSONAS["doctor"].ps_idnat
    assert holder["profession"] == "Médecin"
    assert inserted.card.pin_attempts_left == 3


def test_a_person_reads_words_in_their_language(private_pcscd: PrivatePcscd, run: Run) -> None:
    """Without --json it is text, French or English by the locale."""
    private_pcscd.insert()
    assert "Porteur : Camille LAVERGNE, Médecin" in run("show", LC_ALL="fr_FR.UTF-8").stdout
    assert "Holder: Camille LAVERGNE, Médecin" in run("show", LC_ALL="C.UTF-8").stdout


def test_a_wrong_pin_and_letters(private_pcscd: PrivatePcscd, run: Run) -> None:
    """A wrong PIN costs one attempt and says so; letters cost none; nothing retries."""
    inserted = private_pcscd.insert()
    wrong = run("login", "--json", "--pin-stdin", stdin="9999\n")
    _assert_refused(wrong, "wrong-pin")
    assert _json(wrong)["attempts_left"] == 2
    _assert_refused(run("login", "--json", "--pin-stdin", stdin="abcd\n"), "pin-malformed")
    _assert_refused(run("login", "--json", "--pin-stdin", stdin=""), "pin-entry-cancelled")
    assert inserted.card.pin_attempts_left == 2
    assert "9999" not in wrong.stdout + wrong.stderr


@pytest.mark.parametrize(
    ("persona", "code"),
    [
        ("expired", "certificate-expired"),
        ("revoked", "certificate-revoked"),
        ("unknown-root", "untrusted-issuer"),
        ("test-category", "wrong-purpose"),
        ("signature-only", "wrong-purpose"),
        ("pin-blocked", "pin-blocked"),
        ("last-attempt", "last-attempt"),
    ],
)
def test_every_wrong_card_has_its_own_exit_code(
    persona: str, code: str, private_pcscd: PrivatePcscd, run: Run
) -> None:
    """Refused for the stated reason, without an attempt spent."""
    inserted = private_pcscd.insert(persona=persona)
    before = inserted.card.pin_attempts_left
    _assert_refused(run("login", "--json", "--pin-stdin", stdin="1234\n"), code)
    assert inserted.card.pin_attempts_left == before


def test_no_card_and_two_cards(private_pcscd: PrivatePcscd, run: Run) -> None:
    """Each is its own refusal; naming the reader settles which of two cards is meant."""
    _assert_refused(run("show", "--json"), "no-card")
    private_pcscd.insert(persona="doctor")
    second = private_pcscd.insert(persona="pharmacist", slot=1)
    _assert_refused(run("show", "--json"), "several-cards")
    named = _json(run("show", "--json", "--reader", second.reader))
    assert named["holder"]["ps_idnat"] == PERSONAS["pharmacist"].ps_idnat
    _assert_refused(run("show", "--json", "--reader", "none"), "no-reader")


def test_no_pcscd(private_pcscd: PrivatePcscd, run: Run) -> None:
    """A dead reader service is said in words, with its own exit code."""
    private_pcscd.stop()
    for command in ("readers", "show"):
        _assert_refused(run(command, "--json"), "reader-service-lost")
    words = run("show", LC_ALL="fr_FR.UTF-8").stderr
    assert "(pcscd) n’est pas démarré" in words


@pytest.mark.parametrize("words", ["readers", "show", "doctor", "login --pin-stdin"])
@pytest.mark.parametrize("descriptors", [16, 24])
def test_few_descriptors(
    private_pcscd: PrivatePcscd, igc_dir: Path, words: str, descriptors: int
) -> None:
    """Our own driver does with what a strict `ulimit -n` leaves."""
    inserted = private_pcscd.insert()
    trust = () if words == "readers" else ("--trust", str(igc_dir))
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh",
         sys.executable, "-m", "cps_auth", *words.split(), "--json", *trust],
        input="1234\n",
        env=private_pcscd.env | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert _json(done)["ok"] is True
    assert inserted.card.pin_attempts_left == 3


def test_a_service_that_ends_between_commands(private_pcscd: PrivatePcscd, run: Run) -> None:
    """pcscd --auto-exit: each command finds another pcscd, and the card as it was."""
    inserted = private_pcscd.insert()
    for words in (("readers",), ("show",), ("login", "--pin-stdin"), ("doctor",), ("show",)):
        private_pcscd.restart()
        done = run(*words, "--json", stdin="1234\n")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert inserted.card.pin_attempts_left == 3


def test_a_trust_folder_that_is_none(private_pcscd: PrivatePcscd, tmp_path: Path) -> None:
    """A missing, an empty and a rubbish trust folder are refused before the card is touched."""
    private_pcscd.insert()
    rubbish = tmp_path / "rubbish"
    rubbish.mkdir()
    (rubbish / "root.cer").write_bytes(b"not a certificate")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "absent", tmp_path / "empty", rubbish):
        done = subprocess.run(
            [sys.executable, "-m", "cps_auth", "show", "--json", "--trust", str(folder)],
            env=private_pcscd.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        _assert_refused(done, "trust-store-unusable")


def test_watch_tells_insertion_and_removal(private_pcscd: PrivatePcscd) -> None:
    """Each event is one line of JSON, as it happens; an interrupt ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cps_auth", "watch", "--json"],
        env=private_pcscd.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    events = (json.loads(line)["event"] for line in process.stdout)
    try:
        assert [next(events), next(events)] == ["reader-added", "reader-added"]
        inserted = private_pcscd.insert()
        assert next(events) == "card-inserted"
        inserted.remove()
        assert next(events) == "card-removed"
        private_pcscd.kill()
        assert "service-lost" in [next(events) for _ in range(1)]
        process.send_signal(2)
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_pin_status(private_pcscd: PrivatePcscd, run: Run) -> None:
    """Both counters are told, in JSON and in words, and none is spent."""
    inserted = private_pcscd.insert(persona="last-attempt")
    status = _json(run("pin", "status", "--json"))
    assert (status["attempts_left"], status["puk_attempts_left"]) == (1, 3)
    assert status["pin_pad"] is False
    said = run("pin", "status", LC_ALL="fr_FR.UTF-8").stdout
    assert "1 essai restant" in said
    assert inserted.card.pin_attempts_left == 1


@pytest.mark.parametrize("kind", ["cps3", "cps4"])
def test_pin_change_and_unblock(private_pcscd: PrivatePcscd, run: Run, kind: str) -> None:
    """Change, block, unblock: the codes come from standard input, one a line."""
    inserted = private_pcscd.insert(kind)
    assert _json(run("pin", "change", "--json", "--pin-stdin", stdin="1234\n4321\n"))["ok"]
    done = run("login", "--json", "--pin-stdin", stdin="1234\n")
    _assert_refused(done, "wrong-pin")
    done = run("login", "--json", "--pin-stdin", stdin="4321\n")
    assert _json(done)["ok"] is True
    inserted.card.contents.pins[1].attempts_left = 0
    done = run("pin", "change", "--json", "--pin-stdin", stdin="4321\n1234\n")
    _assert_refused(done, "pin-blocked")
    done = run("pin", "unblock", "--json", "--pin-stdin", stdin="1234\n5678\n")
    _assert_refused(done, "puk-malformed")
    done = run("pin", "unblock", "--json", "--pin-stdin", stdin="00000000\n5678\n")
    _assert_refused(done, "wrong-puk")
    assert _json(done)["attempts_left"] == 2
    done = run("pin", "unblock", "--pin-stdin", stdin="12345678\n5678\n", LC_ALL="fr_FR.UTF-8")
    assert "Le code porteur a été changé." in done.stdout
    assert _json(run("login", "--json", "--pin-stdin", stdin="5678\n"))["ok"] is True


@pytest.mark.parametrize("command", [("login",), ("pin", "change"), ("pin", "unblock")])
def test_trace_hides_the_codes(
    private_pcscd: PrivatePcscd, run: Run, command: tuple[str, ...]
) -> None:
    """--trace shows every command and answer, and neither PIN nor PUK in any notation."""
    private_pcscd.insert()
    stdin = {"login": "1234\n", "change": "1234\n4321\n", "unblock": "12345678\n4321\n"}
    arguments = (*command, "--trace", "--json", "--pin-stdin")
    done = run(*arguments, stdin=stdin[command[-1]])
    assert _json(done)["ok"] is True
    assert "> 00 B0 9C 00 Le=12" in done.stderr
    assert "bytes hidden>" in done.stderr
    # The card's own answers aside: a certificate that begins at 23:12:34 has a "1234" in it.
    said = [line for line in done.stderr.splitlines() if not line.startswith("< ")]
    assert len(said) > 5
    for code in ("1234", "4321", "12345678"):
        assert not any(code.encode().hex() in line.replace(" ", "").lower() for line in said)
        assert not any(code in line for line in said)


def test_known_modules_by_name(private_pcscd: PrivatePcscd, run: Run) -> None:
    """--module takes the name of a known module; one that is not installed is said to be so."""
    private_pcscd.insert()
    assert _json(run("show", "--json", "--module", "opensc"))["ok"] is True
    if not Path("/opt/santesocial/CPS/lib/libcps3_pkcs11_lux.so").exists():
        _assert_refused(run("show", "--json", "--module", "ans"), "module-unusable")


def test_the_doctor_walks_from_the_settings_to_the_card(
    private_pcscd: PrivatePcscd, run: Run
) -> None:
    """Exit code 0 only when all of it works; otherwise that of the first thing that does not."""
    private_pcscd.insert()
    well = run("doctor", "--json")
    assert well.returncode == 0, well.stdout + well.stderr
    links = ["settings", "usb", "pcscd", "readers", "trust", "lists", "card"]
    assert [found["link"] for found in _json(well)["findings"]][: len(links)] == links
    assert _json(well)["ok"] is True
    private_pcscd.kill()
    ill = run("doctor", LC_ALL="fr_FR.UTF-8")
    assert ill.returncode == next(n for cls, n in EXIT_CODES.items() if "service" in cls.code)
    marks = [line[0] for line in ill.stdout.splitlines() if not line.startswith(" ")]
    assert marks[: len(links)] == ["✓", "✓", "✗", "✗", "✓", "✓", "✗"]
    assert (
        "→ sudo systemctl restart pcscd" in ill.stdout or "→ sudo apt install pcscd" in ill.stdout
    )
