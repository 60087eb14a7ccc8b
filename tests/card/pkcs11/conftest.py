"""SoftHSM2 tokens with the fake IGC-Santé's credentials, one folder per test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PIN, PUK, CardCredentials

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


class SoftHsm:
    """A SoftHSM2 of one test."""

    module = SOFTHSM

    def __init__(self, folder: Path, igc: FakeIgcSante) -> None:
        self._folder = folder
        self._igc = igc

    def add_token(self, persona: str, *, always_authenticate: bool = False) -> CardCredentials:
        """Make a token that holds the persona's two key pairs, the signature first.

        Args:
            persona: whose keys.
            always_authenticate: whether its authentication key has CKA_ALWAYS_AUTHENTICATE.
        """
        label = f"CPS-{persona}"
        self.init_token(label)
        credentials = self._igc.credentials(persona)
        self.add_pair(label, "01", credentials.signature_key, credentials.signature_certificate_der)
        if always_authenticate:
            self.add_certificate(label, "02", credentials.authentication_certificate_der)
            self._add_strict_key(label, "02", credentials.authentication_key)
            return credentials
        self.add_pair(
            label, "02", credentials.authentication_key, credentials.authentication_certificate_der
        )
        return credentials

    def init_token(self, label: str) -> None:
        """Make an empty token with the PIN of every persona."""
        _run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN.decode(),
             "--so-pin", PUK.decode())  # fmt: skip

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

    def _add_strict_key(self, label: str, key_id: str, key: object) -> None:
        """Write a private key that wants the PIN for each signature."""
        key_file = self._folder / "key.der"
        key_file.write_bytes(
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]  # RSAPrivateKey
        )
        _run("pkcs11-tool", "--module", str(SOFTHSM), "--token-label", label, "--login", "--pin",
             PIN.decode(), "--write-object", str(key_file), "--type", "privkey", "--id", key_id,
             "--always-auth", "--usage-sign")  # fmt: skip

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


CompileModule = Callable[[str], Path]

_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* CK_FUNCTION_LIST of PKCS#11 v2.20: a version, then 68 pointers in a fixed order. */
typedef unsigned long word;
typedef struct {{ unsigned char version[2]; void *call[68]; }} list;
enum {{
    GET_INFO = 2, GET_TOKEN_INFO = 6, LOGIN = 18,
    GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS = 27, SIGN = 43,
}};
static list *real, ours;
/* True once per file name, which then holds our process id. */
static int first_time(const char *file) {{
    int fd = open(file, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0) return 0;
    dprintf(fd, "%d", (int)getpid());
    close(fd);
    return 1;
}}
{body}
word C_GetFunctionList(list **out) {{
    word (*get)(list **) = dlsym(dlopen("{softhsm}", RTLD_NOW), "C_GetFunctionList");
    word rv = get(&real);
    memcpy(&ours, real, sizeof ours);
    override();
    *out = &ours;
    return rv;
}}
"""
"""A module that is SoftHSM2, but for the calls that `override` replaces."""


@pytest.fixture
def compile_module(tmp_path: Path) -> CompileModule:
    """Turn C source into a shared library."""

    def compile_source(source: str) -> Path:
        (tmp_path / "module.c").write_text(source)
        library = tmp_path / "module.so"
        _run("gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "module.c"), "-ldl")
        return library

    return compile_source


@pytest.fixture
def compile_shim(softhsm: SoftHsm, compile_module: CompileModule) -> CompileModule:
    """Turn C functions and an `override` into a module that is SoftHSM2 otherwise."""

    def compile_body(body: str) -> Path:
        softhsm.add_token("doctor")
        return compile_module(_SHIM.format(softhsm=SOFTHSM, body=body))

    return compile_body
