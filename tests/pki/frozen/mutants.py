"""Cases of inputs that were changed, and of changed ones that were signed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from tests.pki.frozen import der_tree, pools
from tests.pki.frozen.cases import ANCHORS, FORT_LIST, INTERMEDIATES, ROOT_LIST, Case, described
from tests.pki.frozen.draws import Draws
from tests.pki.frozen.inputs import AT, NONCE, kept, leaf, signer_key
from tests.pki.frozen.meanings import PARTS, SENSE
from tests.pki.frozen.mutations import FORM, Change, Pool, change_bytes, change_tree
from tests.pki.frozen.others import real_certificates, real_trusts
from tests.pki.frozen.signing import certificate_sent_along, parsed_answer, sign_again

_REAL_AT = datetime(2018, 1, 1, tzinfo=UTC)


class _Seed(NamedTuple):
    name: str
    der: bytes


def _pool(kind: str, others: Sequence[bytes], extensions: tuple[bytes, ...]) -> Pool:
    """Return what may be put in; serial numbers of cards are among the numbers."""
    serials = [der_tree.parse(leaf(name)) for name in ("doctor", "revoked", "nurse")]
    numbers = [next(n.content for n in node.walk()[4:] if n.tag == 2) for node in serials]
    own = (*numbers[:1] * 4, *numbers) if kind == "lists" else tuple(numbers)
    return Pool(
        tuple(others),
        pools.OIDS,
        (*pools.NUMBERS, *own),
        pools.TIMES,
        pools.TEXTS,
        extensions,
    )


def _readable(ders: Mapping[str, bytes]) -> list[_Seed]:
    found = []
    for name, der in ders.items():
        try:
            der_tree.parse(der)
        except (ValueError, IndexError):
            continue
        found.append(_Seed(name, der))
    return found


@cache
def _seeds(kind: str) -> list[_Seed]:
    if kind == "real":
        return _readable(real_certificates())
    return _readable(kept(kind))


@cache
def _pool_of(kind: str) -> Pool:
    extensions = {
        "lists": pools.LIST_EXTENSIONS,
        "answers": pools.ANSWER_EXTENSIONS,
    }.get(kind, pools.CERTIFICATE_EXTENSIONS)
    return _pool(kind, [seed.der for seed in _seeds(kind)], extensions)


def _changed(seed: _Seed, draws: Draws, kind: str) -> tuple[bytes, str]:
    """Return a changed input and what was done to it."""
    how = draws.below(10)
    if how < 2:
        der, name = change_bytes(seed.der, draws)
        return der, f"{seed.name}/{name}"
    root = der_tree.parse(seed.der)
    changes: Sequence[Change] = FORM if how < 6 else (*SENSE, *PARTS)
    names = change_tree(root, draws, _pool_of(kind), changes, 1 + (draws.below(3) == 0))
    return root.der(), f"{seed.name}/{'+'.join(names)}"


# --- Certificates ----------------------------------------------------------------


def certificate(i: int) -> Case:
    """Return a changed certificate: what a signature must not let through."""
    draws = Draws(f"certificates/{i}")
    der, name = _changed(draws.one_of(_seeds("certificates")), draws, "certificates")
    return Case(f"certificates/{i}/{name}", der)


def real_certificate(i: int) -> Case:
    """Return a changed certificate of the real IGC-Santé, whose encodings are not all ours."""
    draws = Draws(f"real-certificates/{i}")
    der, name = _changed(draws.one_of(_seeds("real")), draws, "real")
    trust = real_trusts()["test"]
    return Case(f"real-certificates/{i}/{name}", der, (), _REAL_AT, trust)


_OF_FORT = (
    *("doctor", "pharmacist", "nurse", "doctor-signature", "test-category"),
    *("odd-none", "odd-latin-1", "odd-unsorted", "odd-ca-false", "odd-all", "p256", "eid"),
    *("no-extended-usage", "no-points", "software", "type-cpf-fort", "unknown"),
)


def _signed_changes(draws: Draws) -> Sequence[Change]:
    """Return mostly changes after which the rules behind the signature are reached."""
    return draws.one_of((FORM, PARTS, *(SENSE,) * 8))


def _signed(seed: _Seed, draws: Draws, kind: str, key: str) -> tuple[bytes, str]:
    """Return a certificate or a list with its signed part changed, and signed again."""
    root = der_tree.parse(seed.der)
    changes = _signed_changes(draws)
    assert root.children is not None
    names = change_tree(root.children[0], draws, _pool_of(kind), changes, 1 + draws.below(2))
    sign_again(root, signer_key(key))
    return root.der(), f"{seed.name}/{'+'.join(names)}"


def signed_certificate(i: int) -> Case:
    """Return a changed certificate that the authority signed."""
    draws = Draws(f"signed-certificates/{i}")
    name = draws.one_of(_OF_FORT)
    der, done = _signed(_Seed(name, leaf(name)), draws, "certificates", "fort-personnes")
    settings = "eid" if name == "eid" else draws.one_of(("login", "login", "login", "policies"))
    return Case(f"signed-certificates/{i}/{done}", der, settings=settings)


def authority(i: int) -> Case:
    """Return the doctor under a changed authority, that the root signed."""
    draws = Draws(f"authorities/{i}")
    names = ("authority-fort-personnes", "authority-fort-personnes", "authority-fort")
    name = draws.one_of(names)
    der, done = _signed(_Seed(name, leaf(name)), draws, "certificates", "fort")
    if name == "authority-fort":
        trust = described("IGC-Santé FICTIVE", (der, ANCHORS[1]), INTERMEDIATES)
    else:
        trust = described("IGC-Santé FICTIVE", ANCHORS, (der, INTERMEDIATES[1]))
    return Case(f"authorities/{i}/{done}", leaf(), trust=trust)


# --- Lists -----------------------------------------------------------------------


def _with_lists(name: str, der: bytes, draws: Draws) -> Case:
    holder = draws.one_of(("doctor", "doctor", "doctor", "revoked", "no-points"))
    among = draws.below(4)
    lists = ((der,), (der,), (FORT_LIST, der), (der, FORT_LIST))[among]
    suffix = ("", "", "/after", "/before")[among]
    return Case(f"{name}/{holder}{suffix}", leaf(holder), (*lists, ROOT_LIST))


def changed_list(i: int) -> Case:
    """Return a sound certificate judged with a changed list."""
    draws = Draws(f"changed-lists/{i}")
    der, done = _changed(draws.one_of(_seeds("lists")), draws, "lists")
    return _with_lists(f"changed-lists/{i}/{done}", der, draws)


def signed_list(i: int) -> Case:
    """Return a sound certificate judged with a changed list that the authority signed."""
    draws = Draws(f"signed-lists/{i}")
    seed = draws.one_of([seed for seed in _seeds("lists") if not seed.name.startswith("root")])
    der, done = _signed(seed, draws, "lists", "fort-personnes")
    return _with_lists(f"signed-lists/{i}/{done}", der, draws)


# --- OCSP answers ----------------------------------------------------------------


def _with_answer(name: str, der: bytes, draws: Draws) -> Case:
    nonce = draws.one_of((NONCE, NONCE, None))
    settings = draws.one_of(("login", "login", "no-nonce"))
    lists = (kept("lists")["for-responders"],) if "to-be-checked" in name else ()
    return Case(name, leaf(), (*lists, ROOT_LIST), AT, settings=settings, answers=((der, nonce),))


def changed_answer(i: int) -> Case:
    """Return a sound certificate judged with a changed answer and no list."""
    draws = Draws(f"changed-answers/{i}")
    der, done = _changed(draws.one_of(_seeds("answers")), draws, "answers")
    return _with_answer(f"changed-answers/{i}/{done}", der, draws)


_BY_RESPONDER = ("by-delegated", "by-delegated-to-be-checked", "delegated-revoked")
_ANSWERED = ("good", "good", "good-named", "good-endless", "revoked", "unknown", *_BY_RESPONDER * 2)


def signed_answer(i: int) -> Case:
    """Return a sound certificate judged with a changed answer, signed again.

    For a delegated responder half of the changes are to its certificate, which its issuer signs.
    """
    draws = Draws(f"signed-answers/{i}")
    name = draws.one_of(_ANSWERED)
    response, basic = parsed_answer(kept("answers")[name])
    assert basic.children is not None
    changed, delegated = basic.children[0], name in _BY_RESPONDER
    sent = certificate_sent_along(basic)
    changes = _signed_changes(draws)
    if sent is not None and delegated and draws.below(2):
        assert sent.children is not None
        changed = sent.children[0]
    done = change_tree(changed, draws, _pool_of("answers"), changes, 1 + draws.below(2))
    if sent is not None:
        sign_again(sent, signer_key("fort-personnes"))
    sign_again(basic, signer_key("responder" if delegated else "fort-personnes"))
    return _with_answer(f"signed-answers/{i}/{name}/{'+'.join(done)}", response.der(), draws)
