"""The pins, and the folder that may take their place."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cps_auth.errors import TrustStoreUnusable
from cps_auth.pki.chain.trust_store import folder_trust, production_trust, recognise
from hardware_mocks.igc.fake_igc import FakeIgcSante


def _what(folder: Path) -> str:
    with pytest.raises(TrustStoreUnusable) as caught:
        folder_trust(folder)
    return caught.value.what


@pytest.fixture
def copy(igc_dir: Path, tmp_path: Path) -> Path:
    """A copy of the public part of the fake IGC-Santé's folder, to be spoiled."""
    shutil.copy(igc_dir / "trust.toml", tmp_path)
    for name in ("anchors", "intermediates", "crl"):
        shutil.copytree(igc_dir / name, tmp_path / name)
    return tmp_path


def test_folder_is_the_store_that_wrote_it(igc: FakeIgcSante, igc_dir: Path) -> None:
    """The folder gives the same name, anchors and intermediates, and is not production."""
    read, written = folder_trust(igc_dir), igc.trust_store()
    assert read.name == written.name == "IGC-Santé FICTIVE"
    assert set(read.anchors) == set(written.anchors)
    assert set(read.intermediates) == set(written.intermediates)
    assert not read.test_cards


def test_test_cards_are_a_setting(copy: Path) -> None:
    """trust.toml says whether TEST cards may log in."""
    (copy / "trust.toml").write_text('name = "laboratory"\ntest_cards = true\n')
    assert folder_trust(copy).test_cards is True


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_plain_folder(igc: FakeIgcSante, tmp_path: Path, encoding: Encoding) -> None:
    """Without trust.toml, self-signed CAs are anchors, others intermediates, TEST is allowed."""
    folder = tmp_path / "laboratory"
    folder.mkdir()
    for i, name in enumerate(("fort", "fort-personnes")):
        suffix = "pem" if encoding is Encoding.PEM else "der"
        certificate = igc.authorities[name].certificate
        (folder / f"{i}.{suffix}").write_bytes(certificate.public_bytes(encoding))
    doctor = igc.credentials("doctor").authentication_certificate_der
    (folder / "doctor.cer").write_bytes(doctor)
    store = folder_trust(folder)
    assert store.name == "laboratory"
    assert store.anchors == (igc.authorities["fort"].certificate,)
    assert store.intermediates == (igc.authorities["fort-personnes"].certificate,)
    assert store.test_cards


def test_several_certificates_in_one_pem_file(igc: FakeIgcSante, tmp_path: Path) -> None:
    """A PEM file may hold a whole chain."""
    certificates = [igc.authorities[name].certificate for name in ("fort", "fort-personnes")]
    text = b"\n".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    (tmp_path / "chain.pem").write_bytes(text)
    store = folder_trust(tmp_path)
    assert (*store.anchors, *store.intermediates) == tuple(certificates)


def test_folders_that_are_none(igc_dir: Path, tmp_path: Path) -> None:
    """A missing folder, a file and an empty folder are each refused."""
    assert "No such file or directory" in _what(tmp_path / "missing")
    assert "not a folder" in _what(igc_dir / "trust.toml")
    assert "no anchor" in _what(tmp_path)


@pytest.mark.parametrize(
    "name", ["", "trust.toml", "anchors", "intermediates", "anchors/ACR-FO.cer"]
)
@pytest.mark.parametrize("spoil", ["group", "others", "owner"])
def test_folder_that_others_could_have_changed(copy: Path, name: str, spoil: str) -> None:
    """Where anybody else could have put an anchor, nobody's anchor is one."""
    path = copy / name
    if spoil == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(path, 1000, -1)
    else:
        path.chmod(path.stat().st_mode | (0o020 if spoil == "group" else 0o002))
    expected = "owned by uid 1000" if spoil == "owner" else "writable by group or others"
    assert expected in _what(copy)


def test_plain_folder_that_others_could_have_changed(igc_dir: Path, tmp_path: Path) -> None:
    """The rule holds for each file of a plain folder, too."""
    file = Path(shutil.copy(igc_dir / "anchors/ACR-FO.cer", tmp_path))
    assert folder_trust(tmp_path).anchors
    file.chmod(0o664)
    assert "writable by group or others" in _what(tmp_path)


def test_a_folder_that_may_not_be_read_is_told_from_one_that_is_not_there(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read anything, so the refusal is the system's, played back."""

    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    assert "anchors: Permission denied" in _what(copy)
    with pytest.raises(TrustStoreUnusable) as caught:
        production_trust([copy / "anchors", copy / "missing"])
    assert "missing in" in caught.value.what
    assert f"{copy / 'anchors'}: Permission denied" in caught.value.what
    assert f"{copy / 'missing'}: No such" not in caught.value.what


def test_no_anchor(copy: Path) -> None:
    """Intermediates without a root are refused."""
    shutil.rmtree(copy / "anchors")
    assert "no anchor" in _what(copy)


def test_unreadable_certificate(copy: Path) -> None:
    """A file that is no certificate is refused by its name, not passed over."""
    (copy / "intermediates" / "odd.cer").write_bytes(b"rubbish")
    assert "odd.cer: certificate: unreadable" in _what(copy)
    (copy / "intermediates" / "odd.cer").write_bytes(bytes(70_000))
    assert "odd.cer: longer than" in _what(copy)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = 5",
        'name = ""',
        'name = "a\\u001bb"',
        'name = "x"\ntest_card = true',
        'name = "x"\ntest_cards = "yes"',
        "rubbish",
        "\udcff",
    ],
)
def test_settings_are_strict(copy: Path, text: str) -> None:
    """A missing name, an unknown key or a wrong type is refused."""
    (copy / "trust.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert str(copy) in _what(copy)


def test_name_of_production_is_taken(copy: Path) -> None:
    """A folder can't call itself what the pinned authorities are called."""
    (copy / "trust.toml").write_text('name = "igc-santé"', encoding="utf-8")
    assert "production" in _what(copy)


def test_fake_authorities_are_not_recognised(igc: FakeIgcSante) -> None:
    """Nothing but the nine production authorities has a name of theirs."""
    assert {recognise(authority.der) for authority in igc.authorities.values()} == {None}


def test_production_needs_the_pinned_ones(igc_dir: Path, tmp_path: Path) -> None:
    """Folders that lack a pinned authority, hold others or aren't there are no production."""
    with pytest.raises(TrustStoreUnusable) as caught:
        production_trust([igc_dir / "anchors", tmp_path, tmp_path / "missing"])
    assert "AC RACINE IGC-SANTE FORT, AC RACINE IGC-SANTE STANDARD" in caught.value.what


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(noise=st.binary(max_size=100))
def test_noise_only_raises_our_error(copy: Path, noise: bytes) -> None:
    """Random settings are refused with our own error and nothing else."""
    (copy / "trust.toml").write_bytes(noise)
    assert _what(copy)
