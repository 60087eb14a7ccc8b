"""Broken set-ups, each made for real: `cps-auth doctor` names the link and the cause of each."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from cps_auth.audit.head import journal_files
from cps_auth.audit.journal import AuditJournal
from cps_auth.card.open import open_cards
from cps_auth.card.port import Card
from cps_auth.cli.diagnostics import Finding, look_at
from cps_auth.cli.doctor.command import Surroundings, doctor_links
from cps_auth.cli.doctor.remedies import REMEDIES, cause_of
from cps_auth.config import PamSettings, Settings, read_settings
from cps_auth.errors import CardMisbehaved, ConfigurationError, ReaderServiceLost
from cps_auth.model import ReaderState
from cps_auth.pki.judge import Judge
from cps_auth.pki.open import open_judge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.cps_reader import CpsReader
from pam_helper.setup.check import pc_under
from tests.audit.conftest import refusal
from tests.pam.conftest import running_pc

ACCOUNT = "root"
NOBODY = 65534
NOT_HERE = {"logind": "configuration-error/no-logind"}
"""No system bus reaches these tests; the system part has one, with a logind on it."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files and processes of others")

_APP = """
from pathlib import Path
from flask import Flask
from cps_auth.card.native.source import NativeCards
from cps_auth.flask import CpsLogin
from hardware_mocks.readers.virtual_readers import VirtualReaders
app = Flask("cabinet")
app.config.update(
    SECRET_KEY="for this test", CPS_ORIGIN="http://127.0.0.1:5000", CPS_TRUST={trust!r},
    CPS_DATABASE={database!r},
)
CpsLogin(app, cards=NativeCards(VirtualReaders("Reader").service))
"""


@dataclass
class Practice:
    """A practice's PC that works, in a folder and in this process; then something is broken."""

    root: Path
    igc: FakeIgcSante
    reader: CpsReader
    around: Surroundings
    undo: ExitStack = field(default_factory=ExitStack)

    @property
    def trust(self) -> Path:
        """The trust folder."""
        return self.root / "trust"

    @property
    def accounts(self) -> Path:
        """The accounts file."""
        return self.root / "etc/cps-auth/accounts.toml"

    @property
    def socket(self) -> Path:
        """The daemon's socket."""
        return self.root / "run/cps-auth/auth.sock"

    def change(self, **changes: object) -> None:
        """Look through other surroundings."""
        self.around = dataclasses.replace(self.around, **changes)  # type: ignore[arg-type]  # of one field each

    def settle(self, content: str) -> None:
        """Write the settings file, and read it as the command does."""
        self.around.config.write_text(content)
        self.read_settings()

    def read_settings(self) -> None:
        """Read the settings file as the command does."""
        try:
            self.change(settings=read_settings(self.around.config), settings_error=None)
        except ConfigurationError as error:
            self.change(settings=Settings(), settings_error=error)

    def findings(self) -> list[Finding]:
        """Walk all links."""
        return list(look_at(doctor_links(self.around), "en"))


