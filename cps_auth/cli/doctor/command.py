"""`cps-auth doctor`: from the USB device to the web login, what works here and what does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from cps_auth.card.port import CardSource
from cps_auth.card.usb import DEVICES, DRIVERS
from cps_auth.cli.diagnostics import (
    Finding,
    find_card,
    find_lists,
    find_pcscd,
    find_readers,
    find_usb,
    look_at,
)
from cps_auth.cli.doctor.bundle import write_bundle
from cps_auth.cli.doctor.remedies import REMEDIES, cause_of
from cps_auth.cli.doctor.web import reads_cards_here, web_links
from cps_auth.cli.errors import now, surface
from cps_auth.cli.options import Options, card_options_despite_settings
from cps_auth.config import CONFIG_PATH, Settings
from cps_auth.errors import ConfigurationError, ReaderServiceLost
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.pki.judge import Judge
from cps_auth.wording import translations

Links = Mapping[str, Callable[[], str]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the links are looked at through; a test brings broken ones.

    Attributes:
        language: of the words.
        config: the settings file.
        settings: its content, or the defaults where it is broken.
        settings_error: how it is broken.
        cards: opens the source of cards.
        reader: the one that the settings or an option name.
        judge: loads the trust store.
        clock: tells the time, aware UTC.
        root: the folder that stands for / where files of the system are looked at.
        usb, drivers: where the kernel shows USB devices, and pcscd finds its drivers.
        app: of a Flask application, as `module:name`; None for none.
    """

    language: str
    config: Path
    settings: Settings
    settings_error: ConfigurationError | None
    cards: Callable[[], CardSource]
    reader: str | None
    judge: Callable[[], Judge]
    clock: Callable[[], datetime] = now
    root: Path = Path("/")
    usb: Path = DEVICES
    drivers: Path = DRIVERS
    app: str | None = None


@click.command()
@card_options_despite_settings
@click.option("--app", metavar="MODULE:NAME", help="Look at a Flask application's login, too.")
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what support needs into a new file, without names, numbers or PIN.",
)
def doctor(options: Options, app: str | None, bundle: Path | None) -> None:
    """Look at every link from the USB device to the login. Spends no PIN attempt.

    Exit code 0 only if everything works, otherwise that of the first thing that does not.
    """
    with surface(options.json):
        around = _surroundings(options, app)
        findings = list(look_at(doctor_links(around), around.language))
        broken = [finding.error for finding in findings if finding.error is not None]
        rows = [finding_as_json(finding, around.language) for finding in findings]
        lines = [line for one in findings for line in finding_lines(one, around.language)]
        options.print({"ok": not broken, "findings": rows}, lines)
        if bundle is not None:
            write_bundle(bundle, findings, around.settings, around.usb, at=now())
        if broken:
            raise SystemExit(EXIT_CODES[type(broken[0])])


def _surroundings(options: Options, app: str | None) -> Surroundings:
    return Surroundings(
        language=options.language,
        config=CONFIG_PATH,
        settings=options.settings,
        settings_error=options.settings_error,
        cards=options.cards,
        reader=options.reader,
        judge=options.judge,
        app=app,
    )


def doctor_links(around: Surroundings) -> Links:
    """Return by name what looks at each link, in their order."""
    settings = {"settings": lambda: _settings(around)}
    if around.app is None:
        return {**settings, **_card_links(around), **_pc_links(around)}
    app = web_links(around.app, around.language, around.clock)
    if reads_cards_here(around.app):
        return {**settings, **_card_links(around), **_pc_links(around), **app}
    return {**settings, **app}  # a server without a reader


def _card_links(around: Surroundings) -> Links:
    language, reader, silent = around.language, around.reader, list[ReaderServiceLost]()

    def look_at_pcscd() -> str:
        try:
            return find_pcscd(around.cards(), language)
        except ReaderServiceLost as lost:
            silent.extend([lost] if lost.cause == "no-answer" else [])
            raise

    def cards() -> CardSource:
        if silent:  # asked again it would be waited for again
            raise silent[0]
        return around.cards()

    return {
        "usb": lambda: find_usb(language, around.usb, around.drivers),
        "pcscd": look_at_pcscd,
        "readers": lambda: find_readers(cards(), reader, language, around.usb, around.drivers),
        "trust": lambda: around.judge().trust.name,
        "lists": lambda: find_lists(around.judge(), language, at=around.clock()),
        "card": lambda: find_card(cards(), reader, around.judge(), language, at=around.clock()),
    }


def _settings(around: Surroundings) -> str:
    if around.settings_error is not None:
        raise around.settings_error
    none = translations(around.language).gettext("{path}: none, so the defaults")
    return str(around.config) if around.config.exists() else none.format(path=around.config)


def _pc_links(around: Surroundings) -> Links:
    """Return the links of a practice's PC; one line where this computer is none."""
    none = translations(around.language).gettext("the card does not open this computer's sessions")
    try:
        from pam_helper.setup.check import pc_under
    except ModuleNotFoundError:  # an installation without [cabinet]
        return {"pc": lambda: none}
    pc = pc_under(around.root, around.settings, around.language)
    return pc.links() if pc.is_set_up() else {"pc": lambda: none}


def finding_as_json(finding: Finding, language: str) -> dict[str, object]:
    """Return a finding for programs."""
    found = {"link": finding.link, "ok": finding.ok, "text": finding.text}
    error = finding.error
    if error is None:
        return found
    named = {"code": cause_of(error), "next": _next(finding, language)}
    return {**found, "error": error.code, **error.data(), **named}


def finding_lines(finding: Finding, language: str) -> list[str]:
    """Return a finding for people, and what to type next where something is wrong."""
    line = f"{'✓' if finding.ok else '✗'} {finding.link}: {finding.text}"
    following = _next(finding, language)
    return [line, f"    → {following}"] if following and not finding.is_repeated else [line]


def _next(finding: Finding, language: str) -> str:
    remedy = REMEDIES.get(cause_of(finding.error)) if finding.error else None
    return translations(language).gettext(remedy.next) if remedy else ""
