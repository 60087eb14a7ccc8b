"""MANAGE SECURITY ENVIRONMENT, PSO, INTERNAL AUTHENTICATE, GET CHALLENGE (ISO 7816-8, -4)."""

from __future__ import annotations

import os

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.ber import split_tlvs
from hardware_mocks.card.command import Command
from hardware_mocks.card.content.contents import KeyObject
from hardware_mocks.card.content.file_system import DECIPHER, INTERNAL_AUTHENTICATE, SIGN
from hardware_mocks.card.crypto import hash_resume, rsa
from hardware_mocks.card.session import ControlReference, Session

_SET_FOR_COMPUTATION = 0x41
_AUTHENTICATION, _HASH, _SIGNATURE, _CONFIDENTIALITY = 0xA4, 0xAA, 0xB6, 0xB8
_ALGORITHM, _PRIVATE_KEY = 0x80, 0x84  # tags in a control reference template
_HASHES = {0x10: "sha1", 0x40: "sha256"}
_DIGEST_INFOS = {0x12: rsa.SHA1_DIGEST_INFO, 0x42: rsa.SHA256_DIGEST_INFO}
_DIGEST_BYTES = {0x12: 20, 0x42: 32}
_ALGORITHMS = {
    _AUTHENTICATION: frozenset({0x02}),
    _HASH: frozenset(_HASHES),
    _SIGNATURE: frozenset(_DIGEST_INFOS),
    _CONFIDENTIALITY: frozenset({0x1A}),
}
_AUTHENTICATE_MAX_BYTES = 102  # 40 % of the modulus (ISO/IEC 7816-8; PKCS #1 type 1)
_COUNTER_BYTES = 8  # after the state: how many bits are in it
_PSO_HASH, _PSO_SIGN, _PSO_DECIPHER = 0x90A0, 0x9E9A, 0x8086


def manage_security_environment(session: Session, command: Command) -> bytes:
    """Set the algorithm and the key of the operations to come; the order of the TLVs is free."""
    supported = _ALGORITHMS.get(command.p2)
    if command.p1 != _SET_FOR_COMPUTATION or supported is None:
        raise sw.Refusal(sw.WRONG_P1P2)
    values = {tag: int.from_bytes(value) for tag, value in _template(command.data)}
    algorithm, key = values.get(_ALGORITHM), values.get(_PRIVATE_KEY)
    if set(values) - {_ALGORITHM, _PRIVATE_KEY} or algorithm not in supported:
        raise sw.Refusal(sw.WRONG_DATA)
    if key is not None and key not in session.contents.keys:
        raise sw.Refusal(sw.REFERENCE_NOT_FOUND)
    session.templates[command.p2] = ControlReference(algorithm, key)
    return b""


def _template(data: bytes) -> list[tuple[int, bytes]]:
    try:
        return split_tlvs(data)
    except ValueError as error:
        raise sw.Refusal(sw.WRONG_DATA) from error


def perform_security_operation(session: Session, command: Command) -> bytes:
    """Hash, sign or decipher."""
    operations = {_PSO_HASH: _hash, _PSO_SIGN: _sign, _PSO_DECIPHER: _decipher}
    operation = operations.get(command.p1p2)
    if operation is None:
        raise sw.Refusal(sw.WRONG_P1P2)
    return operation(session, command.data)


def _hash(session: Session, data: bytes) -> bytes:
    """`90 L state and count of bits` (or L = 0), `80 L last block`."""
    template = session.templates.get(_HASH)
    if template is None or template.algorithm is None:
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    name = _HASHES[template.algorithm]
    parts = _template(data)
    if [tag for tag, _ in parts] != [0x90, 0x80]:
        raise sw.Refusal(sw.WRONG_DATA)
    (_, state), (_, last_block) = parts
    start = hash_resume.initial_state(name)
    size = len(start)
    if len(state) not in (0, size + _COUNTER_BYTES) or len(last_block) > hash_resume.BLOCK_BYTES:
        raise sw.Refusal(sw.WRONG_DATA)
    bits_before = int.from_bytes(state[size:])
    if bits_before >= 1 << 63:  # no message is that long, and the sum must fit eight bytes
        raise sw.Refusal(sw.WRONG_DATA)
    session.last_hash = hash_resume.finish(name, state[:size] or start, bits_before, last_block)
    return b""


def _sign(session: Session, data: bytes) -> bytes:
    """Sign the hash in the command or, without one, the last that the card finished itself."""
    key, algorithm = _key(session, _SIGNATURE, SIGN)
    digest = data or session.last_hash
    if digest is None:
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    if len(digest) != _DIGEST_BYTES[algorithm]:
        raise sw.Refusal(sw.WRONG_DATA)
    return rsa.sign(key.private_key, _DIGEST_INFOS[algorithm] + digest)


def _decipher(session: Session, data: bytes) -> bytes:
    """`81` (the padding indicator of the card) and the cryptogram; the padding is removed."""
    key, _ = _key(session, _CONFIDENTIALITY, DECIPHER)
    if data[:1] != b"\x81":
        raise sw.Refusal(sw.WRONG_DATA)
    try:
        return rsa.decrypt(key.private_key, data[1:])
    except ValueError as error:
        raise sw.Refusal(sw.WRONG_DATA) from error


def internal_authenticate(session: Session, command: Command) -> bytes:
    """Sign any data up to 102 bytes: the card adds the padding and nothing else."""
    if command.p1p2 != 0:
        raise sw.Refusal(sw.WRONG_P1P2)
    key, _ = _key(session, _AUTHENTICATION, INTERNAL_AUTHENTICATE)
    if not 0 < len(command.data) <= _AUTHENTICATE_MAX_BYTES:
        raise sw.Refusal(sw.WRONG_LENGTH)
    return rsa.sign(key.private_key, command.data)


def _key(session: Session, template_tag: int, operation: int) -> tuple[KeyObject, int]:
    """Return the chosen key, if it may do this now, and the chosen algorithm."""
    template = session.templates.get(template_tag)
    if template is None or template.key is None or template.algorithm is None:
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    key = session.contents.keys[template.key]
    session.require(key.rules.condition(operation))
    return key, template.algorithm


def get_challenge(_session: Session, command: Command) -> bytes:
    """Return Le random bytes."""
    if command.p1p2 != 0:
        raise sw.Refusal(sw.WRONG_P1P2)
    return os.urandom(command.le or 0)
