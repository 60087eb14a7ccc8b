"""Figures of the trust layer: judging, and finding a serial number in a large list.

The peer of a judgement is what cannot be avoided: the RSA-4096 verification of the issuer's
signature and the RSA-2048 one of the card's. The list of the cards holds 100,000 entries in the
judgements and 300,000 in the look-ups.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.timing import Figure, compare
from cps_auth.errors import CertificateRefused
from cps_auth.files import version_of
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl import Crl
from cps_auth.pki.revocation.crl_index import FOLDER
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.card_certificates import CertificateUse, card_request
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

LIST = "ACI-FO-PP.crl"
_LISTS: dict[int, bytes] = {}


def _large_list(igc: FakeIgcSante, entries: int) -> bytes:
    """Return a list with random serial numbers of 160 bits, half of them with a reason."""
    if entries not in _LISTS:
        issuer = igc.authorities["fort-personnes"]
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        lines = [
            x509.RevokedCertificateBuilder()
            .serial_number(int.from_bytes(b"\x40" + os.urandom(19), "big"))
            .revocation_date(igc.made_at - timedelta(seconds=i))
            for i in range(entries)
        ]
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(igc.made_at - timedelta(hours=1))
            .next_update(igc.made_at + timedelta(days=1))
            .add_extension(aki, critical=False)
            .add_extension(x509.CRLNumber(7), critical=False)
        )
        builder._revoked_certificates = [  # adding one by one copies them all each time
            (line.add_extension(reason, critical=False) if i % 2 else line).build()
            for i, line in enumerate(lines)
        ]
        _LISTS[entries] = builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
    return _LISTS[entries]


def _folder(igc: FakeIgcSante, folder: Path, entries: int) -> Path:
    lists = folder / f"lists-{entries}"
    lists.mkdir(mode=0o755, exist_ok=True)
    (lists / LIST).write_bytes(_large_list(igc, entries))
    (lists / "ACR-FO.crl").write_bytes(igc.crls["ACR-FO"])
    (lists / FOLDER).mkdir(mode=0o755, exist_ok=True)
    os.utime(lists, (0, 0))  # a folder that changed just now is listed at every judgement
    return lists


def _verifications(igc: FakeIgcSante, *, issuer_too: bool) -> Callable[[], None]:
    issuer, card = igc.authorities["fort-personnes"], igc.credentials("doctor")
    leaf = x509.load_der_x509_certificate(card.authentication_certificate_der)
    keys = issuer.key.public_key(), card.authentication_key.public_key()
    tbs, certified, message = leaf.tbs_certificate_bytes, leaf.signature, bytes(64)
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    signature = card.authentication_key.sign(message, scheme, digest)

    def verify() -> None:
        if issuer_too:
            keys[0].verify(certified, tbs, scheme, digest)
        keys[1].verify(signature, message, scheme, digest)

    return verify


def _cards(igc: FakeIgcSante, count: int) -> list[bytes]:
    """Return certificates of one authority: other persons, cards and numbers, eleven keys."""
    keys = [card.authentication_key for card in igc.cards.values()]
    doctor, authority = PERSONAS["doctor"], igc.authorities["fort-personnes"]
    made = []
    for i in range(count):
        person = replace(
            doctor,
            ps_idnat=f"8{99900000000 + i}",
            card_number=f"{2900090000 + i}",
            surname=f"LAVERGNE-{i:X}",
        )
        request = card_request(
            person,
            CertificateUse.AUTHENTICATION,
            keys[i % len(keys)],
            authority,
            not_before=igc.made_at - timedelta(days=i),
            not_after=igc.made_at + timedelta(days=1000 - i),
            issuer_file=LIST.removesuffix(".crl"),
        )
        made.append(igc.issue(request))
    return made


def trust_unseen(igc: FakeIgcSante, folder: Path) -> Figure:
    """A certificate never seen before, with the card's signature, in a running process."""
    judge = Judge(igc.trust_store(), CrlStore.from_folder(_folder(igc, folder, 100_000)))
    rounds = 800
    leaves = iter(_cards(igc, rounds + 2))
    card_signature = _verifications(igc, issuer_too=False)

    def judge_one() -> None:
        judge.judge(next(leaves), at=igc.made_at)
        card_signature()

    judge.judge(igc.issue(igc.request()), at=igc.made_at)
    return compare(
        "a certificate never seen before, list of 100,000",
        ("judgement and the card's signature", judge_one),
        ("the two RSA verifications in it", _verifications(igc, issuer_too=True)),
        rounds=rounds,
    )


