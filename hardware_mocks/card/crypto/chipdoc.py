"""MANAGE SECURITY ENVIRONMENT and PSO of the ChipDoc applet (facts, section 6.6)."""

from __future__ import annotations

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.command import Command
from hardware_mocks.card.content.contents import KeyObject
from hardware_mocks.card.content.file_system import DECIPHER, SIGN
from hardware_mocks.card.crypto import rsa
from hardware_mocks.card.session import ControlReference, Session

SHA1_PKCS1, SHA256_PKCS1, SHA1_PSS, SHA256_PSS = 0x0A, 0x28, 0x15, 0x2C
_PKCS1 = {SHA1_PKCS1: rsa.SHA1_DIGEST_INFO, SHA256_PKCS1: rsa.SHA256_DIGEST_INFO}
_DIGEST_BYTES = {SHA1_PKCS1: 20, SHA256_PKCS1: 32, SHA1_PSS: 20, SHA256_PSS: 32}
_SET_SIGNATURE, _SET_CONFIDENTIALITY = 0x81B6, 0x41B8
_PSO_SIGN, _PSO_DECIPHER = 0x9E9A, 0x8086
_KEY_BIT = 0x80  # added to the key reference in 81B6, not in 41B8


def manage_security_environment(session: Session, command: Command) -> bytes:
    """`91 02 algorithm key|80` for signatures, `83 01 key` for raw RSA."""
    data = command.data
    if command.p1p2 == _SET_SIGNATURE:
        if len(data) != 4 or data[:2] != b"\x91\x02" or data[2] not in _DIGEST_BYTES:
            raise sw.Refusal(sw.WRONG_DATA)
        reference = ControlReference(data[2], _known(session, data[3] ^ _KEY_BIT))
    elif command.p1p2 == _SET_CONFIDENTIALITY:
        if len(data) != 3 or data[:2] != b"\x83\x01":
            raise sw.Refusal(sw.WRONG_DATA)
        reference = ControlReference(None, _known(session, data[2]))
    else:
        raise sw.Refusal(sw.WRONG_P1P2)
    session.templates[command.p1p2] = reference
    return b""


def _known(session: Session, reference: int) -> int:
    if reference not in session.contents.keys:
        raise sw.Refusal(sw.REFERENCE_NOT_FOUND)
    return reference


def perform_security_operation(session: Session, command: Command) -> bytes:
    """Sign a hash, or apply the private key to a whole block."""
    operations = {_PSO_SIGN: _sign, _PSO_DECIPHER: _raw_rsa}
    operation = operations.get(command.p1p2)
    if operation is None:
        raise sw.Refusal(sw.WRONG_P1P2)
    return operation(session, command.data)


def _sign(session: Session, digest: bytes) -> bytes:
    key, algorithm = _key(session, _SET_SIGNATURE, SIGN)
    if algorithm is None or algorithm not in key.algorithms:
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    if len(digest) != _DIGEST_BYTES[algorithm]:
        raise sw.Refusal(sw.WRONG_DATA)
    if algorithm not in _PKCS1 and session.contents.quirks.refuses_pss:
        if session.contents.quirks.forgets_pin_with_it:
            session.verified.clear()
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    if algorithm in _PKCS1:
        return rsa.sign(key.private_key, _PKCS1[algorithm] + digest)
    return rsa.sign_pss(key.private_key, digest)


def _raw_rsa(session: Session, block: bytes) -> bytes:
    """Padding is the host's business, in signatures as in decryption."""
    key, _ = _key(session, _SET_CONFIDENTIALITY, DECIPHER)
    try:
        return rsa.private_operation(key.private_key, block)
    except ValueError as error:
        raise sw.Refusal(sw.WRONG_DATA) from error


def _key(session: Session, template: int, operation: int) -> tuple[KeyObject, int | None]:
    reference = session.templates.get(template)
    if reference is None or reference.key is None:
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    key = session.contents.keys[reference.key]
    session.require(key.rules.condition(operation))
    return key, reference.algorithm
