"""Changes of meaning: the DER stays sound, and says something else."""

from __future__ import annotations

from collections.abc import Callable

from tests.pki.frozen import der_tree as der
from tests.pki.frozen.der_tree import Node
from tests.pki.frozen.draws import Draws
from tests.pki.frozen.mutations import Change, Pool, any_node, inner


def _of(root: Node, draws: Draws, *tags: int) -> Node | None:
    found = [node for node in root.walk() if node.tag in tags and node.children is None]
    return draws.one_of(found) if found else None


def _is_extension(node: Node) -> bool:
    inside = node.children or []
    tags = [child.tag for child in inside]
    return node.tag == der.SEQUENCE and tags in (
        [der.OID, der.OCTET_STRING],
        [der.OID, der.BOOLEAN, der.OCTET_STRING],
    )


def _extension_lists(root: Node) -> list[list[Node]]:
    found = [node.children or [] for node in root.walk() if node.tag == der.SEQUENCE]
    return [inside for inside in found if inside and all(map(_is_extension, inside))]


def _drop(root: Node, draws: Draws, _pool: Pool) -> bool:
    inside = inner(root, draws)
    if inside is None:
        return False
    del inside[draws.below(len(inside))]
    return True


def _duplicate(root: Node, draws: Draws, _pool: Pool) -> bool:
    inside = inner(root, draws)
    if inside is None:
        return False
    inside.insert(draws.below(len(inside) + 1), draws.one_of(inside).copy())
    return True


def _swap(root: Node, draws: Draws, _pool: Pool) -> bool:
    inside = inner(root, draws, least=2)
    if inside is None:
        return False
    one = draws.below(len(inside) - 1)
    inside[one], inside[one + 1] = inside[one + 1], inside[one]
    return True


def _graft(root: Node, draws: Draws, pool: Pool) -> bool:
    """Put a part of another genuine input in the place of one of the same tag."""
    other = der.parse(draws.one_of(pool.others))
    node = any_node(root, draws)
    same = [found for found in other.walk() if found.tag == node.tag]
    if not same:
        return False
    new = draws.one_of(same).copy()
    node.content, node.children, node.prefix = new.content, new.children, new.prefix
    return True


def _critical(root: Node, draws: Draws, _pool: Pool) -> bool:
    found = list(filter(_is_extension, root.walk()))
    if not found:
        return False
    extension = draws.one_of(found).children or []
    if len(extension) == 3:
        new = draws.one_of((b"", b"\x00", b"\x01", b"\xff\xff", None, None, None))
        if new is None:
            del extension[1]
        else:
            extension[1].content = new
    else:
        extension.insert(1, Node(der.BOOLEAN, draws.one_of((b"\xff", b"\xff", b"\xff", b"\x00"))))
    return True


def _extension(root: Node, draws: Draws, pool: Pool) -> bool:
    """Drop, double, move, add or replace a whole extension, or give it another's value."""
    lists = _extension_lists(root)
    if not lists:
        return False
    inside = draws.one_of(lists)
    at, other = draws.below(len(inside)), draws.below(len(inside))
    how = draws.below(10)
    if how == 0:
        inside.insert(other, inside[at].copy())
    elif how == 1:
        inside[at], inside[other] = inside[other], inside[at]
    elif how == 2:
        given = inside[other].children or []
        inside[at].children = [*(inside[at].children or [])[:-1], *given[-1:]]
    elif how < 5:
        del inside[at]
    else:
        _put(inside, der.parse(draws.one_of(pool.extensions)))
    return True


def _put(extensions: list[Node], new: Node) -> None:
    """Replace the extension of the same identifier, or add one."""
    oid = (new.children or [])[0].content
    same = [i for i, old in enumerate(extensions) if (old.children or [])[0].content == oid]
    if same:
        extensions[same[0]] = new
    else:
        extensions.append(new)


def _replacing(*tags: int) -> Callable[[Node, Draws, tuple[bytes, ...]], bool]:
    def replace(root: Node, draws: Draws, contents: tuple[bytes, ...]) -> bool:
        node = _of(root, draws, *tags)
        if node is None:
            return False
        node.content = draws.one_of(contents)
        return True

    return replace


def _oid(root: Node, draws: Draws, pool: Pool) -> bool:
    node = _of(root, draws, der.OID)
    if node is None or not node.content:
        return False
    last = bytes([(node.content[-1] + 1 + draws.below(3)) & 0x7F])
    node.content = node.content[:-1] + last if draws.below(3) == 0 else draws.one_of(pool.oids)
    return True


def _number(root: Node, draws: Draws, pool: Pool) -> bool:
    return _replacing(der.INTEGER, der.ENUMERATED)(root, draws, pool.numbers)


def _text(root: Node, draws: Draws, pool: Pool) -> bool:
    node = _of(root, draws, *der.TEXTS, 0x82, 0x86)
    if node is None:
        return False
    if draws.below(4) == 0 and node.tag < 0x80:
        node.tag = draws.one_of(der.TEXTS)
    else:
        node.content = draws.one_of(pool.texts)
    return True


def _time(root: Node, draws: Draws, pool: Pool) -> bool:
    node = _of(root, draws, der.UTC_TIME, der.GENERALIZED_TIME)
    if node is None:
        return False
    node.tag, node.content = draws.one_of(pool.times)
    return True


def _flags(root: Node, draws: Draws, _pool: Pool) -> bool:
    """Change a short BIT STRING: the key usages, or the reasons of a list."""
    found = [node for node in root.walk() if node.tag in (3, 0x81, 0x83) and len(node.der()) <= 5]
    if not found:
        return False
    flags = "0780 06c0 05a0 04f0 0106 0204 0780 0640 0001 00 07 08ff 0880 070080 0000 0781"
    node = draws.one_of(found)
    node.content, node.children = bytes.fromhex(draws.one_of(flags.split())), None
    return True


_VALUES: tuple[Change, ...] = (_oid, _number, _text, _time, _flags)
PARTS: tuple[Change, ...] = (_drop, _duplicate, _swap, _graft)
SENSE: tuple[Change, ...] = (*_VALUES, _time, _text, _critical, *(_extension,) * 6)
"""What mostly leaves something that can be read, but for `PARTS`, which seldom does."""
