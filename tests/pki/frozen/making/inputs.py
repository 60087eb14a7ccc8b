"""Makes the kept inputs anew: new keys, so every frozen verdict has to be written again.

python -m tests.pki.frozen inputs
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp

from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.making import FILES, ROOTS, make_authorities, make_card
from hardware_mocks.personas import PERSONAS
from tests.pki.frozen.inputs import AT, FOLDER
from tests.pki.frozen.making import answers as making_answers
from tests.pki.frozen.making import certificates as making_certificates
from tests.pki.frozen.making import lists as making_lists

_BITS = (2048, 2048, 4096, 4096, 2048, 2048)
"""FORT signs again and again when verdicts are compared, so its keys are shorter than real ones."""


def make_igc() -> FakeIgcSante:
    """Return a new fake IGC-Santé, dated around `AT`."""
    keys = [generate_private_key(65537, bits) for bits in _BITS]
    authorities = make_authorities(keys, AT)
    cards = {}
    for name, persona in PERSONAS.items():
        pair = [generate_private_key(65537, 2048) for _ in range(2)]
        cards[name] = make_card(persona, pair, authorities, AT)
    igc = FakeIgcSante(AT, authorities, cards)
    return FakeIgcSante(AT, authorities, cards, {FILES[name]: igc.crl(name) for name in FILES})


def make_inputs() -> None:
    """Write everything under tests/vectors/verdicts, but for its README."""
    igc = make_igc()
    responder = generate_private_key(65537, 2048)
    certificates = making_certificates.make(igc)
    lists, signer = making_lists.make(igc)
    answers, delegated = making_answers.make(igc, responder)
    checked = ocsp.load_der_ocsp_response(answers["by-delegated-to-be-checked"]).certificates[0]
    lists |= making_lists.for_responders(igc, checked.serial_number)
    _write("trust/anchors", "cer", {FILES[root]: igc.authorities[root].der for root in ROOTS})
    issuers = [f"{root}-personnes" for root in ROOTS]
    _write("trust/intermediates", "cer", {FILES[ca]: igc.authorities[ca].der for ca in issuers})
    _write("trust/crl", "crl", igc.crls)
    text = 'name = "IGC-Santé FICTIVE"\ntest_cards = false\n'
    (FOLDER / "trust" / "trust.toml").write_text(text, encoding="utf-8")
    _write("certificates", "der", certificates)
    _write("signers", "der", {"list-signer": signer, "responder": delegated})
    _write("lists", "crl", lists)
    _write("answers", "der", answers)
    keys = {name: igc.authorities[name].key for name in ("fort", "fort-personnes")}
    _write("keys", "der", _named_keys(keys | {"responder": responder}))


def _named_keys(keys: Mapping[str, RSAPrivateKey]) -> dict[str, bytes]:
    return {
        f"TEST-KEY-{name}": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        for name, key in keys.items()
    }


def _write(kind: str, suffix: str, ders: Mapping[str, bytes]) -> None:
    shutil.rmtree(FOLDER / kind, ignore_errors=True)
    (FOLDER / kind).mkdir(parents=True)
    for name, der in ders.items():
        (FOLDER / kind / f"{name}.{suffix}").write_bytes(der)
