"""The folder of a fake IGC-Santé, which `--trust DIR` takes.

    DIR/trust.toml                    name, test_cards
    DIR/anchors/*.cer                 the roots, DER
    DIR/intermediates/*.cer           the PERSONNES authorities, DER
    DIR/crl/*.crl                     one CRL per authority, DER
    DIR/personas/NAME/authentication.{cer,key}, signature.{cer,key}
    DIR/authorities/NAME.{cer,key}    what `load` needs to issue more; the product never looks

Keys are PKCS#8 DER without a password, readable by their owner only.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from cps_auth.files import make_folder
from hardware_mocks.igc.certificates import Authority
from hardware_mocks.personas import CardCredentials


def write_trust(folder: Path, name: str) -> None:
    """Write trust.toml."""
    make_folder(folder)
    text = f'name = "{name}"\ntest_cards = false\n'
    _write_protected(folder / "trust.toml", text.encode())


def write_made_at(folder: Path, made_at: datetime) -> None:
    """Write when the hierarchy was made, for `load`."""
    path = folder / "authorities" / "made.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"at = {made_at.isoformat()}\n", encoding="utf-8")


def read_made_at(folder: Path) -> datetime:
    """Return what `write_made_at` wrote, aware UTC."""
    text = (folder / "authorities" / "made.toml").read_text(encoding="utf-8")
    made_at = tomllib.loads(text)["at"]
    if not isinstance(made_at, datetime) or made_at.tzinfo is None:
        raise ValueError(f"{folder}: not a moment: {made_at}")
    return made_at


def write_public(folder: Path, name: str, suffix: str, ders: Mapping[str, bytes]) -> None:
    """Write DER files by name into a folder inside `folder`."""
    make_folder(folder / name)
    for stem, der in ders.items():
        _write_protected(folder / name / f"{stem}.{suffix}", der)


def _write_protected(path: Path, content: bytes) -> None:
    """Write a file that decides about trust: a group that may write is refused, so no umask."""
    path.write_bytes(content)
    path.chmod(0o644)


def read_crls(folder: Path) -> dict[str, bytes]:
    """Return the CRLs by file name without suffix."""
    return {path.stem: path.read_bytes() for path in sorted((folder / "crl").glob("*.crl"))}


def write_authorities(folder: Path, authorities: Mapping[str, Authority]) -> None:
    """Write every CA with its key, the forger's too."""
    for name, authority in authorities.items():
        _write_pair(folder / "authorities", name, authority.der, authority.key)


def read_authorities(folder: Path) -> dict[str, Authority]:
    """Return what `write_authorities` wrote."""
    found = {}
    for path in sorted((folder / "authorities").glob("*.cer")):
        der, key = _read_pair(path.parent, path.stem)
        found[path.stem] = Authority(x509.load_der_x509_certificate(der), key)
    return found


def write_cards(folder: Path, cards: Mapping[str, CardCredentials]) -> None:
    """Write both certificates and keys of every persona."""
    for name, card in cards.items():
        own = folder / "personas" / name
        _write_pair(
            own, "authentication", card.authentication_certificate_der, card.authentication_key
        )
        _write_pair(own, "signature", card.signature_certificate_der, card.signature_key)


def read_cards(folder: Path) -> dict[str, CardCredentials]:
    """Return what `write_cards` wrote."""
    own = sorted(path for path in (folder / "personas").iterdir() if path.is_dir())
    return {
        path.name: CardCredentials(
            *_read_pair(path, "authentication"), *_read_pair(path, "signature")
        )
        for path in own
    }


def _write_pair(folder: Path, stem: str, der: bytes, key: RSAPrivateKey) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.cer").write_bytes(der)
    path = folder / f"{stem}.key"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _read_pair(folder: Path, stem: str) -> tuple[bytes, RSAPrivateKey]:
    der = (folder / f"{stem}.cer").read_bytes()
    key = _read_key(folder / f"{stem}.key")
    if x509.load_der_x509_certificate(der).public_key() != key.public_key():
        raise ValueError(f"{folder / stem}: the certificate is of another key")
    return der, key


def _read_key(path: Path) -> RSAPrivateKey:
    try:
        # We wrote it: checking 30 RSA keys again would cost every test process a second.
        key = load_der_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm) as error:  # it has a password, or is of another kind
        raise ValueError(f"{path}: not a key that `write_cards` wrote") from error
    if isinstance(key, RSAPrivateKey):
        return key
    raise ValueError(f"{path}: not an RSA key")
