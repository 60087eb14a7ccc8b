"""Enrols the card in the reader: its holder, proven by PIN, gets an account of this PC."""

from __future__ import annotations

import contextlib
import pwd
from datetime import UTC, date, datetime
from pathlib import Path

from cps_auth.card.port import Card, CardSource
from cps_auth.errors import ConfigurationError
from cps_auth.login.verify import admit, prove
from cps_auth.model import Practitioner, VerifiedHolder
from cps_auth.pin_entry import pin_from_pipe, pin_from_terminal
from cps_auth.pki.judge import Judge
from cps_auth.wording import pin_prompt
from pam_helper.accounts.accounts import add_holder

ORIGIN = "cps-auth:enrol"
"""Origin in what the card signs when it is enrolled; no website can have it."""


def check_account(account: str) -> None:
    """Check that there is such an account, before the person types a PIN.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        pwd.getpwnam(account)
    except (KeyError, ValueError):
        raise ConfigurationError(f"there is no account {account!r}") from None


def enrol(
    account: str,
    cards: CardSource,
    judge: Judge,
    accounts_path: Path,
    *,
    reader: str | None,
    language: str,
    pin_from_stdin: bool,
    use_last_attempt: bool,
    until: date | None = None,
) -> tuple[VerifiedHolder, bool]:
    """Verify the card in the reader by a whole login, then map its holder to the account.

    Args:
        account: an existing Unix account.
        cards: where cards come from.
        judge: trust, revocation and accepted card types.
        accounts_path: the accounts file.
        reader: its name, None for the one that holds a CPS.
        language: of the prompt, "fr" or "en".
        pin_from_stdin: the PIN comes on standard input, else from the terminal.
        use_last_attempt: the person was told that it may be the last, and said yes.
        until: the last day on which the card opens the account, None for no end.

    Returns:
        The verified holder, and whether the accounts file changed.

    Raises:
        ConfigurationError: no such account, or an unusable accounts file.
        CpsAuthError: any leaf of the login, see `cps_auth.login.verify.log_in`.
    """
    check_account(account)
    with cards.open_card(reader) as card:
        admission = admit(card, judge=judge, allow=_anybody, at=_now())
        with _ask_pin(card, pin_from_stdin, language) as pin:
            holder = prove(
                card,
                pin,
                admission,
                origin=ORIGIN,
                clock=_now,
                last_attempt_allowed=use_last_attempt,
            )
    changed = add_holder(holder.practitioner, account, accounts_path, at=_now(), until=until)
    return holder, changed


def _ask_pin(
    card: Card, from_stdin: bool, language: str
) -> contextlib.AbstractContextManager[bytearray]:
    if from_stdin:
        return pin_from_pipe()
    return pin_from_terminal(pin_prompt(card.pin_attempts_left(), language))


def _anybody(practitioner: Practitioner) -> None:
    """Step 6 while enrolling: the administrator gives the account now."""


def _now() -> datetime:
    return datetime.now(UTC)
