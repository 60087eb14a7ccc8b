"""RSA with a private key on raw blocks, and the PKCS #1 v1.5 paddings (RFC 8017).

The card pads what it is given, hash or not, so libraries that insist on hashing don't fit.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers

SHA1_DIGEST_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_OVERHEAD_BYTES = 11  # 00 01 or 00 02, at least eight of padding, 00


def private_operation(key: RSAPrivateNumbers, block: int) -> bytes:
    """Return block^d mod n by the Chinese remainder theorem (RFC 8017 section 5.1.2)."""
    size = (key.public_numbers.n.bit_length() + 7) // 8
    m1 = pow(block % key.p, key.dmp1, key.p)
    m2 = pow(block % key.q, key.dmq1, key.q)
    return (m2 + key.q * (key.iqmp * (m1 - m2) % key.p)).to_bytes(size)


def sign(key: RSAPrivateNumbers, data: bytes) -> bytes:
    """Pad `data` as type 1 and sign it; it must be at least 11 bytes shorter than the modulus."""
    size = (key.public_numbers.n.bit_length() + 7) // 8
    padded = b"\x00\x01" + b"\xff" * (size - len(data) - 3) + b"\x00" + data
    return private_operation(key, int.from_bytes(padded))


def decrypt(key: RSAPrivateNumbers, cryptogram: bytes) -> bytes:
    """Decrypt one block and remove its type 2 padding.

    Raises:
        ValueError: not a block of this key, or the padding is wrong.
    """
    number = int.from_bytes(cryptogram)
    size = (key.public_numbers.n.bit_length() + 7) // 8
    if len(cryptogram) != size or number >= key.public_numbers.n:
        raise ValueError("not a cryptogram of this key")
    padded = private_operation(key, number)
    end = padded.find(b"\x00", 2)
    if padded[:2] != b"\x00\x02" or end < _OVERHEAD_BYTES - 1:
        raise ValueError("wrong padding")
    return padded[end + 1 :]
