"""The fake IGC-Santé is what it says, and what the real one looks like."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS


def test_folder_keeps_everything(igc: FakeIgcSante, igc_dir: Path, tmp_path: Path) -> None:
    """What was loaded and written again is byte for byte the same folder."""
    igc.write(tmp_path)
    written = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) == 1 + 1 + 4 + 4 + 12 + 4 * len(PERSONAS)
    for name, path in written.items():
        assert path.read_bytes() == (igc_dir / name).read_bytes(), name


def test_private_keys_are_private(igc_dir: Path) -> None:
    """Every key file is readable by its owner only."""
    keys = list(igc_dir.rglob("*.key"))
    assert len(keys) == 6 + 2 * len(PERSONAS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_authorities_have_the_shape_of_2013(igc: FakeIgcSante) -> None:
    """CAs are RSA-4096, SHA-256, pathlen 0 under a root without one, with the real extensions."""
    for name in ("fort", "standard"):
        root = igc.authorities[name].certificate
        issuer = igc.authorities[f"{name}-personnes"].certificate
        issuer.verify_directly_issued_by(root)
        root.verify_directly_issued_by(root)
        for certificate, path_length in ((root, None), (issuer, 0)):
            key = certificate.public_key()
            assert isinstance(key, RSAPublicKey)
            assert key.key_size == 4096
            basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            assert (basic.critical, basic.value.path_length) == (True, path_length)


def test_card_certificates_have_the_shape_of_real_ones(igc: FakeIgcSante) -> None:
    """A card certificate is over 2 KB and its last RDN holds given name, CN and surname."""
    der = igc.credentials("doctor").authentication_certificate_der
    certificate = x509.load_der_x509_certificate(der)
    assert 2048 < len(der) < 2600
    assert {attribute.oid for attribute in certificate.subject.rdns[-1]} == {
        NameOID.GIVEN_NAME,
        NameOID.COMMON_NAME,
        NameOID.SURNAME,
    }
    own = [
        e.oid.dotted_string for e in certificate.extensions if "1.2.250.1.71" in e.oid.dotted_string
    ]
    assert own == [f"1.2.250.1.71.{n}" for n in ("1.2.5", "1.2.2", "1.2.3", "1.2.7", "4.2.5")]


def test_forger_bears_the_same_names(igc: FakeIgcSante) -> None:
    """The other root has the name of the genuine one and another key."""
    genuine, forged = (igc.authorities[name].certificate for name in ("fort", "rogue-fort"))
    assert genuine.subject == forged.subject
    assert genuine.public_key() != forged.public_key()


def test_dates_surround_the_moment_of_making(igc: FakeIgcSante) -> None:
    """The doctor is valid when it was made, the expired persona is not, and lists are fresh."""
    loaded = {
        name: x509.load_der_x509_certificate(igc.credentials(name).authentication_certificate_der)
        for name in ("doctor", "expired")
    }
    assert loaded["doctor"].not_valid_after_utc > igc.made_at + timedelta(days=365)
    assert loaded["expired"].not_valid_after_utc < igc.made_at
    for der in igc.crls.values():
        crl = x509.load_der_x509_crl(der)
        assert crl.next_update_utc is not None
        assert crl.last_update_utc < igc.made_at < crl.next_update_utc
