"""`cps-auth trust`: what it prints, what it stores, how it exits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

import cps_auth
from cps_auth.cli import trust as trust_cli
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.pki.chain.trust_store import production_trust
from hardware_mocks.igc.fake_igc import FakeIgcSante

PRODUCTION = Path(__file__).parents[3] / "shared" / "igc-sante" / "production"
UNITS = Path(cps_auth.__file__).parent / "share" / "systemd"
REVOCATION_UNKNOWN, TRUST_STORE_UNUSABLE = 46, 71


@pytest.fixture
def folder(igc_dir: Path, tmp_path: Path) -> Path:
    """A trust folder of this test's own."""
    return Path(shutil.copytree(igc_dir, tmp_path / "trust"))


def _run(*arguments: str, language: str = "C") -> Result:
    environment = {"LC_ALL": language}
    return CliRunner(env=environment).invoke(trust_cli.trust, list(arguments))


def test_exit_codes_are_those_of_the_table() -> None:
    """The numbers that scripts test for are those of `cps_auth.exit_codes`."""
    by_code = {error.code: number for error, number in EXIT_CODES.items()}
    assert by_code["revocation-unknown"] == REVOCATION_UNKNOWN
    assert by_code["trust-store-unusable"] == TRUST_STORE_UNUSABLE


def test_list_names_the_trust_and_its_authorities(folder: Path) -> None:
    """Whoever is trusted is shown, with a fingerprint."""
    shown = _run("list", "--trust", str(folder))
    assert shown.exit_code == 0
    assert "IGC-Santé FICTIVE" in shown.output
    assert len(re.findall(r"\b[0-9a-f]{64}\b", shown.output)) == 4
    value = json.loads(_run("list", "--json", "--trust", str(folder)).output)
    assert [row["role"] for row in value["authorities"]] == ["anchor"] * 2 + ["intermediate"] * 2


def test_status_is_good_only_if_every_list_is(folder: Path) -> None:
    """Exit 0 with four current lists, the code of a missing list with three."""
    good = _run("status", "--json", "--trust", str(folder))
    assert (good.exit_code, json.loads(good.output)["ok"]) == (0, True)
    (folder / "crl" / "ACI-FO-PP.crl").unlink()
    bad = _run("status", "--json", "--trust", str(folder))
    assert bad.exit_code == REVOCATION_UNKNOWN
    doubts = {row["issuer"]: row["doubt"] for row in json.loads(bad.output)["lists"]}
    assert doubts["FICTIVE AC IGC-SANTE FORT PERSONNES"] == "no-crl"
    assert list(doubts.values()).count(None) == 3


def test_status_says_what_to_do(igc: FakeIgcSante, folder: Path) -> None:
    """A list that is too old is told from one that is missing, in French too."""
    old = igc.made_at - timedelta(days=365)
    stale = igc.crl(this_update=old, next_update=old + timedelta(days=30))
    (folder / "crl" / "ACI-FO-PP.crl").write_bytes(stale)
    (folder / "crl" / "ACR-FO.crl").unlink()
    shown = _run("status", "--trust", str(folder), language="fr_FR.UTF-8")
    assert shown.exit_code == REVOCATION_UNKNOWN
    assert "trop ancienne, connectez le poste" in shown.output
    assert "aucune liste d’opposition utilisable, no-crl" in shown.output
    assert "valable jusqu’au" in shown.output


def test_import_of_lists_into_a_trust_folder(igc: FakeIgcSante, folder: Path) -> None:
    """A list from a file is stored if it is good; if none is, the exit code says so."""
    newer = folder.parent / "newer.crl"
    newer.write_bytes(igc.crl(number=5))
    done = _run("import", str(newer), "--json", "--trust", str(folder))
    assert done.exit_code == 0
    assert json.loads(done.output)["outcomes"][0]["result"] == "stored"
    (stored,) = (folder / "crl").glob("FICTIVE-*.crl")
    assert stored.read_bytes() == newer.read_bytes()
    newer.write_bytes(b"rubbish")
    done = _run("import", str(newer), "--trust", str(folder))
    assert (done.exit_code, "crl-malformed" in done.output) == (REVOCATION_UNKNOWN, True)


def test_import_that_fails_in_part(igc: FakeIgcSante, folder: Path, tmp_path: Path) -> None:
    """One bad list among good ones is told in the exit code; one of no authority of ours is not."""
    source = tmp_path / "usb"
    source.mkdir()
    (source / "good.crl").write_bytes(igc.crl(number=5))
    (source / "other.crl").write_bytes(_of_somebody_else(igc))
    done = _run("import", str(source), "--json", "--trust", str(folder))
    results = [outcome["result"] for outcome in json.loads(done.output)["outcomes"]]
    assert (done.exit_code, results) == (0, ["stored", "no-crl"])
    (source / "bad.crl").write_bytes(b"rubbish")
    done = _run("import", str(source), "--trust", str(folder))
    assert (done.exit_code, done.output.count("\n")) == (REVOCATION_UNKNOWN, 3)


