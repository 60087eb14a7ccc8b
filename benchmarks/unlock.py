"""Unlocking through PAM, beside pam_pkcs11 and pam_p11 on the same card or token.

A virtual CPS3 in a reader behind a private pcscd comes first: our own driver, through the daemon,
against pam_pkcs11 with OpenSC's module. SoftHSM2, which has no reader, is a second row, labelled.

Each figure is the median of whole runs of pamtester, a process each, as a lock screen's, with a
rest before each: nobody unlocks twice in a second, and what one of them does after its answer
(ours prepares the next one) is not to be counted to the other, nor what it has just read to be of
use. The peers come from Debian, fetched and unpacked into a folder: nothing is installed. Needs
root.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import pam_helper
from benchmarks.timing import Figure, compare
from cps_auth.card.open import find_module
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from tests.system.conftest import PrivatePcscd

ACCOUNT, HOME, RUN = "games", "/usr/games", Path("/run/cps-auth")
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PEERS = ("libpam-pkcs11", "libpam-p11", "libp11-3")
ROUNDS = 15
REST_S = 0.3
_WITHIN_S = 60.0
_CLONE_NEWNS = 0x20000  # sched.h

UNLIMITED_DAEMON = """
import sys
import pam_helper.daemon.authority as authority
authority.VERIFY_PER_MINUTE = authority.PROBE_PER_MINUTE = 10**6
from pam_helper.__main__ import main
sys.exit(main())
"""
"""The daemon without its limits, which a measurement would run into."""

_PAM_PKCS11 = """
pam_pkcs11 {{
  nullok = false; debug = false; use_pkcs11_module = softhsm;
  pkcs11_module softhsm {{
    module = {module}; slot_num = 0; support_threads = false;
    ca_dir = {folder}/ca; crl_dir = {folder}/ca; cert_policy = ca,crl_offline,signature;
  }}
  use_mappers = "digest";
  mapper digest {{ module = internal; algorithm = "sha1"; mapfile = "file://{folder}/digests"; }}
}}
"""


def _run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        env={**os.environ, **environment},
    )
    return done.stdout


class Pc:
    """One token, four PAM services and a daemon, in mounts that only this process sees."""

    def __init__(self, igc: FakeIgcSante, pki: Path, *, in_reader: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._folder.chmod(0o755)
        self._pcscd = PrivatePcscd(self._folder, igc) if in_reader else None
        self._module = MODULE
        if self._pcscd is not None:
            os.environ["PCSCLITE_CSOCK_NAME"] = self._pcscd.env["PCSCLITE_CSOCK_NAME"]
            self._pcscd.start()
            self._pcscd.insert()
            self._module = str(find_module("opensc"))
        else:
            os.environ["SOFTHSM2_CONF"] = str(self._folder / "softhsm2.conf")
            self._make_token(igc)
        self._make_peers(pki, igc)
        self._make_services()
        self._mount()
        self._start_daemon(pki)

    def _make_token(self, igc: FakeIgcSante) -> None:
        tokens, credentials = self._folder / "tokens", igc.credentials("doctor")
        tokens.mkdir()
        (self._folder / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\n")
        key, certificate = self._folder / "key.pem", self._folder / "certificate.der"
        private = credentials.authentication_key
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(credentials.authentication_certificate_der)
        pins, of_key = ("--pin", "1234"), ("--id", "01")
        softhsm, token = "softhsm2-util", ("--token", "CPS", "--label", "key")
        _run(softhsm, "--init-token", "--free", "--label", "CPS", *pins, "--so-pin", "12345678")
        _run(softhsm, "--import", key, *token, *of_key, *pins)
        write = ("--login", *pins, "--type", "cert", *of_key, "--write-object", certificate)
        _run("pkcs11-tool", "--module", MODULE, "--token-label", "CPS", *write)

    def _make_peers(self, pki: Path, igc: FakeIgcSante) -> None:
        packages = self._folder / "packages"
        packages.mkdir()
        packages.chmod(0o777)  # apt fetches as a user of its own
        subprocess.run(
            ["apt-get", "-qq", "download", *PEERS],
            cwd=packages,
            check=True,
            capture_output=True,
            timeout=_WITHIN_S,
        )
        for package in packages.glob("*.deb"):
            _run("dpkg", "-x", package, self._folder / "peers")
        trusted = self._folder / "ca"
        trusted.mkdir()
        for path in (*pki.glob("anchors/*.cer"), *pki.glob("intermediates/*.cer")):
            certificate = x509.load_der_x509_certificate(path.read_bytes())
            (trusted / f"{path.stem}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        for path in pki.glob("crl/*.crl"):
            crl = x509.load_der_x509_crl(path.read_bytes())
            (trusted / f"{path.stem}-list.pem").write_bytes(crl.public_bytes(Encoding.PEM))
        _run("openssl", "rehash", trusted)
        own = self._folder / "home/.eid/authorized_certificates"
        own.parent.mkdir(parents=True)
        leaf = x509.load_der_x509_certificate(
            igc.credentials("doctor").authentication_certificate_der
        )
        own.write_bytes(leaf.public_bytes(Encoding.PEM))
        # By its digest, since pam_pkcs11 would take a card's first certificate, for signatures
        digest = leaf.fingerprint(SHA1()).hex(":").upper()  # noqa: S303  # what it compares
        (self._folder / "digests").write_text(f"{digest} -> {ACCOUNT}\n")
        configuration = {"module": self._module, "folder": self._folder, "account": ACCOUNT}
        (self._folder / "pkcs11.conf").write_text(_PAM_PKCS11.format(**configuration))

    def _make_services(self) -> None:
        module = self._folder / "pam_cps.so"
        sources = Path(pam_helper.__file__).parent / "share/pam_cps"
        _run("make", "-s", "-C", sources, f"OUT={module}")
        pkcs11, p11 = (
            next(self._folder.glob(f"peers/**/{name}.so")) for name in ("pam_pkcs11", "pam_p11")
        )
        stacks = {
            "pam_cps.so": [f"required {module} lang=en"],
            "pam_pkcs11": [f"required {pkcs11} config_file={self._folder}/pkcs11.conf"],
            "pam_p11": [f"required {p11} {MODULE}"],
        }
        (self._folder / "pam.d").mkdir()
        for service, stack in stacks.items():
            text = "".join(f"auth {line}\n" for line in stack)
            (self._folder / "pam.d" / service).write_text(text)

    def _mount(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        RUN.mkdir(exist_ok=True)
        _run("mount", "--make-rprivate", "/")
        for name, place in (("run", RUN), ("pam.d", "/etc/pam.d"), ("home", HOME)):
            (self._folder / name).mkdir(exist_ok=True)
            _run("mount", "--bind", self._folder / name, place)

    def _start_daemon(self, pki: Path) -> None:
        settings = self._folder / "config.toml"
        module = "" if self._pcscd is not None else f'[card]\nmodule = "{self._module}"\n'
        services = '[pam]\nothers = ["pam_cps.so"]\n'
        settings.write_text(f'language = "en"\n{module}{services}')
        accounts = self._folder / "accounts.toml"
        accounts.write_text(
            f'[[holder]]\nps_idnat = "{PERSONAS["doctor"].ps_idnat}"\naccounts = ["{ACCOUNT}"]\n'
        )
        places = ("--config", settings, "--accounts", accounts, "--trust", pki)
        codes = ("--codes", self._folder / "codes.json")
        self.daemon = subprocess.Popen(
            [sys.executable, "-c", UNLIMITED_DAEMON, "daemon", *map(str, (*places, *codes))],
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"},
            stderr=(self._folder / "log").open("wb"),
        )
        deadline_s = time.monotonic() + _WITHIN_S
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            while asking.connect_ex(str(RUN / "auth.sock")) != 0:
                if self.daemon.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError((self._folder / "log").read_text())
                time.sleep(0.05)

    def unlock(self, service: str, typed: bytes, succeeds: bool) -> Callable[[], None]:
        """Return what runs pamtester once, and fails unless it ends as it should."""
        libraries = str(next(self._folder.glob("peers/**/libp11.so.3")).parent)

        def run() -> None:
            done = subprocess.run(
                ["pamtester", service, ACCOUNT, "authenticate"],
                input=typed,
                capture_output=True,
                timeout=_WITHIN_S,
                check=False,
                env={**os.environ, "LD_LIBRARY_PATH": libraries},
            )
            if (done.returncode == 0) is not succeeds:
                said = (done.stdout + done.stderr).decode()
                raise RuntimeError(
                    f"{service}: {said}" + (self._folder / "log").read_text()[-2000:]
                )

        return run

    def close(self) -> None:
        """End the daemon; the mounts end with this process."""
        self.daemon.terminate()
        self.daemon.wait(_WITHIN_S)
        if self._pcscd is not None:
            self._pcscd.close()
        shutil.rmtree(self._folder)


_made: dict[bool, Pc] = {}  # for all figures of a run, and ended with it


def _pc(igc: FakeIgcSante, pki: Path, *, in_reader: bool) -> Pc:
    """Return the PC whose card is in a reader, or has none; the last one made is in the mounts."""
    if in_reader not in _made:
        for other in _made.values():
            other.close()
        _made.clear()
        _made[in_reader] = Pc(igc, pki, in_reader=in_reader)
        atexit.register(lambda: [pc.close() for pc in _made.values()])
    return _made[in_reader]


def _beside(
    title: str, ours: str, peer: str, typed: bytes, *, in_reader: bool = False
) -> Callable[[FakeIgcSante, Path], Figure]:
    succeeds = typed == b"1234\n"

    def figure(igc: FakeIgcSante, folder: Path) -> Figure:
        pc = _pc(igc, folder, in_reader=in_reader)
        own, other = ((name, pc.unlock(name, typed, succeeds)) for name in (ours, peer))
        return compare(f"unlocking through PAM, {title}", own, other, rounds=ROUNDS, rest_s=REST_S)

    figure.__name__ = f"unlock_{ours}_{peer}_{title}".replace(" ", "_")
    return figure


_ON_SOFTHSM = tuple(
    _beside(f"SoftHSM2, no reader, {title}", ours, peer, typed)
    for title, typed in (("right PIN", b"1234\n"), ("wrong PIN", b"9999\n"))
    for ours, peer in (("pam_cps.so", "pam_pkcs11"), ("pam_cps.so", "pam_p11"))
)

_IN_A_READER = "a CPS3 in a reader, right PIN"
FIGURES = (
    _beside(_IN_A_READER, "pam_cps.so", "pam_pkcs11", b"1234\n", in_reader=True),
    *_ON_SOFTHSM,
)
