"""`cps-auth doctor`: from the settings to the card, what works here and what does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from cps_auth.cli.diagnostics import Finding, find_card, find_lists, find_readers, look_at
from cps_auth.cli.errors import now, surface
from cps_auth.cli.options import Options, card_options
from cps_auth.config import CONFIG_PATH
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.wording import translations


@click.command()
@card_options
def doctor(options: Options) -> None:
    """Look at every link between this command and a login. Spends no PIN attempt.

    Exit code 0 only if everything works, otherwise that of the first thing that does not.
    """
    with surface(options.json):
        findings = list(look_at(_links(options), options.language))
        broken = [finding.error for finding in findings if finding.error is not None]
        value = {"ok": not broken, "findings": [finding_as_json(finding) for finding in findings]}
        options.print(value, [finding_line(finding) for finding in findings])
        if broken:
            raise SystemExit(EXIT_CODES[type(broken[0])])


def _links(options: Options) -> Mapping[str, Callable[[], str]]:
    language = options.language
    return {
        "settings": lambda: _settings(language),
        "readers": lambda: find_readers(options.cards(), options.reader, language),
        "trust": lambda: options.judge().trust.name,
        "lists": lambda: find_lists(options.judge(), language, at=now()),
        "card": lambda: find_card(
            options.cards(), options.reader, options.judge(), language, at=now()
        ),
    }


def _settings(language: str) -> str:
    """Describe the settings file; its errors were reported before any command runs."""
    none = translations(language).gettext("{path}: none, so the defaults")
    return str(CONFIG_PATH) if CONFIG_PATH.exists() else none.format(path=CONFIG_PATH)


def finding_as_json(finding: Finding) -> dict[str, object]:
    """Return a finding for programs."""
    found = {"link": finding.link, "ok": finding.ok, "text": finding.text}
    error = finding.error
    return found if error is None else found | {"error": error.code, **error.data()}


def finding_line(finding: Finding) -> str:
    """Return a finding for people."""
    return f"{'✓' if finding.ok else '✗'} {finding.link}: {finding.text}"
