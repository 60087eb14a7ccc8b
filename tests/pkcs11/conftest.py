"""SoftHSM2 tokens with the fake IGC-Santé's credentials, one folder per test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cps_auth.login.challenge import issue_challenge
from cps_auth.model import Challenge
from hardware_mocks.igc import FakeIgcSante
from hardware_mocks.personas import PIN, PUK, CardCredentials

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


class SoftHsm:
    """A SoftHSM2 of one test."""

    module = SOFTHSM

    def __init__(self, folder: Path, igc: FakeIgcSante) -> None:
        self._folder = folder
        self._igc = igc

    def add_token(self, persona: str) -> CardCredentials:
        """Make a token that holds the persona's two key pairs, the signature first."""
        label = f"CPS-{persona}"
        _run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN.decode(),
             "--so-pin", PUK.decode())  # fmt: skip
        credentials = self._igc.credentials(persona)
        self.add_pair(
            label, "01", credentials.signature_key, credentials.signature_certificate_der
        )
        self.add_pair(
            label, "02", credentials.authentication_key, credentials.authentication_certificate_der
        )
        return credentials

    def add_pair(self, label: str, key_id: str, key: object, certificate_der: bytes | None) -> None:
        """Import one key and, if given, a certificate under the same CKA_ID."""
        key_file = self._folder / "key.pem"
        key_file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]  # RSAPrivateKey
        )
        _run("softhsm2-util", "--import", str(key_file), "--token", label, "--label", "key",
             "--id", key_id, "--pin", PIN.decode())  # fmt: skip
        if certificate_der is not None:
            self.add_certificate(label, key_id, certificate_der)

    def add_certificate(self, label: str, key_id: str, certificate_der: bytes) -> None:
        """Write one certificate object."""
        certificate = self._folder / "certificate.der"
        certificate.write_bytes(certificate_der)
        _run("pkcs11-tool", "--module", str(SOFTHSM), "--token-label", label, "--login", "--pin",
             PIN.decode(), "--write-object", str(certificate), "--type", "cert", "--id",
             key_id)  # fmt: skip


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture
def softhsm(tmp_path: Path, igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """SoftHSM2 with an empty token folder, found through SOFTHSM2_CONF."""
    folder = tmp_path / "softhsm"
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
    return SoftHsm(folder, igc)


@pytest.fixture
def challenge() -> Challenge:
    """A fresh challenge."""
    return issue_challenge("https://cabinet.example", at=datetime.now(UTC))


@pytest.fixture
def compile_module(tmp_path: Path) -> Callable[[str], Path]:
    """Turn C source into a shared library."""

    def compile_source(source: str) -> Path:
        (tmp_path / "module.c").write_text(source)
        library = tmp_path / "module.so"
        _run("gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "module.c"))
        return library

    return compile_source
