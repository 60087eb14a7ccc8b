"""Changes to certificates, lists and answers, drawn from a seed.

Changes of form break the encoding; changes of bytes know nothing of it; changes of meaning, which
leave sound DER that says something else, are in `tests.pki.frozen.meanings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.pki.frozen import der_tree as der
from tests.pki.frozen.der_tree import Node
from tests.pki.frozen.draws import Draws


@dataclass(frozen=True)
class Pool:
    """What may be put in the place of what was there.

    Attributes:
        others: genuine inputs of the same kind, whose parts may be grafted.
        oids, numbers, times, texts, extensions: contents of elements; an extension is whole.
    """

    others: tuple[bytes, ...]
    oids: tuple[bytes, ...]
    numbers: tuple[bytes, ...]
    times: tuple[tuple[int, bytes], ...]
    texts: tuple[bytes, ...]
    extensions: tuple[bytes, ...]


Change = Callable[[Node, Draws, Pool], bool]
"""Changes a tree in place; False when there is nothing in it to change."""


def change_tree(
    root: Node, draws: Draws, pool: Pool, changes: Sequence[Change], count: int
) -> tuple[str, ...]:
    """Change a tree in place some times, and return the names of the changes."""
    names: list[str] = []
    while len(names) < count:
        change = draws.one_of(changes)
        if change(root, draws, pool):
            names.append(change.__name__.strip("_"))
    return tuple(names)


def change_bytes(data: bytes, draws: Draws) -> tuple[bytes, str]:
    """Return bytes that were changed without looking at their form, and the name of the change."""
    at, size = draws.below(len(data)), 1 + draws.below(4)
    name = draws.one_of(("flip", "flip", "byte", "cut", "insert", "truncate", "append", "repeat"))
    if name == "flip":
        return data[:at] + bytes([data[at] ^ 1 << draws.below(8)]) + data[at + 1 :], "bit"
    replaced = {
        "byte": data[:at] + draws.octets(1) + data[at + 1 :],
        "cut": data[:at] + data[at + size :],
        "insert": data[:at] + draws.octets(size) + data[at:],
        "truncate": data[:at],
        "append": data + draws.octets(size),
        "repeat": data[: at + 8 * size] + data[at:],
    }
    return replaced[name], name


def any_node(root: Node, draws: Draws) -> Node:
    """Return one element."""
    return draws.one_of(root.walk())


def inner(root: Node, draws: Draws, least: int = 1) -> list[Node] | None:
    """Return what is inside one element, to be changed; None when no element has so much."""
    found = [node for node in root.walk() if len(node.children or ()) >= least]
    return draws.one_of(found).children if found else None


def _tag(root: Node, draws: Draws, _pool: Pool) -> bool:
    any_node(root, draws).tag = draws.one_of(
        (1, 2, 3, 4, 5, 6, 10, 12, 19, 23, 24, 48, 49, 160, 161)
    )
    return True


def _tag_bit(root: Node, draws: Draws, _pool: Pool) -> bool:
    any_node(root, draws).tag ^= 1 << draws.below(8)
    return True


def _length(root: Node, draws: Draws, _pool: Pool) -> bool:
    node = any_node(root, draws)
    size = len(node.der()) - len(der.header(node.tag, 0))
    lengths = (
        b"\x80",
        b"\x84\xff\xff\xff\xff",
        b"\x82" + (size & 0xFFFF).to_bytes(2, "big"),
        b"\x83" + size.to_bytes(3, "big"),
        b"\x85" + size.to_bytes(5, "big"),
        bytes([max(0, size - 1) & 0x7F]),
        bytes([(size + 1) & 0x7F]),
        b"\x00",
    )
    node.header = bytes([node.tag]) + draws.one_of(lengths)
    return True


def _content(root: Node, draws: Draws, _pool: Pool) -> bool:
    """Make the content of a primitive element longer, shorter, empty or extreme."""
    node = draws.one_of([node for node in root.walk() if node.children is None])
    old, at = node.content, draws.below(len(node.content) + 1)
    contents = (
        b"",
        old[:at] + draws.octets(1 + draws.below(8)) + old[at:],
        old[:at] + old[at + 1 :],
        bytes(len(old)),
        b"\xff" * len(old),
        old + b"\x00",
        b"\x00" + old,
        old * 2,
        b"\x7f" * draws.one_of((128, 300, 1200, 9000)),
    )
    node.content = draws.one_of(contents)
    return True


def _wrap(root: Node, draws: Draws, _pool: Pool) -> bool:
    inside = inner(root, draws)
    if inside is None:
        return False
    at = draws.below(len(inside))
    inside[at] = Node(draws.one_of((0x30, 0x31, 0xA0)), children=[inside[at]])
    return True


def _bit(root: Node, draws: Draws, _pool: Pool) -> bool:
    filled = [node for node in root.walk() if node.children is None and node.content]
    node = draws.one_of(filled)
    changed = bytearray(node.content)
    changed[draws.below(len(changed))] ^= 1 << draws.below(8)
    node.content = bytes(changed)
    return True


FORM: tuple[Change, ...] = (_tag, _tag_bit, _length, _content, _content, _wrap, _bit)
