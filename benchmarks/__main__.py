"""`./dev bench [WORD]`: every figure whose name holds the word; `--list` shows the names."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks import (
    audit,
    browser,
    hops,
    removal,
    start,
    trust,
    unlock,
    web,
    web_open_pages,
    web_passwords,
    web_workers,
)
from benchmarks.cards import wire
from benchmarks.sweep import sweep_of_a_login
from benchmarks.timing import Figure, compare
from benchmarks.virtual_cards import making_cards, native_login
from cps_auth.card.native.source import NativeCards
from cps_auth.login.verify import log_in
from cps_auth.pki.judge import folder_judge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders


def now() -> datetime:
    """Return the time, aware UTC."""
    return datetime.now(UTC)


def judgement(igc: FakeIgcSante, folder: Path) -> Figure:
    """Judging a certificate, chain and two lists, beside `openssl verify` doing the same."""
    judge = folder_judge(folder)
    leaf_der = igc.credentials("doctor").authentication_certificate_der
    bundle, leaf = folder / "bundle.pem", folder / "leaf.pem"
    _pem(folder.glob("anchors/*.cer"), folder / "anchors.pem")
    _pem(folder.glob("intermediates/*.cer"), bundle)
    lists = [x509.load_der_x509_crl(path.read_bytes()) for path in folder.glob("crl/*.crl")]
    (folder / "lists.pem").write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in lists))
    leaf.write_bytes(x509.load_der_x509_certificate(leaf_der).public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-crl_check_all", "-CAfile", folder / "anchors.pem"]
    command += ["-untrusted", bundle, "-CRLfile", folder / "lists.pem", leaf]
    return compare(
        "judging a certificate (chain, purpose, two revocation lists)",
        ("cps_auth.pki.judge, in a running process", lambda: judge.judge(leaf_der, at=now())),
        ("openssl verify, a process each", lambda: _run(command)),
        rounds=40,
    )


def login(igc: FakeIgcSante, folder: Path) -> Figure:
    """A whole native login on the in-process card, beside the one RSA signature in it."""
    judge = folder_judge(folder)
    readers = VirtualReaders("Reader")
    credentials = igc.credentials("doctor")
    readers.insert("Reader", VirtualCard(PERSONAS["doctor"], credentials))
    cards = NativeCards(readers.service)

    def log_in_once() -> None:
        with cards.open_card() as card:
            log_in(
                card,
                bytearray(b"1234"),
                origin="bench",
                judge=judge,
                allow=lambda _practitioner: None,
                clock=now,
            )

    key = credentials.authentication_key
    return compare(
        "a whole login, card to verified holder",
        ("native driver on the in-process card", log_in_once),
        ("one RSA-2048 signature", lambda: key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())),
        rounds=100,
    )


def _pem(files: Iterable[Path], target: Path) -> None:
    certificates = [x509.load_der_x509_certificate(path.read_bytes()) for path in files]
    target.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in certificates))


def _run(command: list[object]) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


FIGURES: tuple[Callable[[FakeIgcSante, Path], object], ...] = (
    judgement,
    login,
    making_cards,
    native_login,
    wire,
    sweep_of_a_login,
    *trust.FIGURES,
    *web.FIGURES,
    *browser.FIGURES,
    *web_workers.FIGURES,
    *web_open_pages.FIGURES,
    *web_passwords.FIGURES,
    *unlock.FIGURES,
    *removal.FIGURES,
    *hops.FIGURES,
    *start.FIGURES,
    *audit.FIGURES,
)
"""Each is given a fake IGC-Santé and the folder that it was written to; printed, it is a table."""


def main() -> None:
    """Make one fake IGC-Santé, then print every figure that was asked for."""
    parser = argparse.ArgumentParser("./dev bench", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="part of a figure's name")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--explain", metavar="WALK", help="print one walk of hops, call by call")
    options = parser.parse_args()
    names = [figure.__name__ for figure in FIGURES]
    chosen = [figure for figure in FIGURES if options.word in figure.__name__]
    if not chosen:
        parser.error(f"no figure's name holds {options.word!r}; there are: {', '.join(names)}")
    if options.list:
        print("\n".join(figure.__name__ for figure in chosen))
        return
    igc = FakeIgcSante.create()
    with tempfile.TemporaryDirectory() as name:
        igc.write(Path(name))
        if options.explain is not None:
            try:
                print(hops.explain(options.explain, igc, Path(name)))
            except LookupError as error:
                parser.error(str(error))
            return
        for figure in chosen:
            print(figure(igc, Path(name)), flush=True)


if __name__ == "__main__":
    main()
