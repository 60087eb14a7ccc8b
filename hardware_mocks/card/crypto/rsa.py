"""RSA with a private key, as the cards do it: on whole blocks, or behind a padding (RFC 8017)."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed

SHA1_DIGEST_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_OVERHEAD_BYTES = 11  # 00 01 or 00 02, at least eight of padding, 00
_HASHES: dict[int, hashes.HashAlgorithm] = {20: hashes.SHA1(), 32: hashes.SHA256()}  # noqa: S303 - what the card offers


def sign(key: RSAPrivateKey, data: bytes) -> bytes:
    """Pad `data`, hash or not, as type 1 and sign it; at least 11 bytes shorter than the key."""
    return key.sign(data, padding.PKCS1v15(), NoDigestInfo())


def sign_pss(key: RSAPrivateKey, digest: bytes) -> bytes:
    """Sign a SHA-1 or SHA-256 digest; MGF1 of the same hash, salt as long as the hash."""
    algorithm = _HASHES[len(digest)]
    pss = padding.PSS(padding.MGF1(algorithm), salt_length=len(digest))
    return key.sign(digest, pss, Prehashed(algorithm))


def private_operation(key: RSAPrivateKey, block: bytes) -> bytes:
    """Return block^d mod n by the Chinese remainder theorem (RFC 8017 section 5.1.2).

    Raises:
        ValueError: not a block of this key.
    """
    end = block.find(b"\x00", 2)
    if end >= _OVERHEAD_BYTES - 1 and block[:end] == b"\x00\x01" + b"\xff" * (end - 2):
        return sign(key, block[end + 1 :])  # the same, in a fifth of the time
    numbers, number = key.private_numbers(), int.from_bytes(block)
    modulus = numbers.public_numbers.n
    size = (modulus.bit_length() + 7) // 8
    if len(block) != size or number >= modulus:
        raise ValueError("not a block of this key")
    m1 = pow(number % numbers.p, numbers.dmp1, numbers.p)
    m2 = pow(number % numbers.q, numbers.dmq1, numbers.q)
    return (m2 + numbers.q * (numbers.iqmp * (m1 - m2) % numbers.p)).to_bytes(size)


def decrypt(key: RSAPrivateKey, cryptogram: bytes) -> bytes:
    """Decrypt one block and remove its type 2 padding.

    Raises:
        ValueError: not a cryptogram of this key, or the padding is wrong.
    """
    padded = private_operation(key, cryptogram)
    end = padded.find(b"\x00", 2)
    if padded[:2] != b"\x00\x02" or end < _OVERHEAD_BYTES - 1:
        raise ValueError("wrong padding")
    return padded[end + 1 :]
