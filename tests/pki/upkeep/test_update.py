"""What may take the place of a list that is there, and what never does."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from cps_auth import files as protected
from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.pki.chain.trust_store import PINNED, pinned_certificates, production_trust
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.upkeep import update
from cps_auth.pki.upkeep.fetch import FetchFailed
from cps_auth.pki.upkeep.status import crls_status
from cps_auth.pki.upkeep.update import Outcome, store_list, update_authorities
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

HOUR = timedelta(hours=1)


@pytest.fixture
def folder(tmp_path: Path, igc: FakeIgcSante) -> Path:
    """A folder with the root's list."""
    tmp_path.chmod(0o755)
    assert _store(igc, tmp_path, igc.crls["ACR-FO"]).is_good
    return tmp_path


def _store(igc: FakeIgcSante, folder: Path, crl: bytes) -> Outcome:
    return store_list(crl, "here", igc.trust_store(), folder, at=igc.made_at)


def _serial(igc: FakeIgcSante) -> int:
    der = igc.credentials("doctor").authentication_certificate_der
    return x509.load_der_x509_certificate(der).serial_number


def _number(igc: FakeIgcSante, folder: Path) -> int | None:
    """Judge the doctor; return the number of the list that was evidence."""
    judge = Judge(igc.trust_store(), CrlStore.from_folder(folder))
    der = igc.credentials("doctor").authentication_certificate_der
    return judge.judge(der, at=igc.made_at).revocation[0].crl_number


def test_list_of_another_authority_replaces_nothing(igc: FakeIgcSante, folder: Path) -> None:
    """An address that serves another genuine list loses nobody's: the one that is there stays."""
    assert _store(igc, folder, igc.crl(number=5)).result == "stored"
    for other in ("standard-personnes", "standard", "fort"):
        assert _store(igc, folder, igc.crl(other, number=9)).result == "stored"
    assert _number(igc, folder) == 5


def test_delta_is_not_replaced_by_an_older_one(igc: FakeIgcSante, folder: Path) -> None:
    """A delta list's number does not go back either: who was revoked stays so."""
    line = Revocation(_serial(igc), igc.made_at - HOUR)
    base = igc.crl(number=5, revoked=[])
    delta = (x509.DeltaCRLIndicator(5), True)
    older = igc.crl(number=6, revoked=[], extra=[delta])
    newer = igc.crl(number=7, revoked=[line], extra=[delta])
    for crl in (base, older, newer):
        assert _store(igc, folder, crl).result == "stored"
    with pytest.raises(CertificateRevoked):
        _number(igc, folder)
    assert _store(igc, folder, older).result == "crl-rollback"
    with pytest.raises(CertificateRevoked):
        _number(igc, folder)
    store = CrlStore([base, older, igc.crls["ACR-FO"]], folder=folder)
    der = igc.credentials("doctor").authentication_certificate_der
    with pytest.raises(CertificateRevoked):
        Judge(igc.trust_store(), store).judge(der, at=igc.made_at)


def test_delta_does_not_make_its_base_old(igc: FakeIgcSante, folder: Path) -> None:
    """Numbers of delta lists are higher than that of their base, which stays evidence."""
    delta = igc.crl(number=9, revoked=[], extra=[(x509.DeltaCRLIndicator(5), True)])
    assert _store(igc, folder, delta).result == "stored"
    assert _store(igc, folder, igc.crl(number=5, revoked=[])).result == "stored"
    assert _number(igc, folder) == 9


