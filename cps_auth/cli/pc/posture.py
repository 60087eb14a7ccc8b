"""`cps-auth posture`: the six measures asked of a practice, as far as this PC can tell."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cps_auth.cli.errors import language_of_environment, now, surface, to_json
from cps_auth.cli.pc.commands import pc_side
from cps_auth.config import read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.exit_codes import POSTURE_INCOMPLETE
from cps_auth.wording import translations

if TYPE_CHECKING:
    from pam_helper.posture.model import Observation


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_HEAD = _("{title}: {verdict}")
_WHY, _MEND = _("Why: {text}"), _("To do: {text}")
_MARKS = {"present": "✓", "absent": "✗", "cannot-tell": "?"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page in French, to be printed for the practice's file.",
)
def posture(as_json: bool, html: Path | None) -> None:
    """Look at the six security measures asked of a practice, on this PC.

    What it cannot tell is no yes; root sees more. Exit code 0 only if every measure is present.
    """
    with surface(as_json), pc_side(as_json):
        from pam_helper.posture.facts import Facts, run_tool
        from pam_helper.posture.measures import look
        from pam_helper.posture.model import Verdict

        at, who, host = now(), _who(), os.uname().nodename
        facts = Facts(Path("/"), run_tool, os.geteuid() == 0)
        observations = look(facts, read_settings(), at=at)
        is_whole = all(one.verdict is Verdict.PRESENT for one in observations)
        language = language_of_environment()
        if html is not None:
            from pam_helper.posture.page import posture_page

            _write_new(html, posture_page(observations, at=at, who=who, host=host))
        if as_json:
            rows = _as_json(observations, language)
            told = {"ok": is_whole, "at": at.isoformat(timespec="seconds"), "by": who, "host": host}
            click.echo(to_json({**told, "measures": rows}))
        else:
            click.echo("\n".join(_lines(observations, language)))
        if not is_whole:
            raise SystemExit(POSTURE_INCOMPLETE)


def _who() -> str:
    """Return the account of the person who asked, also behind sudo."""
    by_sudo = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    try:
        return by_sudo or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _write_new(path: Path, page: str) -> None:
    """Write a file that was not there: yesterday's page is kept.

    Raises:
        ConfigurationError: it is there, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def _as_json(observations: Sequence[Observation], language: str) -> list[dict[str, object]]:
    from pam_helper.posture.page import seen_text
    from pam_helper.posture.words import MEASURE_WORDS

    gettext = translations(language).gettext
    return [
        {
            "measure": one.measure,
            "verdict": one.verdict.value,
            "seen": [seen_text(fact, language) for fact in one.seen],
            "why": gettext(MEASURE_WORDS[one.measure].why),
            "mend": gettext(MEASURE_WORDS[one.measure].mend),
        }
        for one in observations
    ]


def _lines(observations: Sequence[Observation], language: str) -> list[str]:
    from pam_helper.posture.model import Verdict
    from pam_helper.posture.page import seen_text
    from pam_helper.posture.words import MEASURE_WORDS, VERDICT_WORDS

    gettext = translations(language).gettext
    lines = []
    for one in observations:
        words = MEASURE_WORDS[one.measure]
        title, verdict = gettext(words.title), gettext(VERDICT_WORDS[one.verdict])
        head = gettext(_HEAD).format(title=title, verdict=verdict)
        lines.append(f"{_MARKS[one.verdict.value]} {head}")
        lines += [f"    {seen_text(fact, language)}" for fact in one.seen]
        if one.verdict is not Verdict.PRESENT:
            lines.append("    " + gettext(_WHY).format(text=gettext(words.why)))
            lines.append("    → " + gettext(_MEND).format(text=gettext(words.mend)))
    return lines
