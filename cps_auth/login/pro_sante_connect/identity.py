"""The identity that Pro Santé Connect asserts: claims of verified answers, read as the card's.

Only verified answers come here, and still nothing of them is taken as it is: a name ends on
screens and in logs, an identifier opens an account. `SubjectNameID` is the card's PS_IdNat.
Source: userinfo answers of ANS's sandbox, as published in ANS's own repositories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cps_auth.errors import ProviderIdentityRefused
from cps_auth.model import Practitioner
from cps_auth.pki.certificate.nomenclature import PROFESSIONS
from cps_auth.provider_model import Activity, Exercice, LoginMeans, PscLogin

Claims = Mapping[str, object]

_PS_IDNAT = re.compile(r"[0-9A-Z]{2,40}(?:/[0-9A-Z]{1,23})?", re.ASCII)
_RPPS = re.compile(r"8([0-9]{11})", re.ASCII)
_CODE = re.compile(r"[0-9A-Za-z._/-]{1,40}", re.ASCII)
_PROFESSION_TABLE = "1.2.250.1.213.1.1.5.5"
"""OID of table G15, behind the code in `SubjectRole`."""

_TEXT_MAX = 200
_LIST_MAX = 50
_MEANS: Mapping[object, LoginMeans] = {"CARD": LoginMeans.CARD, "MOBILE": LoginMeans.ECPS}
"""`authMode` as ANS's sandbox has it for a card; MOBILE as CIBA's `channel` calls the e-CPS."""


@dataclass(frozen=True, slots=True)
class PscIdentity:
    """A person whom Pro Santé Connect named, in verified answers. Made only here."""

    practitioner: Practitioner
    login: PscLogin


def read_identity(
    id_token: Claims, userinfo: Claims, *, raw_id_token: str, means: LoginMeans | None = None
) -> PscIdentity:
    """Return who logged in, and how.

    Args:
        id_token: claims of a verified id_token.
        userinfo: of the same login, fetched with its access token.
        raw_id_token: as it came; ends the session at the provider later.
        means: what the person was asked to use; None: as the provider says.

    Raises:
        ProviderIdentityRefused: another subject, no `SubjectNameID`, or a claim that is not what
            it should be; the reason names the claim.
    """
    if userinfo.get("sub") != id_token["sub"]:
        raise ProviderIdentityRefused("sub")
    exercices = tuple(_exercices(userinfo))
    login = PscLogin(
        issuer=str(id_token["iss"]),
        subject=str(id_token["sub"]),
        session=_text(id_token, "sid"),
        means=means or _MEANS.get(userinfo.get("authMode"), LoginMeans.UNKNOWN),
        acr=str(id_token["acr"]),
        level=_code(userinfo, "Palier_Authentification"),
        authenticated_at=_time(id_token.get("auth_time")),
        exercices=exercices,
        id_token=raw_id_token,
    )
    return PscIdentity(_practitioner(userinfo, exercices), login)


def _practitioner(userinfo: Claims, exercices: tuple[Exercice, ...]) -> Practitioner:
    ps_idnat = userinfo.get("SubjectNameID")
    if not isinstance(ps_idnat, str) or not _PS_IDNAT.fullmatch(ps_idnat):
        raise ProviderIdentityRefused("SubjectNameID")
    code = _profession_code(userinfo, exercices)
    rpps = _RPPS.fullmatch(ps_idnat)
    return Practitioner(
        ps_idnat=ps_idnat,
        card_type=None,
        surname=_text(userinfo, "family_name"),
        given_name=_text(userinfo, "given_name"),
        rpps=rpps[1] if rpps else None,
        profession_code=code,
        profession=PROFESSIONS.get(code) if code else None,
        specialities=tuple(
            dict.fromkeys(
                speciality
                for exercice in exercices
                if exercice.profession_code == code
                for speciality in exercice.specialities
            )
        ),
        organisation=_text(userinfo, "SubjectOrganization"),
        structure_id=_code(userinfo, "SubjectOrganizationID"),
    )


def _profession_code(userinfo: Claims, exercices: tuple[Exercice, ...]) -> str | None:
    """Return the one profession; None where there are several, which the application asks for."""
    codes = {exercice.profession_code for exercice in exercices if exercice.profession_code}
    for role in _list(userinfo, "SubjectRole"):
        code, _, table = str(role).partition("^")
        if table == _PROFESSION_TABLE and _CODE.fullmatch(code):
            codes.add(code)
    return codes.pop() if len(codes) == 1 else None


def _exercices(userinfo: Claims) -> Iterator[Exercice]:
    known = userinfo.get("SubjectRefPro")
    if known is None:  # persons outside of the RPPS
        return
    if not isinstance(known, dict):
        raise ProviderIdentityRefused("SubjectRefPro")
    for one in _list(known, "exercices"):
        exercice = _object(one, "exercices")
        code = _code(exercice, "codeProfession")
        speciality = _code(exercice, "codeSavoirFaire")
        yield Exercice(
            profession_code=code,
            profession=PROFESSIONS.get(code) if code else None,
            category=_code(exercice, "codeCategorieProfessionnelle"),
            specialities=(speciality,) if speciality else (),
            activities=tuple(
                _activity(_object(activity, "activities"))
                for activity in _list(exercice, "activities")
            ),
        )


def _activity(activity: Claims) -> Activity:
    return Activity(
        structure_id=_code(activity, "identifiantTechniqueDeLaStructure"),
        name=_text(activity, "raisonSocialeSite") or _text(activity, "enseigneCommercialeSite"),
        sector=_code(activity, "codeSecteurDactivite"),
        mode=_code(activity, "codeModeExercice"),
        role=_code(activity, "codeRole"),
        finess=_code(activity, "numeroFinessSite"),
    )


def _text(claims: Claims, name: str) -> str | None:
    """Return a text fit to be shown, None where it is absent or empty."""
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _TEXT_MAX or not value.isprintable():
        raise ProviderIdentityRefused(name)
    return value.strip() or None


def _code(claims: Claims, name: str) -> str | None:
    """Return the code in front of its table's OID, None where it is absent or empty."""
    value = _text(claims, name)
    code = None if value is None else value.partition("^")[0]
    if code and not _CODE.fullmatch(code):
        raise ProviderIdentityRefused(name)
    return code or None


def _list(claims: Claims, name: str) -> list[object]:
    value = claims.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _LIST_MAX:
        raise ProviderIdentityRefused(name)
    return value


def _object(value: object, name: str) -> Claims:
    if not isinstance(value, dict):
        raise ProviderIdentityRefused(name)
    return value


def _time(seconds: object) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) else None
