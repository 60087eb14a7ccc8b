"""The web login: one token, and one whole login through Flask, beside the bare signature."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from benchmarks.timing import Figure, compare
from benchmarks.web_visits import ORIGIN, answer_of_card, log_in, through_test_client
from benchmarks.web_workers import make_app
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.verify import verify_proof
from cps_auth.login.web_eid import parse_token
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

LIST_ENTRIES = 100_000


def _judge_with_long_list(igc: FakeIgcSante) -> Judge:
    listed = [Revocation(serial, igc.made_at) for serial in range(1, LIST_ENTRIES + 1)]
    crls = [der for name, der in igc.crls.items() if name != "ACI-FO-PP"]
    return Judge(igc.trust_store(), CrlStore([*crls, igc.crl(revoked=listed)]))


def web_eid_token(igc: FakeIgcSante, _folder: Path) -> Figure:
    """A token of a card seen before, under a list of 100,000 entries."""
    judge, at = _judge_with_long_list(igc), datetime.now(UTC)
    challenge = issue_challenge(ORIGIN, at=at)
    text, message, value = answer_of_card(igc, challenge.nonce)
    key = igc.credentials("doctor").authentication_key.public_key()
    return compare(
        "validating a Web eID token, 100,000 revoked cards on the list",
        (
            "reading, judging, verifying",
            lambda: verify_proof(
                parse_token(text), challenge, judge=judge, allow=lambda _: None, at=at
            ),
        ),
        (
            "one RSA-2048 verification",
            lambda: key.verify(value, message, padding.PKCS1v15(), hashes.SHA256()),
        ),
        rounds=2000,
    )


def web_eid_new_card(igc: FakeIgcSante, _folder: Path) -> Figure:
    """The same, each time for a card that was not seen before."""
    judge, at = _judge_with_long_list(igc), datetime.now(UTC)
    challenge = issue_challenge(ORIGIN, at=at)
    text, message, value = answer_of_card(igc, challenge.nonce)
    key = igc.credentials("doctor").authentication_key.public_key()
    verify_proof(parse_token(text), challenge, judge=judge, allow=lambda _: None, at=at)
    rounds = 500
    texts = iter([_with_new_certificate(igc, text) for _ in range(rounds + 2)])
    return compare(
        "validating a Web eID token of a new card, 100,000 revoked cards on the list",
        (
            "reading, judging, verifying",
            lambda: verify_proof(
                parse_token(next(texts)), challenge, judge=judge, allow=lambda _: None, at=at
            ),
        ),
        (
            "one RSA-2048 verification",
            lambda: key.verify(value, message, padding.PKCS1v15(), hashes.SHA256()),
        ),
        rounds=rounds,
    )


def _with_new_certificate(igc: FakeIgcSante, token: bytes) -> bytes:
    certificate_der = igc.issue(igc.request())
    fields = json.loads(token) | {"unverifiedCertificate": b64encode(certificate_der).decode()}
    return json.dumps(fields).encode()


def web_eid_login(igc: FakeIgcSante, folder: Path) -> Figure:
    """Page, challenge, token, session in SQLite, through Flask's test client; without the card."""
    app = make_app(folder, None)
    key = igc.credentials("doctor").authentication_key
    return compare(
        "a whole login from elsewhere: page, challenge, token, session (with the card's signature)",
        ("Flask test client, SQLite on disk", lambda: log_in(igc, through_test_client(app))),
        ("one RSA-2048 signature", lambda: key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())),
        rounds=100,
    )


FIGURES = (web_eid_token, web_eid_new_card, web_eid_login)
