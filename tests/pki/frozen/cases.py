"""One judgement with all that it depends on, as plain bytes and names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from tests.pki.frozen.inputs import AT, FOLDER, kept


@dataclass(frozen=True)
class Trust:
    """The files of a trust folder.

    Attributes:
        name: where the folder is made; the name of the trust too when it has no trust.toml.
        files: contents by path inside the folder.
        production: whether the pinned authorities are looked for in it.
    """

    name: str
    files: tuple[tuple[str, bytes], ...]
    production: bool = False

    @cached_property
    def digest(self) -> bytes:
        """Return a hash of everything."""
        parts = [self.name.encode(), *(path.encode() + der for path, der in self.files)]
        return _digest(parts)


def described(
    name: str,
    anchors: tuple[bytes, ...],
    intermediates: tuple[bytes, ...],
    *,
    test_cards: bool = False,
) -> Trust:
    """Return a trust folder with a trust.toml."""
    text = f'name = "{name}"\ntest_cards = {str(test_cards).lower()}\n'
    return Trust(
        name,
        (
            ("trust.toml", text.encode()),
            *((f"anchors/{i:03}.cer", der) for i, der in enumerate(anchors)),
            *((f"intermediates/{i:03}.cer", der) for i, der in enumerate(intermediates)),
        ),
    )


ANCHORS = tuple(kept("trust/anchors").values())
INTERMEDIATES = tuple(kept("trust/intermediates").values())
LISTS = tuple(kept("trust/crl").values())
FORT_LIST, STANDARD_LIST = kept("trust/crl")["ACI-FO-PP"], kept("trust/crl")["ACI-ST-PP"]
ROOT_LIST = kept("trust/crl")["ACR-FO"]


def _fictive() -> Trust:
    files = [("trust.toml", (FOLDER / "trust" / "trust.toml").read_bytes())]
    for kind in ("anchors", "intermediates"):
        files += [(f"{kind}/{name}.cer", der) for name, der in kept(f"trust/{kind}").items()]
    return Trust("fictive", tuple(files))


FICTIVE = _fictive()

Answers = tuple[tuple[bytes, bytes | None], ...]
"""OCSP answers, each with the nonce of its question."""


@dataclass(frozen=True)
class Case:
    """One judgement.

    Attributes:
        name: unique, the group first.
        leaf: the certificate that is judged.
        lists: revocation lists in the order in which the store is given them.
        settings: a name of `tests.pki.frozen.product.SETTINGS`.
        answers: what the responder says to every question; None: nobody is asked.
        earlier: lists that were in the folder before, one tuple a judgement; the lists are then
            read from a folder.
    """

    name: str
    leaf: bytes
    lists: tuple[bytes, ...] = LISTS
    at: datetime = AT
    trust: Trust = FICTIVE
    settings: str = "login"
    answers: Answers | None = None
    earlier: tuple[tuple[bytes, ...], ...] | None = None

    @property
    def input_hex(self) -> str:
        """Return a short hash of everything that is judged."""
        return _digest(self._parts()).hex()[:6]

    def _parts(self) -> Iterator[bytes]:
        yield self.settings.encode() + self.at.isoformat().encode()
        yield self.leaf
        yield self.trust.digest
        for lists in (self.lists, *(self.earlier or ())):
            yield b"lists"
            yield from lists
        for answer, nonce in self.answers or ():
            yield answer
            yield nonce or b"none"


def _digest(parts: Iterator[bytes] | list[bytes]) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(b"%d:" % len(part))
        whole.update(part)
    return whole.digest()
