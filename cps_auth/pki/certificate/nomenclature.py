"""Code tables of ANS, in French as ANS writes them. A code that is not here is not an error."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cps_auth.model import CardType

PROFESSIONS: Mapping[str, str] = MappingProxyType(
    {
        "10": "Médecin",
        "21": "Pharmacien",
        "26": "Audioprothésiste",
        "28": "Opticien-lunetier",
        "31": "Assistant dentaire",
        "32": "Physicien médical",
        "35": "Aide-soignant",
        "36": "Ambulancier",
        "37": "Auxiliaire de puériculture",
        "38": "Préparateur en pharmacie hospitalière",
        "39": "Préparateur en pharmacie",
        "40": "Chirurgien-dentiste",
        "50": "Sage-femme",
        "60": "Infirmier",
        "69": "Infirmier psychiatrique",
        "70": "Masseur-kinésithérapeute",
        "80": "Pédicure-podologue",
        "81": "Orthoprothésiste",
        "82": "Podo-orthésiste",
        "83": "Orthopédiste-orthésiste",
        "84": "Oculariste",
        "85": "Épithésiste",
        "86": "Technicien de laboratoire médical",
        "91": "Orthophoniste",
        "92": "Orthoptiste",
        "93": "Psychologue",
        "94": "Ergothérapeute",
        "95": "Diététicien",
        "96": "Psychomotricien",
        "98": "Manipulateur d'électroradiologie médicale",
    }
)
"""Professions by code (ANS NOS, TRE_G15-ProfessionSante; 93 from TRE_R95-UsagerTitre)."""

CARD_TYPES: Mapping[CardType, str] = MappingProxyType(
    {
        CardType.CPS: "Carte de professionnel de santé",
        CardType.CPF: "Carte de professionnel de santé en formation",
        CardType.CPE: "Carte de personnel d'établissement",
        CardType.CPA: "Carte de personnel autorisé",
    }
)
"""Card types (ANS, table G02)."""
