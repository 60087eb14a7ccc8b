"""A judge that has judged before, against one that has not: never another verdict.

Certificates of cards and of strangers, lists and moments follow each other in any order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cps_auth.errors import CertificateRefused
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.certificates import SITE
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

HOUR = timedelta(hours=1)
USUAL, OTHER = (f"{SITE}/CRL/{name}.crl" for name in ("ACI-FO-PP", "elsewhere"))
FILES = "abcd"
SERIALS = (0x4001, 0x4002, 0x4003)


def _point(url: str | None = None, *, users: bool = False) -> tuple[x509.ExtensionType, bool]:
    name = None if url is None else [x509.UniformResourceIdentifier(url)]
    return x509.IssuingDistributionPoint(name, None, users, False, None, False, False), True


def _elsewhere() -> x509.CRLDistributionPoints:
    name = x509.UniformResourceIdentifier(OTHER)
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])


SCOPES: dict[str, tuple[tuple[x509.ExtensionType, bool], ...]] = {
    "all": (),
    "users": (_point(users=True),),
    "usual": (_point(USUAL),),
    "elsewhere": (_point(OTHER),),
    "delta": ((x509.DeltaCRLIndicator(1), True),),
}


@dataclass(frozen=True)
class Listed:
    """A list of the cards' authority: its scope, number, whom it revokes and until when."""

    scope: str
    number: int
    revoked: frozenset[int]
    hours: int


@dataclass(frozen=True)
class Step:
    """A list is put into the folder or taken out, or nothing is; then a certificate is judged."""

    file: str | None
    listed: Listed | None
    card: int
    hours: int


class Pki:
    """Makes cards and lists of one fake IGC-Santé, each once."""

    def __init__(self, igc: FakeIgcSante) -> None:
        self.igc = igc
        self.made_at = igc.made_at
        self.card = cache(self._card)
        self.list = cache(self._list)

    def _card(self, number: int) -> bytes:
        request = replace(self.igc.request("doctor"), serial=SERIALS[number])
        if number == 1:  # an authority is not older than what it certifies
            request = replace(request, not_before=self.made_at - timedelta(days=9000))
        if number == 2:
            request = request.having(_elsewhere(), critical=False)
        return self.igc.issue(request)

    def _list(self, listed: Listed) -> bytes:
        lines = [Revocation(SERIALS[i], self.made_at - 5 * HOUR) for i in listed.revoked]
        return self.igc.crl(
            number=listed.number,
            revoked=lines,
            this_update=self.made_at - HOUR,
            next_update=self.made_at + listed.hours * HOUR,
            extra=SCOPES[listed.scope],
        )


@pytest.fixture(scope="module")
def pki(igc: FakeIgcSante) -> Pki:
    """The cards and lists of this module."""
    return Pki(igc)


LISTS = st.builds(
    Listed,
    scope=st.sampled_from(sorted(SCOPES)),
    number=st.integers(1, 3),
    revoked=st.frozensets(st.integers(0, 2), max_size=2),
    hours=st.sampled_from((2, 4)),
)
STEPS = st.builds(
    Step,
    file=st.sampled_from((*FILES, None, None, None, None, None, None)),
    listed=st.none() | LISTS,
    card=st.integers(0, 2),
    hours=st.sampled_from((-24 * 8000, -2, 0, 0, 2, 3, 5)),
)


def _verdict(judge: Judge, der: bytes, at: datetime) -> object:
    try:
        judged = judge.judge(der, at=at)
    except CertificateRefused as refused:
        return type(refused)  # of several doubts about old lists another may be the closest
    return judged.revocation, judged.chain, judged.policies, judged.certificate.practitioner


@settings(max_examples=400, deadline=None)
@given(first=LISTS, steps=st.lists(STEPS, min_size=2, max_size=10))
@example(  # two lists are evidence for equally long, and a third one is a rollback the second time
    first=Listed("users", 1, frozenset(), 2),
    steps=[
        Step("b", Listed("all", 1, frozenset(), 2), 0, 0),
        Step("c", Listed("users", 2, frozenset(), 2), 0, 0),
    ],
)
@pytest.mark.timeout(600)  # a minute alone, and a busy machine is no defect
def test_what_was_judged_before_changes_no_verdict(
    pki: Pki, first: Listed, steps: Iterable[Step]
) -> None:
    """After whatever came before, the answer is that of a judge that begins now."""
    igc = pki.igc
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "root.crl").write_bytes(igc.crls["ACR-FO"])
        (folder / "a.crl").write_bytes(pki.list(first))
        lasting = Judge(igc.trust_store(), CrlStore.from_folder(folder))
        for step in steps:
            if step.file is not None:
                file = folder / f"{step.file}.crl"
                file.unlink(missing_ok=True)
                if step.listed is not None:
                    file.write_bytes(pki.list(step.listed))
            der, at = pki.card(step.card), igc.made_at + step.hours * HOUR
            fresh = Judge(igc.trust_store(), CrlStore.from_folder(folder))
            said = _verdict(lasting, der, at)
            assert said == _verdict(fresh, der, at), step
            assert said == _verdict(lasting, der, at), step


ODD_OID = ObjectIdentifier("0.6.8.1.3.6.1")
CARD_TYPE, CATEGORY = (ObjectIdentifier(f"1.2.250.1.71.1.2.{last}") for last in (2, 5))


@cache
def _strangers(pki: Pki) -> tuple[bytes, ...]:
    """Return cards, and certificates that nobody here or somebody else signed, alike and odd."""
    igc = pki.igc
    forger = igc.authorities["rogue-fort-personnes"].key
    cards = [igc.credentials(n).authentication_certificate_der for n in ("doctor", "pharmacist")]
    made = list(cards)
    for persona in ("doctor", "nurse"):
        request = igc.request(persona)
        for extension in (
            None,
            x509.UnrecognizedExtension(ODD_OID, CARD_TYPE.dotted_string.encode()[:9]),
            x509.UnrecognizedExtension(CATEGORY, b"\x04\x01\x80"),
            x509.UnrecognizedExtension(CARD_TYPE, b"\x02\x01\x07"),
            x509.BasicConstraints(ca=True, path_length=None),
        ):
            changed = request if extension is None else request.having(extension, critical=False)
            made.append(igc.issue(changed, signing_key=forger))
            made.append(igc.issue(changed, "rogue-fort-personnes"))
            made.append(igc.issue(changed))
    for der in cards:
        made += [
            der[:-1] + bytes([der[-1] ^ 1]),
            der[:-9],
            der.replace(b"\x02\x01\x00", b"\x02\x01\x02"),
        ]
    return tuple(made)


@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.integers(0, 37), min_size=2, max_size=40))
def test_a_refused_certificate_changes_no_later_verdict(pki: Pki, order: list[int]) -> None:
    """Whatever strangers showed before, in any order, a verdict is that of a judge that begins."""
    igc = pki.igc
    lasting = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
    strangers = _strangers(pki)
    for index in order:
        der = strangers[index % len(strangers)]
        fresh = Judge(igc.trust_store(), CrlStore(igc.crls.values()))
        assert _verdict(lasting, der, igc.made_at) == _verdict(fresh, der, igc.made_at)
        assert _verdict(lasting, der, igc.made_at) == _verdict(fresh, der, igc.made_at)
