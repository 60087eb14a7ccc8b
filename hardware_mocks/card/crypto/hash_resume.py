"""SHA-1 and SHA-256 finished from an intermediate state (FIPS 180-4), as a CPS does.

The host hashes all but the last block and hands over the state; no library offers that.
"""

from __future__ import annotations

import math
from collections.abc import Callable

BLOCK_BYTES = 64
_MASK = 0xFFFFFFFF


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _cube_root_fraction(number: int) -> int:
    """Return the first 32 bits of the fraction of the cube root."""
    scaled = number << 96
    root: int = round(scaled ** (1 / 3))
    while root**3 > scaled:
        root -= 1
    while (root + 1) ** 3 <= scaled:
        root += 1
    return root & _MASK


_SHA256_CONSTANTS = tuple(_cube_root_fraction(prime) for prime in _primes(64))  # section 4.2.2
_SHA256_INITIAL = tuple(math.isqrt(prime << 64) & _MASK for prime in _primes(8))  # section 5.3.3
_SHA1_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)  # section 5.3.1
_SHA1_CONSTANTS = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)  # section 4.2.1

_State = tuple[int, ...]


def initial_state(name: str) -> bytes:
    """Return the state of "sha1" (20 bytes) or "sha256" (32 bytes) before any message."""
    return _bytes(_FUNCTIONS[name][1])


def absorb(name: str, state: bytes, block: bytes) -> bytes:
    """Return the state after one more block of 64 bytes."""
    compress, _ = _FUNCTIONS[name]
    return _bytes(compress(_words(state), _words(block)))


def finish(name: str, state: bytes, bits_before: int, last_block: bytes) -> bytes:
    """Return the digest of what is in `state` already, that many bits, and of 0 to 64 bytes."""
    padding = b"\x80" + bytes(-(len(last_block) + 9) % BLOCK_BYTES)
    padded = last_block + padding + (bits_before + 8 * len(last_block)).to_bytes(8)
    for start in range(0, len(padded), BLOCK_BYTES):
        state = absorb(name, state, padded[start : start + BLOCK_BYTES])
    return state


def _words(data: bytes) -> _State:
    return tuple(int.from_bytes(data[i : i + 4]) for i in range(0, len(data), 4))


def _bytes(words: _State) -> bytes:
    return b"".join(word.to_bytes(4) for word in words)


def _rotate_left(word: int, count: int) -> int:
    return (word << count | word >> (32 - count)) & _MASK


def _sha1_block(state: _State, block: _State) -> _State:
    """FIPS 180-4 section 6.1.2."""
    w = list(block)
    for t in range(16, 80):
        w.append(_rotate_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1))
    a, b, c, d, e = state
    for t in range(80):
        parity = b ^ c ^ d
        mixed = (b & c | ~b & d, parity, b & c | b & d | c & d, parity)[t // 20]
        new = _rotate_left(a, 5) + (mixed & _MASK) + e + _SHA1_CONSTANTS[t // 20] + w[t]
        a, b, c, d, e = new & _MASK, a, _rotate_left(b, 30), c, d
    return tuple((old + x) & _MASK for old, x in zip(state, (a, b, c, d, e), strict=True))


def _sigma(word: int, first: int, second: int, third: int, shift: int = 0) -> int:
    """Right rotations, or a right shift as the third when `shift` is given."""
    last = word >> shift if shift else _rotate_left(word, 32 - third)
    return _rotate_left(word, 32 - first) ^ _rotate_left(word, 32 - second) ^ last


def _sha256_block(state: _State, block: _State) -> _State:
    """FIPS 180-4 section 6.2.2."""
    w = list(block)
    for t in range(16, 64):
        s0, s1 = _sigma(w[t - 15], 7, 18, 0, shift=3), _sigma(w[t - 2], 17, 19, 0, shift=10)
        w.append((s1 + w[t - 7] + s0 + w[t - 16]) & _MASK)
    a, b, c, d, e, f, g, h = state
    for t in range(64):
        choice, majority = e & f ^ ~e & _MASK & g, a & b ^ a & c ^ b & c
        t1 = h + _sigma(e, 6, 11, 25) + choice + _SHA256_CONSTANTS[t] + w[t]
        t2 = _sigma(a, 2, 13, 22) + majority
        a, b, c, d, e, f, g, h = (t1 + t2) & _MASK, a, b, c, (d + t1) & _MASK, e, f, g
    worked = (a, b, c, d, e, f, g, h)
    return tuple((old + x) & _MASK for old, x in zip(state, worked, strict=True))


_FUNCTIONS: dict[str, tuple[Callable[[_State, _State], _State], _State]] = {
    "sha1": (_sha1_block, _SHA1_INITIAL),
    "sha256": (_sha256_block, _SHA256_INITIAL),
}
