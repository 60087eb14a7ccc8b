"""The application's own accounts: the practice's staff, by national identifier."""

from __future__ import annotations

from dataclasses import dataclass

from cps_auth.model import Practitioner


@dataclass(frozen=True, slots=True)
class Account:
    """The practice's own record of a person, besides what their card says."""

    place_fr: str
    place_en: str


_DOCTOR = Account("Médecin du cabinet", "Practice doctor")

STAFF = {
    "899900000011": _DOCTOR,
    "899900000029": Account("Pharmacie des Tilleuls", "Tilleuls pharmacy"),
    "00B6000033": Account("Soins à domicile", "Home care"),
    "30B0000044/CPET0004": Account("Accueil", "Front desk"),
}
"""The invented staff. Their cards are the personas of the mocks."""

LOCUM = Account("Remplacement", "Locum")


def load_account(practitioner: Practitioner) -> Account | None:
    """Return the account of a holder.

    This demo lets any genuine card in, as a locum, so that you may try your own: the
    patients are invented. An application returns None for holders whom it does not know.
    """
    return STAFF.get(practitioner.ps_idnat, LOCUM)
