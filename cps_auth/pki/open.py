"""Opens the judge that settings describe. Surfaces call it; tests make judges themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cps_auth.pki.chain.trust_store import PRODUCTION_FOLDERS
from cps_auth.pki.judge import Judge, folder_judge, production_judge
from cps_auth.pki.revocation.policy import REQUIRE, RevocationPolicy


def open_judge(
    folder: Path | None = None,
    *,
    grace_hours: float = 0,
    ask_responders: bool = False,
    nonce_required: bool = True,
) -> Judge:
    """Return the judge of real cards, or of a folder that replaces the pinned authorities.

    Args:
        folder: see `folder_judge`; None for production.
        grace_hours: how long after its nextUpdate a list still counts, for a computer that is
            offline; 0 for not at all, otherwise as in `RevocationPolicy.grace`.
        ask_responders: whether the OCSP responders of the trust store are asked where no list
            is current evidence.
        nonce_required: whether a responder's "good" has to repeat our nonce.

    Raises:
        TrustStoreUnusable: as `production_judge` and `folder_judge`.
        ValueError: grace_hours is out of its range.
    """
    policy = RevocationPolicy.grace(grace_hours) if grace_hours else REQUIRE
    policy = replace(policy, nonce_required=nonce_required)
    judge = folder_judge(folder, policy=policy) if folder else production_judge(policy=policy)
    if ask_responders:  # 3 MB of HTTP and TLS that a daemon without responders never uses
        from cps_auth.pki.upkeep.fetch import OnlineOcsp

        judge.ocsp = OnlineOcsp(judge.trust)
    return judge


def folders_of(folder: Path | None = None) -> tuple[Path, ...]:
    """Return the folders whose own files `open_judge` reads once; not all of them need exist.

    That of the lists is not among them: a judge looks at it before each judgement.

    Args:
        folder: as there.
    """
    if folder is None:
        return PRODUCTION_FOLDERS
    return (folder, folder / "anchors", folder / "intermediates")
