"""The words for somebody whose card is good, and not for this page."""

from __future__ import annotations

from collections.abc import Collection

from cps_auth.flask.sessions.browser import current_language
from cps_auth.model import CardType, Practitioner
from cps_auth.pki.certificate.nomenclature import CARD_TYPES, PROFESSIONS
from cps_auth.wording import Explanation, translations


def explain_missing_right(
    practitioner: Practitioner,
    professions: Collection[str] | None,
    card_types: Collection[CardType] | None,
) -> Explanation:
    """Name what the page demands, and what the card has instead.

    Args:
        practitioner: who asked for the page.
        professions: codes of ANS table G15 that the page demands, None for all.
        card_types: the types of card that it demands, None for all.
    """
    gettext = translations(current_language()).gettext
    happened = gettext("This page is not for your card.")
    if professions is not None and practitioner.profession_code not in professions:
        names = sorted(PROFESSIONS.get(code, code) for code in professions)
        happened = gettext("This page is reserved for: {names}.").format(names=", ".join(names))
    elif card_types is not None and practitioner.card_type not in card_types:
        names = sorted(CARD_TYPES[kind] for kind in card_types)
        happened = gettext("This page needs another card: {names}.").format(names=", ".join(names))
    own = practitioner.profession or practitioner.title
    says = gettext("Your card says: {profession}.").format(profession=own) if own else ""
    call = gettext("If you need this page, contact the person who looks after this application.")
    return Explanation(happened, " ".join(part for part in (says, call) if part))
