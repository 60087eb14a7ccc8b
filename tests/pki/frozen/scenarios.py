"""Cases of genuine inputs: every kept one, alone and together, at many moments and settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import product

from tests.pki.frozen.cases import (
    ANCHORS,
    FICTIVE,
    FORT_LIST,
    INTERMEDIATES,
    LISTS,
    ROOT_LIST,
    Case,
    Trust,
    described,
)
from tests.pki.frozen.draws import Draws
from tests.pki.frozen.inputs import AT, NONCE, kept, leaf

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
MOMENTS = {
    "now": AT,
    "+1s": AT + SECOND,
    "-1s": AT - SECOND,
    "+1h": AT + HOUR,
    "+1h1s": AT + HOUR + SECOND,
    "-1h1s": AT - HOUR - SECOND,
    "+10h": AT + 10 * HOUR,
    "-30d1s": AT - 30 * DAY - SECOND,
    "+366d": AT + 366 * DAY,
    "+1070d": AT + 1070 * DAY,
    "+9000d": AT + 9000 * DAY,
    "-9000d": AT - 9000 * DAY,
}


def trusts() -> dict[str, Trust]:
    """Return other trust folders than the whole of the fake IGC-Santé, by a short name."""
    known, signers = kept("certificates"), kept("signers")
    rogue, rogue_root = known["authority-rogue-fort-personnes"], known["authority-rogue-fort"]
    plain = tuple((f"{i}.der", der) for i, der in enumerate((*ANCHORS, *INTERMEDIATES)))
    return {
        "test-cards": described("laboratory", ANCHORS, INTERMEDIATES, test_cards=True),
        "plain": Trust("plain folder", plain),
        "plain-issuers": Trust("no anchor", plain[2:]),
        "roots": described("roots only", ANCHORS, ()),
        "issuers": described("issuers as anchors", INTERMEDIATES, ()),
        "fort": described("one root", ANCHORS[:1], INTERMEDIATES),
        "standard": described("other root", ANCHORS[1:], INTERMEDIATES),
        "rogue-too": described("two of a name", ANCHORS, (rogue, *INTERMEDIATES)),
        "rogue": described("forger", (rogue_root,), (rogue,)),
        "list-signer": described("signer", ANCHORS, (*INTERMEDIATES, signers["list-signer"])),
        "leaf-as-anchor": described("leaf", (leaf(),), ()),
        "leaf-as-issuer": described("leaf too", ANCHORS, (*INTERMEDIATES, leaf())),
        "empty": described("empty", (), ()),
        "production-name": described("igc-santé", ANCHORS, INTERMEDIATES),
        "rubbish": described("rubbish", ANCHORS, (b"rubbish",)),
        "no-files": Trust("no files", (("other/readme.txt", b""),)),
    }


@cache
def kept_certificates() -> list[Case]:
    """Return every kept certificate, at many moments, under many settings and trusts."""
    return list(_kept_certificates())


def _kept_certificates() -> Iterator[Case]:
    for name, der in kept("certificates").items():
        for short, at in MOMENTS.items():
            yield Case(f"kept/{name}/{short}", der, at=at)
        for settings in ("cps-only", "staff-only", "eid", "policies", "grace"):
            yield Case(f"kept/{name}/{settings}", der, settings=settings)
        yield Case(f"kept/{name}/no-list", der, lists=())
    for (short, trust), name in product(trusts().items(), kept("certificates")):
        if short in ("test-cards", "rogue-too") or not name.startswith(("odd", "type", "no")):
            yield Case(f"kept/{name}/trust-{short}", leaf(name), trust=trust)


def _of_issuer() -> dict[str, bytes]:
    return {name: der for name, der in kept("lists").items() if not name.startswith("root-")}


@cache
def kept_lists() -> list[Case]:
    """Return every list alone and with every other in both orders, some at other moments."""
    return [*_single_lists(), *_pairs_of_lists(), *_random_lists(), *_folders()]


def _single_lists() -> Iterator[Case]:
    signer = trusts()["list-signer"]
    root_lists = {name: der for name, der in kept("lists").items() if name.startswith("root-")}
    for name, der in _of_issuer().items():
        lists = der, ROOT_LIST
        for holder in ("doctor", "revoked", "nurse", "no-points", "by-root", "cpe-nameless"):
            yield Case(f"lists/{name}/{holder}", leaf(holder), lists)
        for short, at in MOMENTS.items():
            yield Case(f"lists/{name}/{short}", leaf(), lists, at)
        yield Case(f"lists/{name}/grace", leaf(), lists, settings="grace")
        yield Case(f"lists/{name}/grace/+10h", leaf(), lists, AT + 10 * HOUR, settings="grace")
        yield Case(f"lists/{name}/signer", leaf(), lists, trust=signer)
        yield Case(f"lists/{name}/signer/+10h", leaf(), lists, AT + 10 * HOUR, trust=signer)
    for (name, der), (root, root_der) in product(_of_issuer().items(), root_lists.items()):
        yield Case(f"lists/{name}/{root}", leaf(), (der, root_der))


def _pairs_of_lists() -> Iterator[Case]:
    for (one, one_der), (two, two_der) in product(_of_issuer().items(), repeat=2):
        if one != two:
            yield Case(f"lists/{one},{two}", leaf(), (one_der, two_der, ROOT_LIST))


def _random_lists() -> Iterator[Case]:
    known, choices = kept("lists"), list(kept("lists"))
    signer = trusts()["list-signer"]
    for i in range(400):
        draws = Draws(f"lists/{i}")
        names = [draws.one_of(choices) for _ in range(3 + draws.below(3))]
        at = draws.one_of(list(MOMENTS.values())[:7])
        holder, settings = draws.one_of(("doctor", "revoked", "nurse")), draws.below(3)
        yield Case(
            f"lists/{i}/{holder}",
            leaf(holder),
            (*(known[name] for name in names), ROOT_LIST),
            at,
            signer if draws.below(3) == 0 else FICTIVE,
            ("login", "login", "grace")[settings],
        )


def _folders() -> Iterator[Case]:
    """Return lists in a folder that other lists were in before: an older one never comes back."""
    known = _of_issuer()
    walks = (
        ("whole-10", "whole-2"),
        ("whole-10", "listed"),
        ("listed-10", "whole-2"),
        ("whole-10", "whole-2", "whole-10"),
        ("whole-10", "rubbish", "whole"),
        ("whole-10", "rubbish"),
        ("whole-of-20-octets", "whole"),
        ("future", "whole-2"),
        ("forged", "whole-2"),
        ("point", "whole-2"),
        ("whole-10", "point", "whole-2"),
        ("whole-10", "users", "whole-2"),
        ("rogue", "whole"),
        ("whole", "stale"),
        ("whole-2", "stale"),
        ("other-key", "whole"),
        ("standard", "whole"),
    )
    for walk in walks:
        earlier = tuple((known[name], ROOT_LIST) for name in walk[:-1])
        for holder in ("doctor", "revoked"):
            lists = known[walk[-1]], ROOT_LIST
            yield Case(f"lists/{'>'.join(walk)}/{holder}", leaf(holder), lists, earlier=earlier)
    base = known["whole-10"], ROOT_LIST
    for name in ("delta", "delta-listed", "delta-removed"):
        with_delta, with_both = (*base, known[name]), (*base, known["delta-both"])
        yield Case(f"lists/{name}>base", leaf(), base, earlier=(with_delta, base))
        yield Case(f"lists/delta-both>{name}", leaf(), with_delta, earlier=(with_both, base))
    yield Case("lists/nothing>whole", leaf(), LISTS, earlier=((),))
    yield Case("lists/whole>nothing", leaf(), (), earlier=(LISTS,))


_BESIDE_ANSWERS = (
    *("stale", "stale-listed", "future", "for-responders", "for-responders-listed"),
    *("for-responders-stale", "whole", "delta", "listed", "other-point"),
)


@cache
def kept_answers() -> list[Case]:
    """Return every OCSP answer alone, with lists, and with every other in both orders."""
    return list(_kept_answers())


def _kept_answers() -> Iterator[Case]:
    known = _of_issuer()
    for name, der in kept("answers").items():
        asked, stapled = ((der, NONCE),), ((der, None),)
        for short, at in list(MOMENTS.items())[:7]:
            case = f"answers/{name}/{short}"
            yield Case(case, leaf(), (ROOT_LIST,), at, answers=asked)
        for settings in ("no-nonce", "grace"):
            case = f"answers/{name}/{settings}"
            yield Case(case, leaf(), (ROOT_LIST,), settings=settings, answers=asked)
        yield Case(f"answers/{name}/stapled", leaf(), (ROOT_LIST,), answers=stapled)
        yield Case(f"answers/{name}/nurse", leaf("nurse"), (ROOT_LIST,), answers=asked)
        yield Case(f"answers/{name}/no-root-list", leaf(), (FORT_LIST,), answers=asked)
        for other in _BESIDE_ANSWERS:
            both = known[other], ROOT_LIST
            yield Case(f"answers/{name}/{other}", leaf(), both, answers=asked)
    for (one, one_der), (two, two_der) in product(kept("answers").items(), repeat=2):
        answers = (one_der, NONCE), (two_der, NONCE)
        yield Case(f"answers/{one},{two}", leaf(), (ROOT_LIST,), answers=answers)