def _without_number(igc: FakeIgcSante, *, hours_old: int) -> bytes:
    issuer = igc.authorities["fort-personnes"]
    since = igc.made_at - hours_old * HOUR
    builder = x509.CertificateRevocationListBuilder(
        issuer.certificate.subject, since, igc.made_at + HOUR
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_list_without_a_number(igc: FakeIgcSante, folder: Path) -> None:
    """Where there are no numbers the date decides; where one was seen, a list has to have one."""
    old, new = (_without_number(igc, hours_old=hours) for hours in (9, 1))
    assert [_store(igc, folder, crl).result for crl in (old, new)] == ["stored", "stored"]
    assert _store(igc, folder, old).result == "crl-rollback"
    assert _store(igc, folder, igc.crl(number=0)).result == "stored"
    assert _store(igc, folder, new).result == "crl-rollback"


def test_full_disk_costs_nobody_their_login(
    igc: FakeIgcSante, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that could not be written does not make the one that is there an old one."""
    assert _store(igc, folder, igc.crl(number=5)).result == "stored"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(update, "replace_file", full)
        outcome = _store(igc, folder, igc.crl(number=6))
    assert outcome.result == "not-written: No space left on device"
    assert _number(igc, folder) == 5


def test_two_updates_at_once(
    igc: FakeIgcSante, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes first, the newer list is there in the end."""
    newer = threading.Thread(target=_store, args=(igc, folder, igc.crl(number=7)))
    replace = protected.replace_file

    def slowly(path: Path, content: bytes) -> None:
        if threading.current_thread() is not newer:
            newer.start()
            newer.join(0.3)  # time enough to overtake, were it not kept from it
        replace(path, content)

    monkeypatch.setattr(update, "replace_file", slowly)
    assert _store(igc, folder, igc.crl(number=6)).result == "stored"
    newer.join()
    assert _number(igc, folder) == 7


def test_locks_are_nobody_elses_to_take_and_do_not_stay(igc: FakeIgcSante, folder: Path) -> None:
    """Whoever can open a lock can keep it, and then no judgement would ever end."""
    (folder / "index").mkdir(exist_ok=True)
    lock = folder / "index" / "numbers.lock"
    lock.touch()
    lock.chmod(0o644)  # as an earlier version made it
    assert _store(igc, folder, igc.crl(number=6)).result == "stored"
    assert not list((folder / "index").glob("*.lock"))


def test_status_says_what_a_judge_would(igc: FakeIgcSante, folder: Path) -> None:
    """A list that is older than one that was seen is not called current."""
    assert _store(igc, folder, igc.crl(number=6)).result == "stored"
    (file,) = folder.glob("*FORT-PERSONNES*.crl")
    file.write_bytes(igc.crl(number=5))
    with pytest.raises(RevocationUnknown) as caught:
        _number(igc, folder)
    rows = crls_status(igc.trust_store(), CrlStore.from_folder(folder), at=igc.made_at)
    doubts = {row.issuer: row.doubt for row in rows}
    assert doubts["FICTIVE AC IGC-SANTE FORT PERSONNES"] == caught.value.why == "crl-rollback"


def test_list_that_is_no_evidence_is_not_stored(igc: FakeIgcSante, folder: Path) -> None:
    """One that nobody could use takes no other's place, and the status says why."""
    odd = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
    crl = igc.crl(number=9, extra=[odd])
    assert _store(igc, folder, crl).result == "crl-unknown-extension"
    (folder / "by-hand.crl").write_bytes(crl)
    rows = crls_status(igc.trust_store(), CrlStore.from_folder(folder), at=igc.made_at)
    doubts = {row.issuer: row.doubt for row in rows}
    assert doubts["FICTIVE AC IGC-SANTE FORT PERSONNES"] == "crl-unknown-extension"


REAL = Path(__file__).parents[4] / "shared/igc-sante/production"


@pytest.mark.skipif(not REAL.exists(), reason="the public certificates are not beside")
@pytest.mark.parametrize("bundled", [False, True])
def test_missing_authorities_are_fetched_and_held_to_the_pins(
    tmp_path: Path, bundled: bool
) -> None:
    """A new computer gets all four, from an address each or from the bundle; then asks no more."""
    folder = tmp_path / "trust"
    pinned = pinned_certificates([REAL])[0]
    by_name = {name: pinned[pin] for pin, name in PINNED.items()}
    certificates = [x509.load_der_x509_certificate(der) for der in by_name.values()]
    asked = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        if url.endswith(".p7b"):
            return pkcs7.serialize_certificates(certificates, Encoding.DER)
        if bundled:
            raise FetchFailed("status", "404")
        gamme = "FORT" if "FO" in url else "STANDARD"
        root = "AC RACINE IGC-SANTE" if "ACR" in url else "AC IGC-SANTE"
        name = f"{root} {gamme}" + ("" if "ACR" in url else " PERSONNES")
        return by_name[name]

    outcomes = list(update_authorities(folder, folders=[folder], fetch=fetch))
    assert [outcome.result for outcome in outcomes] == ["status"] * 4 * bundled + ["stored"] * 4
    assert len(production_trust([folder]).intermediates) == 2
    assert folder.stat().st_mode & 0o777 == 0o755
    asked.clear()
    assert list(update_authorities(folder, folders=[folder], fetch=fetch)) == []
    assert asked == []


def test_authorities_that_are_not_pinned_are_not_stored(igc: FakeIgcSante, tmp_path: Path) -> None:
    """Whoever answers at that address, only the pinned certificates are taken."""
    other = igc.authorities["fort"].certificate.public_bytes(Encoding.DER)
    for answer in (other, b"<html>portail</html>", b""):
        folder = tmp_path / "trust"

        def fetch(_url: str, answer: bytes = answer) -> bytes:
            return answer

        assert not list(update_authorities(folder, folders=[folder], fetch=fetch))
        assert not folder.exists()
