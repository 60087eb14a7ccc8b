"""`current_user`: who the card said it is, how and when that was verified, and their account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_login import UserMixin

from cps_auth.flask.sessions.browser import ID_PREFIX
from cps_auth.flask.sessions.model import SessionHolder, SessionRow
from cps_auth.model import CardType


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
        """Return the profession's code (ANS table G15), None if the card has none."""
        return self.holder.practitioner.profession_code

    @property
    def profession(self) -> str | None:
        """Return the profession in French, or the card's title where it has no known code."""
        return self.holder.practitioner.profession or self.holder.practitioner.title

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