def trust_after_strangers(igc: FakeIgcSante, folder: Path) -> Figure:
    """A certificate never seen before, after others' cards and as many certificates of strangers.

    Bound: at most 1 ms of CPU with the card's signature, whatever was shown before.
    """
    judge = Judge(igc.trust_store(), CrlStore.from_folder(_folder(igc, folder, 100_000)))
    fresh = Judge(igc.trust_store(), CrlStore.from_folder(_folder(igc, folder, 100_000)))
    rounds = 200
    made = _cards(igc, 3 * (rounds + 2))
    cards, alike, strangers = (iter(made[i::3]) for i in range(3))
    card_signature = _verifications(igc, issuer_too=False)

    def show_strangers() -> None:
        for _ in range(17):
            der = next(strangers_again)
            with suppress(CertificateRefused):
                judge.judge(der[:-1] + bytes([der[-1] ^ 1]), at=igc.made_at)

    spoiled = list(strangers)
    strangers_again = itertools.cycle(spoiled)
    for one in (judge, fresh):
        one.judge(igc.issue(igc.request()), at=igc.made_at)

    def judge_one(with_judge: Judge, ders: Iterator[bytes]) -> None:
        with_judge.judge(next(ders), at=igc.made_at)
        card_signature()

    return compare(
        "a certificate never seen before, 17 strangers' between any two",
        ("judgement and the card's signature", lambda: judge_one(judge, cards)),
        ("the same without strangers", lambda: judge_one(fresh, alike)),
        rounds=rounds,
        before=show_strangers,
    )


def trust_seen(igc: FakeIgcSante, folder: Path) -> Figure:
    """The same certificate again, with the card's signature."""
    judge = Judge(igc.trust_store(), CrlStore.from_folder(_folder(igc, folder, 100_000)))
    leaf = igc.credentials("doctor").authentication_certificate_der
    card_signature = _verifications(igc, issuer_too=False)

    def judge_one() -> None:
        judge.judge(leaf, at=igc.made_at)
        card_signature()

    return compare(
        "the same certificate again, list of 100,000",
        ("judgement and the card's signature", judge_one),
        ("the one RSA verification in it", card_signature),
        rounds=500,
    )


def trust_crl_lookup(igc: FakeIgcSante, folder: Path) -> Figure:
    """A thousand serial numbers in 300,000 in the mapped index, one in the library's list."""
    lists = _folder(igc, folder, 300_000)
    file = lists / LIST
    Crl.from_file(file, version_of(file)).problem_under(
        Issuer.of(igc.authorities["fort-personnes"].certificate)
    )
    indexed = Crl.from_file(file, version_of(file))
    parsed = x509.load_der_x509_crl(file.read_bytes())
    serials = [int.from_bytes(b"\x40" + os.urandom(19), "big") for _ in range(1000)]
    return compare(
        "serial numbers in a list of 300,000",
        (
            "a thousand, our index, mapped",
            lambda: [indexed.find(number) for number in serials],
        ),
        (
            "one, cryptography's list",
            lambda: parsed.get_revoked_certificate_by_serial_number(serials[0]),
        ),
        rounds=20,
    )


def trust_crl_open(igc: FakeIgcSante, folder: Path) -> Figure:
    """Having a list of 300,000 at hand in a new process: opened, and parsed by the library."""
    file = _folder(igc, folder, 300_000) / LIST
    issuer = igc.authorities["fort-personnes"].certificate
    signer = Issuer.of(issuer)
    Crl.from_file(file, version_of(file)).problem_under(signer)
    return compare(
        "a verified list of 300,000, from disk",
        (
            "our index",
            lambda: Crl.from_file(file, version_of(file)).problem_under(signer),
        ),
        ("cryptography, parsed only", lambda: x509.load_der_x509_crl(file.read_bytes())),
        rounds=20,
    )


