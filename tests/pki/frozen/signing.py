"""Signs changed inputs again, so that the rules behind the signature are reached.

PKCS#1 v1.5 gives the same signature each time, so nothing that was signed need be kept.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.pki.frozen.der_tree import OCTET_STRING, Node, parse


def sign_again(signed: Node, key: RSAPrivateKey) -> None:
    """Put a fresh signature over the first part of a certificate, a list or a basic answer."""
    assert signed.children is not None
    signature = signed.children[2]
    signature.children = None
    data = signed.children[0].der()
    signature.content = b"\x00" + key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def basic_answer(response: Node) -> Node:
    """Return the BasicOCSPResponse inside an OCSPResponse (RFC 6960 section 4.2.1)."""
    octets = next(node for node in response.walk() if node.tag == OCTET_STRING)
    assert octets.children is not None
    return octets.children[0]


def certificate_sent_along(basic: Node) -> Node | None:
    """Return the first certificate in an answer, None when there is none."""
    assert basic.children is not None
    if len(basic.children) < 4:
        return None
    listed = (basic.children[3].children or [])[0]
    return (listed.children or [])[0]


def parsed_answer(der: bytes) -> tuple[Node, Node]:
    """Return an answer, and the part of it that is signed with its signature."""
    response = parse(der)
    return response, basic_answer(response)
