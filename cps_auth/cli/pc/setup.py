"""`cps-auth pc setup`: asks what only the practice knows, and sets this computer up, logins last.

Every question is an option, too. Where nobody can be asked (no terminal, or the PINs come on
standard input) its default is taken.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cps_auth.cli.errors import language_of_environment, surface
from cps_auth.cli.pc.commands import enrol_card, options_of, paths, pc, pc_side, walk_chain
from cps_auth.cli.trust import update
from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.pki.revocation.policy import GRACE_MAX_HOURS
from cps_auth.wording import translations

if TYPE_CHECKING:
    from pam_helper.setup.practice import Answers

Language = Literal["fr", "en"]
_LOCALES = {"fr": "fr_FR.UTF-8", "en": "en_US.UTF-8"}


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_YES, _NO = _("yes"), _("no")
_WHOSE = _("Accounts that the card opens, separated by commas")
_EVERYWHERE = _("May the card open a session wherever the password is asked for?")
_REQUIRED = _(
    "Services in which the card is required and no password counts, separated by commas\n"
    "(on this computer: {services}; an empty answer: none)"
)
_OFFLINE = _(
    "Without the Internet the revocation lists end after some days, and cards are refused then.\n"
    "For how many more hours shall they be accepted? (0 to {most})"
)
_ONLY_DAEMON = _("Keep browsers and other programs off the cards?")
_INSERT = _("Insert the card of whoever uses {account}, then press Enter")
_FETCHING = _("Fetching authorities and revocation lists")
_NOT_FETCHED = _("Not all of it could be fetched: what is there is used.")
_SWITCHING = _("Switching the card login on")
_NOT_ROOT = _("cps-auth pc setup is for root: sudo cps-auth pc setup")
_NO_ACCOUNT = _("which account? --account NAME")
_NO_POLKIT = _("the card service of this release asks no polkit: nobody can be kept off the cards")
_CHECKING = _("What works now:")
_LOCKER_HELP = "A screen locker or login program that the card may answer, too."
_OTHER_HELP = "A service that it may answer, and that opens no session."


@dataclass(frozen=True, slots=True)
class _Person:
    """Whoever answers, in their language; nobody where the answers are options and defaults."""

    language: str
    is_there: bool

    def text(self, sentence: str, **facts: object) -> str:
        return translations(self.language).gettext(sentence).format(**facts)

    def say(self, sentence: str, **facts: object) -> None:
        click.echo(self.text(sentence, **facts))

    def names(self, given: tuple[str, ...], default: list[str], question: str) -> tuple[str, ...]:
        """Return names from options, an answer or the default."""
        if given or not self.is_there:
            return _named(given, tuple(default))
        answer = click.prompt(question, default=", ".join(default))
        return tuple(name.strip() for name in answer.split(",") if name.strip())

    def yes(self, given: bool | None, default: bool, question: str) -> bool:
        """Return yes or no from an option, an answer or the default."""
        if given is not None or not self.is_there:
            return default if given is None else given
        no, yes = self.text(_NO), self.text(_YES)
        answer = click.prompt(
            question, default=yes if default else no, type=click.Choice([yes, no])
        )
        return bool(answer == yes)


@dataclass(frozen=True, slots=True)
class _Given:
    """The answers given as options; None, or no name, where there was none."""

    everywhere: bool | None
    required: tuple[str, ...]
    grace_hours: float | None
    ocsp: bool | None
    only_daemon: bool | None
    trust: Path | None
    lockers: tuple[str, ...]
    others: tuple[str, ...]


@pc.command()
@paths
@click.option("--language", type=click.Choice(["fr", "en"]), help="Of what people read.")
@click.option("--account", "names", multiple=True, help="Opened by the card; may be repeated.")
@click.option("--everywhere/--no-everywhere", default=None, help="Wherever the password counts.")
@click.option("--required", multiple=True, metavar="SERVICE|none", help="No password counts here.")
@click.option(
    "--grace-hours",
    type=click.FloatRange(0, GRACE_MAX_HOURS),
    help="How long a list that is over still counts.",
)
@click.option("--ocsp/--no-ocsp", default=None, help="Ask responders where no list is current.")
@click.option("--only-daemon/--no-only-daemon", default=None, help="Keep other programs off.")
@click.option("--locker", "lockers", multiple=True, metavar="SERVICE|none", help=_LOCKER_HELP)
@click.option("--other", "others", multiple=True, metavar="SERVICE|none", help=_OTHER_HELP)
@click.option("--fetch/--no-fetch", default=True, help="Fetch authorities and lists.")
@click.option("--enrol/--no-enrol", "enrols", default=True, help="Enrol the card in the reader.")
@click.option("--pin-stdin", is_flag=True, help="Read the PINs from standard input, one a line.")
def setup(
    config: Path,
    accounts: Path | None,
    trust: Path | None,
    language: Language | None,
    names: tuple[str, ...],
    everywhere: bool | None,
    required: tuple[str, ...],
    grace_hours: float | None,
    ocsp: bool | None,
    only_daemon: bool | None,
    lockers: tuple[str, ...],
    others: tuple[str, ...],
    fetch: bool,
    enrols: bool,
    pin_stdin: bool,
) -> None:
    """Set this computer up: settings, authorities and lists, the card's holder, the card login.

    May be run again at any time; the answers of the last time are the defaults.
    """
    with surface(as_json=False):
        is_there = is_terminal() and not pin_stdin
        person = _Person(_language(language, config, is_there), is_there)
        # of everything that is told from here
        os.environ["LANGUAGE"] = os.environ["LC_ALL"] = _LOCALES[person.language]
        if os.geteuid() != 0:
            raise ConfigurationError(person.text(_NOT_ROOT))
    with pc_side():
        from pam_helper.setup import practice, profile

        whose = _accounts(person, names) if enrols else ()
        given = _Given(everywhere, required, grace_hours, ocsp, only_daemon, trust, lockers, others)
        opens = person.yes(everywhere, True, person.text(_EVERYWHERE))
        answers = _answers(person, given, read_settings(config))
        practice.write_answers(answers, config)
        if fetch:
            _fetch(person, answers.trust)
        options = options_of(config, accounts, None)
        for account in whose:
            if person.is_there:
                click.prompt(person.text(_INSERT, account=account), default="", show_default=False)
            enrol_card(account, options, pin_stdin=pin_stdin)
        if opens:
            person.say(_SWITCHING)
            profile.switch_on(answers.required)
        practice.restart()
        person.say(_CHECKING)
        walk_chain(options)


def is_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def _language(given: Language | None, config: Path, is_there: bool) -> str:
    if given is not None:
        return given
    default = read_settings(config).language if config.exists() else language_of_environment()
    if not is_there:
        return default
    choice = click.Choice(["fr", "en"])
    return str(click.prompt("Français (fr), English (en)", default=default, type=choice))


def _accounts(person: _Person, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the accounts to enrol for; without an answer the PC's only person is meant.

    Raises:
        ConfigurationError: none, or one that does not exist.
    """
    from pam_helper.accounts.enrolment import check_account
    from pam_helper.setup.practice import people

    known = people()
    whose = person.names(given, known if len(known) == 1 else [], person.text(_WHOSE))
    if not whose:
        raise ConfigurationError(person.text(_NO_ACCOUNT))
    for account in whose:
        check_account(account)
    return whose