def trust_crl_index(igc: FakeIgcSante, folder: Path) -> Figure:
    """Parsing, verifying, indexing and writing a list of 300,000, once for every process."""
    lists = _folder(igc, folder, 300_000)
    issuer = igc.authorities["fort-personnes"].certificate

    def index() -> None:
        shutil.rmtree(lists / FOLDER, ignore_errors=True)
        Crl.from_file(lists / LIST, version_of(lists / LIST)).problem_under(Issuer.of(issuer))

    def peer() -> None:
        crl = x509.load_der_x509_crl((lists / LIST).read_bytes())
        crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        {entry.serial_number: entry.revocation_date_utc for entry in crl}

    return compare(
        "indexing a list of 300,000",
        ("parsed, verified, sorted, written", index),
        ("cryptography: parsed, verified, put into a dictionary", peer),
        rounds=5,
    )


def trust_unseen_pyopenssl(igc: FakeIgcSante, folder: Path) -> Figure:
    """The same question to pyOpenSSL, its store loaded once: chain and both lists."""
    from OpenSSL import crypto

    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    store.set_time(igc.made_at)
    store.add_cert(crypto.X509.from_cryptography(igc.authorities["fort"].certificate))
    for der in (_large_list(igc, 100_000), igc.crls["ACR-FO"]):
        store.add_crl(x509.load_der_x509_crl(der))
    chain = [crypto.X509.from_cryptography(igc.authorities["fort-personnes"].certificate)]

    def verify(der: bytes) -> None:
        leaf = crypto.X509.from_cryptography(x509.load_der_x509_certificate(der))
        crypto.X509StoreContext(store, leaf, chain).verify_certificate()

    return _against(igc, folder, "pyOpenSSL, store loaded before", verify, rounds=40)


def trust_unseen_pyhanko(igc: FakeIgcSante, folder: Path) -> Figure:
    """The same question to pyhanko-certvalidator, mode "require"."""
    import asyncio

    from asn1crypto import crl as asn1_crl
    from asn1crypto import x509 as asn1_x509
    from pyhanko_certvalidator import CertificateValidator, ValidationContext

    anchor, issuer = (
        asn1_x509.Certificate.load(igc.authorities[name].der) for name in ("fort", "fort-personnes")
    )
    ders = (_large_list(igc, 100_000), igc.crls["ACR-FO"])
    lists = [asn1_crl.CertificateList.load(der) for der in ders]

    def verify(der: bytes) -> None:
        context = ValidationContext(
            trust_roots=[anchor], crls=lists, moment=igc.made_at, revocation_mode="require"
        )
        leaf = asn1_x509.Certificate.load(der)
        validator = CertificateValidator(leaf, [issuer], validation_context=context)
        asyncio.run(validator.async_validate_usage({"digital_signature"}))

    return _against(igc, folder, "pyhanko-certvalidator", verify, rounds=3)


def _against(
    igc: FakeIgcSante, folder: Path, name: str, verify: Callable[[bytes], None], rounds: int
) -> Figure:
    judge = Judge(igc.trust_store(), CrlStore.from_folder(_folder(igc, folder, 100_000)))
    leaves = _cards(igc, rounds + 2)
    ours, theirs = iter(leaves), iter(leaves)
    judge.judge(igc.issue(igc.request()), at=igc.made_at)
    return compare(
        "a certificate never seen before, list of 100,000",
        ("our judgement", lambda: judge.judge(next(ours), at=igc.made_at)),
        (name, lambda: verify(next(theirs))),
        rounds=rounds,
    )


_PEERS = {"OpenSSL": trust_unseen_pyopenssl, "pyhanko_certvalidator": trust_unseen_pyhanko}
FIGURES = (
    trust_unseen,
    trust_after_strangers,
    trust_seen,
    trust_crl_lookup,
    trust_crl_open,
    trust_crl_index,
    *(figure for module, figure in _PEERS.items() if find_spec(module) is not None),
)
"""Those of other validators only where they are installed: they are no dependency of ours."""