@pytest.fixture
def practice(
    igc: FakeIgcSante, igc_dir: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Practice]:
    """The doctor's card is in, the daemon runs, an application has its login."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    with tempfile.TemporaryDirectory(prefix="pc-") as name, ExitStack() as undo:
        root = Path(name)
        root.chmod(0o755)
        (root / "d").mkdir(mode=0o755)
        pc = undo.enter_context(running_pc(root / "d", igc, judge))
        _make_files(root, igc_dir, pc.socket_path)
        reader = CpsReader(igc)
        reader.insert("doctor")
        around = Surroundings(
            language="en",
            config=root / "config.toml",
            settings=Settings(),
            settings_error=None,
            cards=lambda: reader.cards,
            reader=None,
            judge=lambda: open_judge(
                root / "trust", grace_hours=0, ask_responders=False, nonce_required=True
            ),
            clock=lambda: igc.made_at,
            root=root,
            usb=root / "usb",
            drivers=root / "drivers",
        )
        yield Practice(root, igc, reader, around, undo)


def _make_files(root: Path, igc_dir: Path, socket_path: Path) -> None:
    keys = shutil.ignore_patterns("authorities", "personas")
    shutil.copytree(igc_dir, root / "trust", ignore=keys)
    for folder in ("etc/cps-auth", "etc/pam.d", "run/cps-auth", "var/lib/cps-auth", "drivers"):
        (root / folder).mkdir(parents=True)
    (root / "run/cps-auth/auth.sock").symlink_to(socket_path)
    (root / "config.toml").write_text("")
    (root / "etc/cps-auth/accounts.toml").write_text(
        f'[[holder]]\nps_idnat = "{PERSONAS["doctor"].ps_idnat}"\naccounts = ["{ACCOUNT}"]\n'
    )
    module = root / "usr/lib/x86_64-linux-gnu/security/pam_cps.so"
    module.parent.mkdir(parents=True)
    module.touch()
    (root / "etc/pam.d/common-auth").write_text("auth\tsufficient\tpam_cps.so\n")
    journal = AuditJournal(root / "var/lib/cps-auth/audit")
    for number in range(5):
        journal.record(refusal(number))
    assert journal.flush(10)
    _plug_in(root / "usb", "08e6", "3438", "0b")
    plist = root / "drivers/ccid/Contents/Info.plist"
    plist.parent.mkdir(parents=True)
    plist.write_text(
        '<plist version="1.0"><dict><key>ifdVendorID</key><array><string>0x08E6</string></array>'
        "<key>ifdProductID</key><array><string>0x3438</string></array></dict></plist>"
    )


def _plug_in(usb: Path, vendor: str, product: str, interface_class: str) -> None:
    """Make what the kernel shows of a device on USB."""
    device = usb / f"1-{len(list(usb.glob('*'))) + 1}"
    (device / f"{device.name}:1.0").mkdir(parents=True)
    (device / "idVendor").write_text(f"{vendor}\n")
    (device / "idProduct").write_text(f"{product}\n")
    (device / f"{device.name}:1.0/bInterfaceClass").write_text(f"{interface_class}\n")


class _MuteCard(VirtualCard):
    """A card that lies the wrong way round: the reader gets no answer to reset."""

    def power_on(self) -> None:
        raise CardMisbehaved("SCardConnect", "80100066", "mute")


class _BankCard(VirtualCard):
    """Another company's card."""

    @property
    def atr(self) -> bytes:
        return bytes.fromhex("3B6500002063CB6800")


def _insert(
    persona: str, make: Callable[..., VirtualCard] = VirtualCard, kind: str = "cps3"
) -> Callable[[Practice], None]:
    def break_it(practice: Practice) -> None:
        card = make(PERSONAS[persona], practice.igc.credentials(persona), kind)
        practice.reader.insert(card)

    return break_it


def _hold_the_card(practice: Practice) -> None:
    held = practice.reader.readers.service().connect(practice.reader.name)
    practice.undo.callback(held.close)
    practice.undo.enter_context(held.exclusive())


def _second_card(practice: Practice) -> None:
    practice.reader.readers.add_reader("Second reader")
    card = practice.reader.make_card("nurse")
    practice.reader.readers.insert("Second reader", card)


def _no_driver(practice: Practice) -> None:
    practice.reader.readers.drop_reader(practice.reader.name)
    _plug_in(practice.around.usb, "0b00", "0090", "ff")


def _no_such_app(practice: Practice) -> None:
    practice.change(app="no_such_module_anywhere:app")


def _app(practice: Practice, *replaced: str, more: str = "") -> None:
    """Look at an application of its own; words of its source replaced, two by two."""
    module = f"app_{practice.root.name.replace('-', '_')}"
    database = str(practice.root / "app.sqlite3")
    source = _APP.format(trust=str(practice.trust), database=database) + more
    for old, new in zip(replaced[::2], replaced[1::2], strict=True):
        assert old in source
        source = source.replace(old, new)
    (practice.root / f"{module}.py").write_text(source)
    sys.path.insert(0, str(practice.root))
    practice.undo.callback(sys.path.remove, str(practice.root))
    practice.undo.callback(sys.modules.pop, module, None)
    practice.change(app=f"{module}:app")


def _lists(practice: Practice, content: bytes | None) -> None:
    for path in (practice.trust / "crl").glob("*.crl"):
        path.unlink() if content is None else path.write_bytes(content)
    shutil.rmtree(practice.trust / "crl/index", ignore_errors=True)


def _lists_for_root_only(practice: Practice) -> None:
    for path in (practice.trust / "crl").glob("*.crl"):
        path.chmod(0o600)


def _clock(practice: Practice, step: timedelta) -> None:
    at = practice.igc.made_at + step
    practice.change(clock=lambda: at)


def _no_daemon(practice: Practice) -> None:
    practice.socket.unlink()
    practice.socket.touch()