def _answers(person: _Person, given: _Given, before: Settings) -> Answers:
    """Return all answers: from options, from the person, else those of the last time.

    Raises:
        ConfigurationError: the card service here cannot keep programs off the cards.
    """
    from pam_helper.setup import practice, profile

    services = ", ".join(profile.installed_services()) or "-"
    question = person.text(_REQUIRED, services=services)
    required = person.names(given.required, list(before.pam.card_required), question)
    grace_hours = given.grace_hours
    if grace_hours is None:
        grace_hours = before.trust.grace_hours
        if person.is_there:
            most = click.FloatRange(0, GRACE_MAX_HOURS)
            question = person.text(_OFFLINE, most=GRACE_MAX_HOURS)
            grace_hours = float(click.prompt(question, default=grace_hours, type=most))
    only_daemon = False
    if practice.PCSCD_ACTIONS.exists():
        there = practice.is_only_daemon()
        only_daemon = person.yes(given.only_daemon, there, person.text(_ONLY_DAEMON))
    elif given.only_daemon:
        raise ConfigurationError(person.text(_NO_POLKIT))
    return practice.Answers(
        language=person.language,
        required=required,
        grace_hours=grace_hours,
        ocsp=before.trust.ocsp if given.ocsp is None else given.ocsp,
        trust=given.trust or before.trust.path,
        only_daemon=only_daemon,
        lockers=_named(given.lockers, before.pam.lockers),
        others=_named(given.others, before.pam.others),
    )


def _named(given: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Return services from options, else those of the last time; "none" is none."""
    return tuple(name for name in given or before if name != "none")


def _fetch(person: _Person, trust: Path | None) -> None:
    """Fetch what the trust store needs; what fails is told, and what is there is used."""
    person.say(_FETCHING)
    options = [] if trust is None else ["--trust", str(trust)]
    try:
        update.main(options, prog_name="cps-auth trust update", standalone_mode=False)
    except SystemExit as ended:
        if ended.code:
            person.say(_NOT_FETCHED)
