"""Makes the kept OCSP answers about the doctor: of the issuer, of a responder, and spoiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from hardware_mocks.igc.certificates import issued_by, key_usage, sign_certificate
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.ocsp import OcspResponder, ocsp_answer
from tests.pki.frozen.inputs import NONCE
from tests.pki.frozen.signing import parsed_answer, sign_again

HOUR = timedelta(hours=1)
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_ODD = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def make(igc: FakeIgcSante, key: RSAPrivateKey) -> tuple[dict[str, bytes], bytes]:
    """Return answers by name, and the certificate of the delegated responder with this key."""
    made = {name: _answer(igc, **changes) for name, changes in _of_the_issuer(igc).items()}
    for name, responder in _responders(igc, key).items():
        made[f"by-{name}"] = _answer(igc, responder, sent_along=(responder.certificate,))
    delegated = _delegated(igc, key)
    sent = (delegated.certificate,)
    made |= {
        "delegated-revoked": _answer(igc, delegated, status=REVOKED, sent_along=sent),
        "delegated-named": _answer(igc, delegated, by_name=True, sent_along=sent),
        "delegated-not-sent": _answer(igc, delegated),
        "delegated-of-five": _answer(igc, delegated, sent_along=sent * 5),
        "try-later": ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER
        ).public_bytes(Encoding.DER),
        "rubbish": b"rubbish",
        "empty": b"",
        "truncated": made["good"][:-1],
    }
    return made, delegated.certificate.public_bytes(Encoding.DER)


def _card(igc: FakeIgcSante, name: str = "doctor") -> x509.Certificate:
    return x509.load_der_x509_certificate(igc.cards[name].authentication_certificate_der)


def _of_the_issuer(igc: FakeIgcSante) -> dict[str, dict[str, Any]]:
    at = igc.made_at
    old = {"this_update": at - 3 * HOUR, "next_update": at - HOUR}
    rogue = igc.authorities["rogue-fort-personnes"]
    forger = OcspResponder(rogue.certificate, rogue.key)
    return {
        "good": {},
        "good-without-nonce": {"nonce": None},
        "good-other-nonce": {"nonce": bytes(32)},
        "good-named": {"by_name": True},
        "good-endless": {"next_update": None},
        "good-ends-now": {"next_update": at},
        "revoked": {"status": REVOKED, "revoked_at": at - 9 * HOUR},
        "revoked-without-nonce": {"status": REVOKED, "nonce": None},
        "revoked-other-nonce": {"status": REVOKED, "nonce": bytes(32)},
        "revoked-expired": {"status": REVOKED, **old},
        "unknown": {"status": UNKNOWN},
        "expired": old,
        "expired-endless": {"this_update": at - 3 * HOUR, "next_update": None},
        "early": {"this_update": at + HOUR / 2, "next_update": at + 2 * HOUR},
        "early-within-skew": {"this_update": at + HOUR / 30},
        "other-card": {"about": _card(igc, "nurse")},
        "other-issuer": {"issuer": rogue.certificate},
        "forged": {"responder": forger, "by_name": True},
        "forged-by-key": {"responder": forger},
        "by-root": {
            "responder": OcspResponder(
                igc.authorities["fort"].certificate, igc.authorities["fort"].key
            )
        },
    }


def _responders(igc: FakeIgcSante, key: RSAPrivateKey) -> dict[str, OcspResponder]:
    at = igc.made_at
    doctor = igc.cards["doctor"].authentication_key
    return {
        "delegated": _delegated(igc, key),
        "delegated-to-be-checked": _delegated(igc, key, check=True),
        "delegated-ecdsa": _delegated(igc, ec.generate_private_key(ec.SECP256R1())),
        "client": _delegated(igc, key, usages=(_CLIENT,)),
        "of-other-authority": _delegated(igc, key, by="standard-personnes"),
        "of-forger": _delegated(igc, key, by="rogue-fort-personnes"),
        "expired-one": _delegated(igc, key, not_after=at - HOUR),
        "early-one": _delegated(igc, key, not_before=at + HOUR),
        "enciphering": _delegated(igc, key, more=((key_usage("key_encipherment"), True),)),
        "critical-unknown": _delegated(igc, key, more=((_ODD, True),)),
        "card": OcspResponder(_card(igc), doctor),
    }


def _delegated(
    igc: FakeIgcSante,
    key: Any,
    *,
    by: str = "fort-personnes",
    usages: Iterable[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    check: bool = False,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    **changes: Any,
) -> OcspResponder:
    authority = igc.authorities[by]
    request = dataclasses.replace(
        igc.request(),
        public_key=key.public_key(),
        extensions=(
            *(more or ((key_usage("digital_signature"), True),)),
            (x509.ExtendedKeyUsage(list(usages)), False),
            (issued_by(authority), False),
            *(() if check else ((x509.OCSPNoCheck(), False),)),
        ),
        **changes,
    )
    certificate = sign_certificate(request, authority.certificate.subject, authority.key)
    return OcspResponder(certificate, key)


def _answer(igc: FakeIgcSante, responder: OcspResponder | None = None, **changes: Any) -> bytes:
    issuer = igc.authorities["fort-personnes"]
    values: dict[str, Any] = {
        "about": _card(igc),
        "issuer": issuer.certificate,
        "responder": responder or OcspResponder(issuer.certificate, issuer.key),
        "nonce": NONCE,
        "this_update": igc.made_at - HOUR / 60,
        "next_update": igc.made_at + HOUR,
    } | changes
    answer = ocsp_answer(
        values.pop("about"),
        values.pop("issuer"),
        values["responder"],
        **{name: value for name, value in values.items() if name != "responder"},
    )
    return _produced(answer, igc, values["responder"].key)


def _produced(answer: bytes, igc: FakeIgcSante, key: Any) -> bytes:
    """Date an answer, which the library dates now, and sign it again."""
    response, basic = parsed_answer(answer)
    assert basic.children is not None
    assert basic.children[0].children is not None
    produced = next(node for node in basic.children[0].children if node.tag == 0x18)
    produced.content = f"{igc.made_at - HOUR / 60:%Y%m%d%H%M%SZ}".encode()
    if isinstance(key, RSAPrivateKey):
        sign_again(basic, key)
    else:
        signed = key.sign(basic.children[0].der(), ec.ECDSA(SHA256()))
        basic.children[2].content, basic.children[2].children = b"\x00" + signed, None
    return response.der()