def _silent_daemon(practice: Practice) -> None:
    practice.socket.unlink()
    listening = practice.undo.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(str(practice.socket))
    listening.listen()
    listening.shutdown(socket.SHUT_RDWR)


_IMPOSTOR = """
import os, socket, sys
os.setuid(65534)
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("ready", flush=True)
while True:
    connection, _ = listening.accept()
    connection.recv(100)
    connection.sendall(b"PAM_AUTHINFO_UNAVAIL alive - -\\n")
    connection.close()
"""


def _impostor(practice: Practice) -> None:
    practice.socket.unlink()
    practice.socket.parent.chmod(0o777)
    process = subprocess.Popen(
        [sys.executable, "-c", _IMPOSTOR, str(practice.socket)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    practice.undo.callback(process.stdout.close)
    practice.undo.callback(process.wait, 10)
    practice.undo.callback(process.kill)
    assert process.stdout.readline() == b"ready\n"


def _changed_journal(practice: Practice) -> None:
    (file,) = journal_files(practice.root / "var/lib/cps-auth/audit")
    file.write_bytes(file.read_bytes().replace(b"192.0.2.2", b"192.0.2.9"))


def _write(place: str, content: bytes | str, mode: int = 0o644) -> Callable[[Practice], None]:
    def break_it(practice: Practice) -> None:
        path = practice.root / place
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        practice.read_settings()

    return break_it


def _chmod(place: str, mode: int) -> Callable[[Practice], None]:
    def break_it(practice: Practice) -> None:
        (practice.root / place).chmod(mode)
        practice.read_settings()

    return break_it


def _remove(place: str) -> Callable[[Practice], None]:
    def break_it(practice: Practice) -> None:
        path = practice.root / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return break_it


CONFIG, ACCOUNTS = "config.toml", "etc/cps-auth/accounts.toml"
SETTING = "configuration-error/"

FAULTS: dict[str, tuple[str, str, Callable[[Practice], None]]] = {
    # what is broken: the link, the cause, and how it is made
    "a setting of another version": (
        "settings", SETTING + "unknown-setting", _write(CONFIG, "[lock]\nblank_screen = true\n")),
    "a word where a number belongs": (
        "settings", SETTING + "wrong-setting", _write(CONFIG, "[trust]\ngrace_hours = 'some'\n")),
    "a quote forgotten": (
        "settings", SETTING + "not-toml", _write(CONFIG, "[card]\nreader = Gemalto\n")),
    "settings saved as Latin-1": (
        "settings", SETTING + "not-text", _write(CONFIG, b"# lecteur n\xb01\n")),
    "settings that everybody may write": (
        "settings", SETTING + "others-could-write", _write(CONFIG, "", 0o666)),
    "the locker command without a command": (
        "settings", SETTING + "wrong-setting", _write(CONFIG, '[lock]\nlockers = ["command"]\n')),
    "pcscd is stopped": (
        "pcscd", "reader-service-lost", lambda practice: practice.reader.readers.stop_service()),
    "no reader": (
        "readers", "no-reader",
        lambda practice: practice.reader.readers.drop_reader(practice.reader.name)),
    "a reader without a driver": ("readers", "no-reader/no-driver", _no_driver),
    "the settings name another reader": (
        "readers", "no-reader/not-that-one", lambda practice: practice.change(reader="Vital'Act")),
    "no card": ("card", "no-card", lambda practice: practice.reader.pull()),
    "the card the wrong way round": ("card", "card-misbehaved/mute", _insert("doctor", _MuteCard)),
    "a bank card": ("card", "unsupported-card", _insert("doctor", _BankCard)),
    "a card on a contactless reader": (
        "card", "contactless-not-enough", _insert("doctor", kind="cps3-contactless")),
    "another program holds the card": ("card", "card-busy", _hold_the_card),
    "two cards": ("card", "several-cards", _second_card),
    "a blocked card": ("card", "pin-blocked", _insert("pin-blocked")),
    "a card at its last attempt": ("card", "last-attempt", _insert("last-attempt")),
    "an expired card": ("card", "certificate-expired", _insert("expired")),
    "a revoked card": ("card", "certificate-revoked", _insert("revoked")),
    "a card of an unknown authority": ("card", "untrusted-issuer", _insert("unknown-root")),
    "a test card": ("card", "wrong-purpose", _insert("test-category")),
    "no authorities": ("trust", "trust-store-unusable", _remove("trust/anchors")),
    "no trust folder": ("trust", "trust-store-unusable", _remove("trust")),
    "a trust folder that everybody may write": (
        "trust", "trust-store-unusable", _chmod("trust/anchors", 0o777)),
    "no opposition list": (
        "lists", "revocation-unknown", lambda practice: _lists(practice, None)),
    "opposition lists that are none": (
        "lists", "revocation-unknown", lambda practice: _lists(practice, b"<html>404</html>")),
    "opposition lists too old": (
        "lists", "revocation-unknown/crl-stale",
        lambda practice: _clock(practice, timedelta(days=400))),
    "a clock behind": (
        "lists", "revocation-unknown/crl-not-yet-valid",
        lambda practice: _clock(practice, timedelta(days=-2))),
    "a PKCS#11 module that is not there": (
        "pcscd", "module-unusable",
        lambda practice: practice.change(cards=lambda: open_cards("nosuch"))),
    "nobody is enrolled": ("accounts", SETTING + "nobody-enrolled", _write(ACCOUNTS, "")),
    "an account that was deleted": (
        "accounts", SETTING + "no-account",
        _write(ACCOUNTS, '[[holder]]\nps_idnat = "1"\naccounts = ["no-such-account"]\n')),
    "a slip in the accounts": (
        "accounts", SETTING + "unknown-setting",
        _write(ACCOUNTS, '[[holder]]\nps_idnat = "1"\naccount = "root"\n')),
    "accounts that the group may write": (
        "accounts", SETTING + "others-could-write", _chmod(ACCOUNTS, 0o660)),
    "the daemon is down": ("daemon", "daemon-unreachable", _no_daemon),
    "the daemon's socket with nobody behind": ("daemon", "daemon-unreachable", _silent_daemon),
    "the PAM module is gone": (
        "pam", SETTING + "no-pam-module", _remove("usr/lib/x86_64-linux-gnu/security/pam_cps.so")),
    "no service asks for the card": (
        "pam", SETTING + "pam-unused",
        _write("etc/pam.d/common-auth", "auth\trequired\tpam_unix.so\n")),
    "the card is required, and is not": (
        "pam", SETTING + "not-required",
        lambda practice: practice.change(settings=Settings(pam=PamSettings(("gdm-password",))))),
    "a locker that is not installed": (
        "lockers", SETTING + "no-locker-command",
        _write(CONFIG, '[lock]\nlockers = ["command"]\ncommand = ["/opt/nosuch/locker"]\n')),
    "a changed line in the journal": ("journal", SETTING + "journal-altered", _changed_journal),
    "the end of the journal removed": (
        "journal", SETTING + "journal-altered",
        lambda practice: _shorten(practice)),
    "no such application": ("app", SETTING + "app-not-loadable", _no_such_app),
    "an application with a bug": (
        "app", SETTING + "app-not-loadable", partial(_app, more="\nraise RuntimeError('bug')\n")),
    "an application without the login": (
        "app", SETTING + "app-without-login",
        lambda practice: _app(practice, "CpsLogin(app", "dict(app=app")),
    "an application without a secret": (
        "app", SETTING + "app-settings",
        lambda practice: _app(practice, '"for this test"', "None")),
    "an application's setting misspelt": (
        "app", SETTING + "app-settings",
        lambda practice: _app(practice, "CPS_ORIGIN", "CPS_ORIGN")),
    "an application's store that is down": (
        "app-store", "store-unavailable",
        lambda practice: _app(
            practice, "CPS_DATABASE=", 'CPS_STORE="redis://127.0.0.1:1/0", CPS_DATABASE=')),
    "a login page that fails": (
        "login-page", SETTING + "login-page",
        partial(_app, more="\n@app.before_request\ndef no():\n    return 'no', 500\n")),
}  # fmt: skip


def _shorten(practice: Practice) -> None:
    (file,) = journal_files(practice.root / "var/lib/cps-auth/audit")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))