def _of_somebody_else(igc: FakeIgcSante) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "AC ELEMENTAIRE")])
    dates = igc.made_at, igc.made_at.replace(year=igc.made_at.year + 1)
    builder = x509.CertificateRevocationListBuilder(name, *dates)
    crl = builder.sign(igc.authorities["fort"].key, hashes.SHA256())
    return crl.public_bytes(Encoding.DER)


def test_status_tells_an_end_early(igc: FakeIgcSante, folder: Path) -> None:
    """Three days before, or when half of a shorter life is over; it is no failure yet."""
    for days_old, days, told in ((27, 31, False), (29, 31, True), (1, 4, False), (3, 4, True)):
        begun = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days_old)
        crl = igc.crl(this_update=begun, next_update=begun + timedelta(days=days))
        (folder / "crl/ACI-FO-PP.crl").write_bytes(crl)
        shown = _run("status", "--trust", str(folder))
        assert shown.exit_code == 0
        end = f"{begun + timedelta(days=days):%Y-%m-%d %H:%M}"
        assert (f"ends on {end}: cps-auth trust update" in shown.output) is told
        rows = json.loads(_run("status", "--json", "--trust", str(folder)).output)["lists"]
        by_issuer = {row["issuer"]: row["ends_soon"] for row in rows}
        assert by_issuer["FICTIVE AC IGC-SANTE FORT PERSONNES"] is told


def test_update_that_reaches_nobody(folder: Path) -> None:
    """Where no list could be fetched, what is there stays and the exit code says so."""
    before = {path: path.read_bytes() for path in (folder / "crl").glob("*.crl")}
    done = _run("update", "--json", "--trust", str(folder))
    assert done.exit_code == REVOCATION_UNKNOWN
    outcomes = json.loads(done.output)["outcomes"]
    assert {outcome["result"] for outcome in outcomes} == {"unreachable"}
    assert all(outcome["source"].endswith(".crl") for outcome in outcomes)
    assert before == {path: path.read_bytes() for path in (folder / "crl").glob("*.crl")}


@pytest.mark.parametrize("command", ["list", "status", "update"])
def test_folder_that_is_no_trust(tmp_path: Path, command: str) -> None:
    """A folder without anchors is refused in words, by every command."""
    done = _run(command, "--trust", str(tmp_path))
    assert (done.exit_code, "Traceback" in done.output) == (TRUST_STORE_UNUSABLE, False)


def test_import_of_nothing(tmp_path: Path) -> None:
    """A source that is not there is refused in words, and so is one with nothing in it."""
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("no", "text.txt", "empty"):
        done = _run("import", str(tmp_path / name))
        assert done.exit_code == TRUST_STORE_UNUSABLE
        assert name in done.output


needs_production = pytest.mark.skipif(
    not PRODUCTION.exists(), reason="needs the published certificates of the IGC-Santé"
)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where imported certificates go, in this test."""
    own = tmp_path / "trusted"
    monkeypatch.setattr(trust_cli, "PRODUCTION_FOLDERS", (tmp_path / "cryptolib", own))
    return own


@needs_production
@pytest.mark.parametrize("kind", ["der", "pem", "p7b"])
def test_import_of_the_real_authorities(tmp_path: Path, trusted: Path, kind: str) -> None:
    """The four pinned ones are stored, from DER, PEM or PKCS #7; the other five are named."""
    certificates = [
        x509.load_der_x509_certificate(path.read_bytes()) for path in PRODUCTION.glob("*.cer")
    ]
    source = PRODUCTION
    if kind != "der":
        source = tmp_path / f"all.{kind}"
        pem = b"".join(ca.public_bytes(Encoding.PEM) for ca in certificates)
        packed = pkcs7.serialize_certificates(certificates, Encoding.DER)
        source.write_bytes(pem if kind == "pem" else packed)
    done = _run("import", str(source), "--json")
    assert done.exit_code == 0
    results = [outcome["result"] for outcome in json.loads(done.output)["outcomes"]]
    assert sorted(results) == ["not-for-login"] * 5 + ["stored"] * 4
    assert production_trust([trusted])


@needs_production
def test_import_of_others_is_refused(trusted: Path, folder: Path) -> None:
    """Certificates that are not pinned are not stored, whatever they are called."""
    done = _run("import", str(folder / "anchors"))
    assert done.exit_code == TRUST_STORE_UNUSABLE
    assert not trusted.exists()


def test_units_are_what_systemd_understands(tmp_path: Path) -> None:
    """Each morning after ANS published, spread; the service tries until every list is current."""
    timer = (UNITS / "cps-auth-trust-update.timer").read_text()
    (calendar,) = (line[11:] for line in timer.splitlines() if line.startswith("OnCalendar="))
    assert calendar == "*-*-* 07:15:00 Europe/Paris"
    assert "RandomizedDelaySec=3h" in timer
    service = (UNITS / "cps-auth-trust-update.service").read_text()
    assert "ExecStart=@PYTHON@ -I -m cps_auth trust update" in service
    for line in ("Restart=on-failure", "RestartSec=15min", "StartLimitIntervalSec=0"):
        assert line in service.splitlines()
    if shutil.which("systemd-analyze") is None:
        return
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("@PYTHON@", shutil.which("python3") or "/bin/true")
        (tmp_path / unit.name).write_text(text)
    known = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True)
    assert known.returncode == 0
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert "Unknown" not in done.stderr
