"""`CpsUser`: who the card said it is, how and when that was verified, and their account.

The user of a request is loaded here, for Flask-Login and for `cps_user()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import g
from flask_login import UserMixin, current_user

from cps_auth.errors import HolderNotAllowed, StoreUnavailable
from cps_auth.flask.sessions.browser import ID_PREFIX, session_id
from cps_auth.flask.sessions.exercice import chosen_exercice, exercices_of
from cps_auth.flask.sessions.model import EndReason, SessionHolder, SessionRow
from cps_auth.flask.state import current_state
from cps_auth.model import CardType
from cps_auth.provider_model import Exercice


@dataclass(frozen=True, eq=False)
class CpsUser(UserMixin):
    """A logged-in holder, as Flask-Login's `current_user`.

    Attributes:
        session: the session row: the holder, the card, when and how.
        account: what the application's `load_account` returned for this request.
    """

    session_id: str
    session: SessionRow
    account: object | None

    def get_id(self) -> str:
        """Return Flask-Login's identifier: of the session, which a pulled card ends."""
        return ID_PREFIX + self.session_id

    @property
    def login(self) -> Any:
        """Return what is `current_user`: the account, if it is a user of Flask-Login, or this."""
        is_user = hasattr(self.account, "get_id") and hasattr(self.account, "is_authenticated")
        return self.account if is_user else self

    @property
    def holder(self) -> SessionHolder:
        """Return everything that the login verified."""
        return self.session.holder

    @property
    def ps_idnat(self) -> str:
        """Return the national identifier (PS_IdNat)."""
        return self.holder.practitioner.ps_idnat

    @property
    def display_name(self) -> str:
        """Return a name fit to show."""
        return self.holder.practitioner.display_name

    @property
    def profession_code(self) -> str | None:
        """Return the profession's code (ANS table G15): of the exercice that was chosen.

        None if the card has none, or where there are several and none was chosen yet.
        """
        exercice = self._chosen
        return (exercice or self.holder.practitioner).profession_code

    @property
    def profession(self) -> str | None:
        """Return the profession in French, or the card's title where it has no known code."""
        exercice = self._chosen
        if exercice is not None:
            return exercice.profession
        return self.holder.practitioner.profession or self.holder.practitioner.title

    @property
    def exercices(self) -> tuple[Exercice, ...]:
        """Return every exercice that Pro Santé Connect named; none for a login with the card."""
        return exercices_of(self.session)

    @property
    def exercice(self) -> Exercice | None:
        """Return the exercice that the holder works in now: chosen, or the only one."""
        return chosen_exercice(self.session)

    @property
    def has_to_choose(self) -> bool:
        """Return whether there are several, and none was chosen: `cps.psc_exercice` asks."""
        return len(self.exercices) > 1 and self.exercice is None

    @property
    def _chosen(self) -> Exercice | None:
        return self.exercice if len(self.exercices) > 1 else None

    @property
    def card_type(self) -> CardType | None:
        """Return the type of the card (CPS, CPF, CPE, CPA)."""
        return self.holder.practitioner.card_type

    @property
    def method(self) -> str:
        """Return the name of the login method that verified the holder."""
        return self.session.method

    @property
    def verified_at(self) -> datetime:
        """Return when card and PIN were verified, aware UTC."""
        return self.holder.verified_at


_USER, _NOBODY = "cps_user", "cps_nobody"


def load_by_id(known: str) -> Any:
    """Return who is logged in by a session: the row decides, at every request.

    Args:
        known: session identifier, from the browser's cookie.

    Returns:
        The application's own user, or a `CpsUser`; None where the session is over.

    Raises:
        StoreUnavailable: nobody can tell; once per request, so that its error page has nobody.
    """
    user = _load(known)
    return None if user is None else user.login


def cps_user() -> CpsUser | None:
    """Return what the card said of the person of this request; None without a card's session.

    `current_user` may be the application's own user, logged in with the card or, with a card
    session on top (`@cps_required`), by other means. This is the card's side of them.

    Raises:
        StoreUnavailable
    """
    current_user._get_current_object()  # Flask-Login loads by `load_by_id`
    known = session_id()
    return None if known is None else _load(known)


def have_nobody() -> None:
    """Have nobody logged in for the rest of this request: its error page must not ask again."""
    g.cps_nobody = True


def _load(known: str) -> CpsUser | None:
    loaded: CpsUser | None = g.get(_USER)
    if loaded is not None and loaded.session_id == known:
        return loaded
    if g.get(_NOBODY, False):
        return None
    state = current_state()
    try:
        row = state.live_session(known)
        if row is None:
            return None
        user = CpsUser(known, row, state.account_of(row.holder.practitioner))
    except HolderNotAllowed:
        state.end_session(known, EndReason.ACCOUNT_GONE)
        return None
    except StoreUnavailable:
        have_nobody()
        raise
    g.cps_user = user
    return user
