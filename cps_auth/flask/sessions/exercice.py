"""The exercice in which a holder works now: Pro Santé Connect names all, the holder chooses one.

The choice is kept in the browser's own session and bound to the row: it selects among what the
provider vouched for, and can add nothing to it.
"""

from __future__ import annotations

from flask import session

from cps_auth.errors import RequestMalformed
from cps_auth.flask.sessions.model import SessionRow
from cps_auth.provider_model import Exercice

_CHOSEN = "cps_exercice"


def exercices_of(row: SessionRow) -> tuple[Exercice, ...]:
    """Return every exercice of a session's holder; none for a session of the card."""
    return () if row.holder.psc is None else row.holder.psc.exercices


def chosen_exercice(row: SessionRow) -> Exercice | None:
    """Return the one that was chosen, or the only one; None where nobody chose yet."""
    exercices = exercices_of(row)
    if len(exercices) == 1:
        return exercices[0]
    handle, _, number = str(session.get(_CHOSEN, "")).partition("-")
    is_chosen = handle == row.handle and number.isdecimal() and int(number) < len(exercices)
    return exercices[int(number)] if is_chosen else None


def choose_exercice(row: SessionRow, unverified_number: str | None) -> None:
    """Keep what the holder chose, for this session.

    Args:
        row: of the holder's session.
        unverified_number: of the exercice, counted from 0.

    Raises:
        RequestMalformed: there is none of that number.
    """
    known = {str(number) for number in range(len(exercices_of(row)))}
    if unverified_number not in known:
        raise RequestMalformed("exercice")
    session[_CHOSEN] = f"{row.handle}-{unverified_number}"
