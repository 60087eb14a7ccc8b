"""The only module of these tests that knows the product: its public entries, and its verdicts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cps_auth.errors import CpsAuthError
from cps_auth.model import CardType, Practitioner
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.profiles import (
    EID_LOGIN,
    IGC_SANTE_LOGIN,
    POLICY_ARC,
    CertificateProfile,
)
from cps_auth.pki.chain.trust_store import TrustStore, folder_trust, production_trust
from cps_auth.pki.judge import Judge, JudgedCertificate, folder_judge
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.ocsp import Answer
from cps_auth.pki.revocation.policy import RevocationPolicy
from cps_auth.wording import explain
from tests.pki.frozen.cases import Answers, Case, Trust

JUDGES_KEPT = 24


def _read_common_name(certificate: ParsedCertificate) -> Practitioner:
    names = certificate.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Practitioner(ps_idnat=str(names[0].value), card_type=None)


PKITS = CertificateProfile(
    name="PKITS",
    read_holder=_read_common_name,
    extended_usage_required=False,
    refuse_content_commitment=False,
    max_intermediates=8,
)
"""As in tests/pki/test_pkits.py."""

_NO_NONCE = RevocationPolicy(nonce_required=False)

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "login": {},
    "cps-only": {"card_types": frozenset({CardType.CPS})},
    "staff-only": {"card_types": frozenset({CardType.CPE, CardType.CPA})},
    "grace": {"policy": RevocationPolicy.grace(48)},
    "no-nonce": {"policy": _NO_NONCE},
    "policies": {"profile": dataclasses.replace(IGC_SANTE_LOGIN, policies=frozenset({POLICY_ARC}))},
    "eid": {"profile": EID_LOGIN},
    "pkits": {"profile": PKITS},
    "pkits-policy-1": {
        "profile": dataclasses.replace(PKITS, policies=frozenset({"2.16.840.1.101.3.2.1.48.1"}))
    },
}


class _Responder:
    """An OCSP source that says the same to every question."""

    def __init__(self) -> None:
        self.canned: Answers = ()

    def answers(self, child: x509.Certificate, issuer: x509.Certificate) -> Iterable[Answer]:
        """Return the answers of the case at hand."""
        del child, issuer
        return [Answer(der, nonce) for der, nonce in self.canned]


class Bench:
    """Judges cases, with judges that live long where the next case may use the same one."""

    def __init__(self, folder: Path) -> None:
        """Use an empty folder, that only its owner can write to, for trust folders."""
        self._folder = folder
        self._made = 0
        self._stores: OrderedDict[Trust, TrustStore] = OrderedDict()
        self._judges: OrderedDict[object, tuple[Judge, _Responder]] = OrderedDict()
        self.words: dict[str, str] = {}  # of every refusal seen, by its verdict

    def verdict(self, case: Case, *, fresh: bool = False) -> str:
        """Return what the product says, as one line.

        Args:
            case: what is judged.
            fresh: whether everything is made anew, the trust store too.
        """
        try:
            if case.earlier is not None:
                return _accepted(self._judge_in_folder(case), case)
            judge, responder = self._judge(case, fresh=fresh)
            responder.canned = case.answers or ()
            return _accepted(judge.judge(case.leaf, at=case.at), case)
        except CpsAuthError as error:
            verdict = self._without_folders(_refused(error, case))
            words = "\n".join(explain(error, language).text for language in ("fr", "en"))
            words_hex = hashlib.sha256(self._without_folders(words).encode()).hexdigest()[:6]
            if self.words.setdefault(verdict, words_hex) != words_hex:
                raise AssertionError(f"two texts for one verdict: {verdict}") from error
            return verdict

    def _judge(self, case: Case, *, fresh: bool) -> tuple[Judge, _Responder]:
        key = case.trust.digest, case.lists, case.settings, case.answers is None
        if not fresh and key in self._judges:
            return self._judges[key]
        responder = _Responder()
        trust = self._load(case.trust) if fresh else self._trust(case.trust)
        ocsp = None if case.answers is None else responder
        judge = Judge(trust, CrlStore(case.lists), ocsp=ocsp, **SETTINGS[case.settings])
        if not fresh:
            _keep(self._judges, key, (judge, responder))
        return judge, responder

    def _judge_in_folder(self, case: Case) -> JudgedCertificate:
        """Judge a second time, or later, while the lists in the folder change."""
        folder = self._write(case.trust)
        judge = folder_judge(folder, **SETTINGS[case.settings])
        for step, lists in enumerate(case.earlier or ()):
            _replace_lists(folder / "crl", lists, step)
            try:
                judge.judge(case.leaf, at=case.at)
            except CpsAuthError:
                continue
        _replace_lists(folder / "crl", case.lists, len(case.earlier or ()))
        return judge.judge(case.leaf, at=case.at)

    def _trust(self, trust: Trust) -> TrustStore:
        if trust not in self._stores:
            _keep(self._stores, trust, self._load(trust))
        return self._stores[trust]

    def _load(self, trust: Trust) -> TrustStore:
        folder = self._write(trust)
        return production_trust([folder]) if trust.production else folder_trust(folder)

    def _write(self, trust: Trust) -> Path:
        self._made += 1
        folder = self._folder / str(self._made) / trust.name
        for path, content in trust.files:
            (folder / path).parent.mkdir(0o755, parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            (folder / path).chmod(0o644)
        return folder

    def _without_folders(self, text: str) -> str:
        return text.replace(str(self._folder / str(self._made)), "FOLDER")


def _keep(kept: OrderedDict[Any, Any], key: object, value: object) -> None:
    kept[key] = value
    if len(kept) > JUDGES_KEPT:
        kept.popitem(last=False)


def _replace_lists(folder: Path, lists: tuple[bytes, ...], step: int) -> None:
    # Under names that are new each time: a clock's tick may be longer than a step.
    folder.mkdir(0o755, exist_ok=True)
    for file in folder.glob("*.crl"):
        file.unlink()
    for i, der in enumerate(lists):
        (folder / f"{step}-{i}.crl").write_bytes(der)


# --- Verdicts as text ------------------------------------------------------------


def _short_hash(values: object) -> str:
    text = json.dumps(values, ensure_ascii=False, default=_shown)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _refused(error: CpsAuthError, case: Case) -> str:
    data = error.data()
    about = data.pop("sha256_hex", None)
    of_this = about is None or about == hashlib.sha256(case.leaf).hexdigest()
    words = [error.code, *(f"{name}={_shown(value)}" for name, value in data.items())]
    return " ".join([*words, *([] if of_this else ["of=another certificate"])])


def _accepted(judged: JudgedCertificate, case: Case) -> str:
    certificate = judged.certificate
    holder = certificate.practitioner
    said = [
        *(getattr(holder, field) for field in _HOLDER),
        certificate.category,
        certificate.serial_hex,
        certificate.not_before,
        certificate.not_after,
    ]
    evidence = [[getattr(piece, field) for field in _EVIDENCE] for piece in judged.revocation]
    chain = [hashlib.sha256(link.public_bytes(Encoding.DER)).hexdigest() for link in judged.chain]
    sources = ",".join(f"{piece.source}#{piece.crl_number}" for piece in judged.revocation)
    parts = {
        "holder": f"{holder.ps_idnat}/{_short_hash(said)}",
        "policies": ",".join(judged.policies),
        "warnings": ",".join(judged.warnings),
        "evidence": f"{sources}/{_short_hash(evidence)}",
        # the leaf is read from a copy where real cards have faults: its bytes are not its own
        "chain": f"{len(chain)}/{_short_hash(chain[1:])}",
        "trust": judged.trust,
        "profile": judged.profile,
    }
    assert certificate.sha256_hex == hashlib.sha256(case.leaf).hexdigest()
    return " ".join(["accepted", *(f"{name}={text}" for name, text in parts.items())])


_HOLDER = (
    "ps_idnat",
    "card_type",
    "surname",
    "given_name",
    "rpps",
    "profession_code",
    "profession",
    "training_code",
    "training",
    "specialities",
    "title",
    "organisation",
    "structure_id",
    "card_number",
    "display_name",
)
_EVIDENCE = (
    "source",
    "issuer",
    "crl_number",
    "this_update",
    "next_update",
    "age_s",
    "past_due",
)