AS_ROOT: dict[str, tuple[str, str, Callable[[Practice], None]]] = {
    "somebody else's daemon": ("daemon", SETTING + "not-roots-daemon", _impostor),
    "settings of another user": (
        "settings",
        SETTING + "others-could-write",
        lambda practice: _give_away(practice, CONFIG),
    ),
    "a trust folder of another user": (
        "trust",
        "trust-store-unusable",
        lambda practice: _give_away(practice, "trust/anchors"),
    ),
}

AS_NOBODY: dict[str, tuple[str, str, Callable[[Practice], None]]] = {
    "settings that a practitioner may not read": (
        "settings", SETTING + "not-readable", _chmod(CONFIG, 0o600)),
    "a trust folder that a practitioner may not read": (
        "trust", "trust-store-unusable", _chmod("trust", 0o700)),
    "opposition lists that a practitioner may not read": (
        "lists", "revocation-unknown/crl-unreadable", _lists_for_root_only),
}  # fmt: skip


def _give_away(practice: Practice, place: str) -> None:
    os.chown(practice.root / place, NOBODY, NOBODY)
    practice.read_settings()


def test_a_healthy_pc_has_nothing_to_report(practice: Practice) -> None:
    """Every link from USB to the login page is good, but for the bus that is not here."""
    _app(practice)
    findings = practice.findings()
    broken = {found.link: cause_of(found.error) for found in findings if found.error}
    program = {"program": SETTING + "others-program"}  # a checkout, not an installed package
    assert broken in ({**NOT_HERE}, {**NOT_HERE, **program})
    assert [found.link for found in findings] == [
        *("settings", "usb", "pcscd", "readers", "trust", "lists", "card"),
        *("program", "accounts", "daemon", "pam", "logind", "lockers", "journal"),
        *("app", "app-lists", "app-store", "login-page"),
    ]
    assert PERSONAS["doctor"].ps_idnat in str([found.text for found in findings])


