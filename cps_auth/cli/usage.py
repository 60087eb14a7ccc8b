"""Words of a misused command line: click's own sentences, in the language of the environment.

click takes its sentences from gettext's default domain, so that domain becomes ours.
"""

from __future__ import annotations

import gettext
import os
from typing import Final

from cps_auth.wording import DOMAIN, LOCALE_FOLDER


def _(message: str) -> str:
    """Mark a sentence for extraction; click translates it."""
    return message


def ngettext(one: str, _many: str) -> str:
    """Mark the two forms of a sentence for extraction; click translates them."""
    return one


CLICK_SENTENCES: Final = (
    _("Usage:"),
    _("Try '{command} {option}' for help."),
    _("Error: {message}"),
    _("Missing command."),
    _("No such command {name!r}."),
    _("No such option: {name}"),  # click 8.2
    _("No such option {name!r}."),
    ngettext("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    ngettext("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    _("Option {name!r} does not take a value."),
    ngettext(
        "Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."
    ),
    _("Argument {name!r} takes {nargs} values."),
    _("Missing argument"),
    _("Missing option"),
    _("Missing parameter"),
    _("Missing parameter: {param_name}"),
    _("Missing {param_type}"),
    _("Invalid value: {message}"),
    _("Invalid value for {param_hint}: {message}"),
    _("Choose from:\n\t{choices}"),
    ngettext("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
    ngettext(
        "{value!r} does not match the format {format}.",
        "{value!r} does not match the formats {formats}.",
    ),
    _("{value!r} is not a valid {number_type}."),
    _("{value} is not in the range {range}."),
    _("file"),
    _("directory"),
    _("path"),
    _("{name} {filename!r} does not exist."),
    _("{name} {filename!r} is a file."),
    _("{name} {filename!r} is a directory."),
    _("{name} {filename!r} is not readable."),
    _("{name} {filename!r} is not writable."),
)
"""What click says of a command line, in the versions that `pyproject.toml` allows."""


def speak(language: str) -> None:
    """Let click say these sentences in a language.

    Args:
        language: "fr", or "en", in which click has them.
    """
    if language != "en":
        os.environ["LANGUAGE"] = language  # gettext looks at no other setting then
        gettext.bindtextdomain(DOMAIN, str(LOCALE_FOLDER))
        gettext.textdomain(DOMAIN)
