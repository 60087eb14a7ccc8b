"""The frozen values of a login at Pro Santé Connect, beside those of `cps_auth.model`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime


class LoginMeans(enum.Enum):
    """The means of login that a holder had in hand."""

    CARD = "card"
    ECPS = "e-cps"  # ANS's application on a phone
    UNKNOWN = "unknown"  # Pro Santé Connect did not say


@dataclass(frozen=True, slots=True)
class Activity:
    """One place where a holder works, as Pro Santé Connect tells it. Absent where it was empty."""

    structure_id: str | None  # technical identifier of the structure, such as R95119
    name: str | None
    sector: str | None  # table R02, such as SA07
    mode: str | None = None  # table R23, such as L (libéral) or S (salarié)
    role: str | None = None  # table R21
    finess: str | None = None  # of the site


@dataclass(frozen=True, slots=True)
class Exercice:
    """One exercice professionnel: a profession, and the places where it is exercised."""

    profession_code: str | None  # table G15
    profession: str | None  # label in French, None for a code we do not know
    category: str | None = None  # table R09, such as C (civil)
    specialities: tuple[str, ...] = ()  # table R01, such as SM26
    activities: tuple[Activity, ...] = ()


@dataclass(frozen=True, slots=True)
class PscLogin:
    """The authentication of somebody by Pro Santé Connect."""

    issuer: str  # which provider vouches: production, sandbox or another
    subject: str  # `sub`; may change when ANS rebuilds its store, so never an account's key
    session: str | None  # `sid` of the session there, for its back-channel logout
    means: LoginMeans
    acr: str  # level that was reached, such as eidas1
    level: str | None  # Palier_Authentification, such as APPPRIP3
    authenticated_at: datetime | None  # `auth_time`; None: not said
    exercices: tuple[Exercice, ...] = ()
    id_token: str = field(default="", repr=False)  # what ends the session there asks for it