def test_at_least_thirty_set_ups_are_broken() -> None:
    """As many as were asked for, and no cause twice by the same means."""
    assert len({**FAULTS, **AS_ROOT, **AS_NOBODY}) >= 30


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_set_up_is_named_by_its_cause(practice: Practice, name: str) -> None:
    """The first link that is broken is the right one, its cause too, and there is a next step."""
    _assert_named(practice, *FAULTS[name])


@as_root
@pytest.mark.parametrize("name", AS_ROOT)
def test_what_others_own_is_named(practice: Practice, name: str) -> None:
    """Files and processes of another user."""
    _assert_named(practice, *AS_ROOT[name])


@contextmanager
def _nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@as_root
@pytest.mark.parametrize("name", AS_NOBODY)
def test_what_a_practitioner_may_not_read_is_named(practice: Practice, name: str) -> None:
    """As a user without any right; what only root may see is no fault of theirs."""
    link, cause, break_it = AS_NOBODY[name]
    break_it(practice)
    with _nobody():
        practice.read_settings()
        _assert_first(practice, link, cause)


@as_root
def test_a_program_that_others_could_change_is_named(practice: Practice) -> None:
    """The folder that root runs is open to all."""
    program = practice.root / "program"
    program.mkdir()
    pc = pc_under(practice.root, Settings(), "en")
    open_to_all = dataclasses.replace(pc, program=(program,))
    practice.root.chmod(0o755)
    program.chmod(0o777)
    with pytest.raises(ConfigurationError) as caught:
        open_to_all.links()["program"]()
    assert cause_of(caught.value) == SETTING + "others-program"
    assert str(program) in caught.value.what


def _assert_named(
    practice: Practice, link: str, cause: str, break_it: Callable[[Practice], None]
) -> None:
    break_it(practice)
    _assert_first(practice, link, cause)


def _assert_first(practice: Practice, link: str, cause: str) -> None:
    findings = practice.findings()
    ignored = {*NOT_HERE, "program"}
    broken = [found for found in findings if found.error is not None and found.link not in ignored]
    assert broken, findings
    first = broken[0]
    assert first.error is not None
    assert (first.link, cause_of(first.error)) == (link, cause)
    assert REMEDIES[cause].next


def test_a_reader_service_that_hangs_is_waited_for_once(practice: Practice) -> None:
    """Every link that needs it says so; only the first one waited for an answer."""
    asked = []

    class Hung:
        """Readers whose service is stopped."""

        def readers(self) -> tuple[ReaderState, ...]:
            asked.append("readers")
            raise ReaderServiceLost("pcscd does not answer", "no-answer")

        def open_card(self, reader: str | None = None) -> Card:
            asked.append(reader)
            raise ReaderServiceLost("pcscd does not answer", "no-answer")

    practice.change(cards=Hung)
    broken = {found.link for found in practice.findings() if found.error}
    assert {"pcscd", "readers", "card"} <= broken
    assert asked == ["readers"]


@as_root
def test_a_closed_folder_of_settings_is_no_traceback(practice: Practice) -> None:
    """As a practitioner who may not look into /etc/cps-auth at all."""
    (practice.root / "etc/cps-auth").chmod(0o700)
    with _nobody():
        links = {found.link: found.ok for found in practice.findings()}
    assert links["accounts"]
    assert links["journal"]
