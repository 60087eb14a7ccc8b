"""The claims about a persona, in the shape of ANS's sandbox."""

from __future__ import annotations

from hardware_mocks.personas import PERSONAS, CertificateDefect, Persona, Workplace

_STORE = "f:550dc1c8-0000-4000-8000-000000000000"
_PROFESSIONS = "1.2.250.1.213.1.1.5.5"


def subject_of(persona: Persona) -> str:
    """Return the `sub` of a persona."""
    return f"{_STORE}:{persona.ps_idnat}"


def people() -> list[dict[str, object]]:
    """Return every persona whose card has no defect, as the provider's users."""
    return [
        {
            "sub": subject_of(persona),
            "name": _name(persona),
            "claims": claims_of(persona),
        }
        for persona in PERSONAS.values()
        if persona.defect is CertificateDefect.NONE
    ]


def claims_of(persona: Persona) -> dict[str, object]:
    """Return the userinfo claims of a persona, without `sub`."""
    first = persona.workplaces[0] if persona.workplaces else None
    claims: dict[str, object] = {
        "SubjectNameID": persona.ps_idnat,
        "preferred_username": persona.ps_idnat,
        "given_name": persona.given_name or "",
        "family_name": persona.surname or "",
        "Palier_Authentification": "APPPRIP3^1.2.250.1.213.1.5.1.1.1",
        "PSI_Locale": "1.2.250.1.213.1.3.1.1",
        "UITVersion": "1.0",
        "Mode_Acces_Raison": "",
        "Acces_Regulation_Medicale": "FAUX",
        "otherIds": [{"identifiant": persona.ps_idnat, "origine": "RPPS", "qualite": 1}],
    }
    if first is not None:
        claims["SubjectOrganization"] = first.name
        claims["SubjectOrganizationID"] = f"R{first.structure_id}"
        claims["Secteur_Activite"] = f"{first.sector}^1.2.250.1.71.4.2.4"
    if persona.profession_code is not None:
        claims["SubjectRole"] = [f"{persona.profession_code}^{_PROFESSIONS}"]
        claims["SubjectRefPro"] = {"codeCivilite": "", "exercices": [_exercice(persona)]}
    return claims


def _exercice(persona: Persona) -> dict[str, object]:
    return {
        "codeProfession": str(persona.profession_code),
        "codeCategorieProfessionnelle": "C",
        "nomDexercice": persona.surname or "",
        "prenomDexercice": persona.given_name or "",
        "codeTypeSavoirFaire": "S" if persona.speciality else "",
        "codeSavoirFaire": persona.speciality or "",
        "activities": [_activity(workplace) for workplace in persona.workplaces],
    }


def _activity(workplace: Workplace) -> dict[str, object]:
    is_finess = workplace.structure_id.startswith("1")
    return {
        "codeModeExercice": "S" if is_finess else "L",
        "codeSecteurDactivite": workplace.sector,
        "codeRole": "",
        "numeroFinessSite": workplace.structure_id[1:] if is_finess else "",
        "identifiantTechniqueDeLaStructure": f"R{workplace.structure_id}",
        "raisonSocialeSite": workplace.name,
        "enseigneCommercialeSite": "",
    }


def _name(persona: Persona) -> str:
    names = " ".join(part for part in (persona.given_name, persona.surname) if part)
    return f"{names or persona.organisation} ({persona.title})"
