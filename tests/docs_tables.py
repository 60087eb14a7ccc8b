"""Keeps the generated pages of the book in step: python -m tests.docs_tables [--check].

Error codes, in both languages, and settings are tables of the product. Without an option the pages
are written anew; with --check nothing is changed, and the exit code says if one is out of date.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import msgspec

from cps_auth import config, wording
from cps_auth import errors as e
from cps_auth.cli.doctor.remedies import REMEDIES
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.flask.http_errors import HTTP_STATUSES
from cps_auth.flask.methods.local_reader import LocalReader
from cps_auth.flask.methods.mtls.method import Mtls
from cps_auth.flask.methods.pro_sante_connect.method import ProSanteConnect
from cps_auth.flask.methods.web_eid import WebEid
from cps_auth.flask.settings import DEFAULTS
from cps_auth.wording import translations
from cps_auth.wording.causes import CAUSE_WORDS
from pam_helper.daemon.pam_results import PAM_RESULTS

ROOT = Path(__file__).parents[1]

FAMILIES = {
    10: ("Reader and card", "Lecteur et carte"),
    20: ("What the card answered", "Réponses de la carte"),
    30: ("PIN and unblocking code", "Code porteur et code de déblocage"),
    40: ("Certificate", "Certificat"),
    50: ("Proof of a login", "Preuve de connexion"),
    60: ("Right to be here", "Droit d’accès"),
    70: ("Installation", "Installation"),
}
"""By the tens of the exit code: the heading in English and in French."""

HEADS = {
    "en": """# Error codes

Made from the product's tables by `python -m tests.docs_tables`; [en français](../fr/erreurs.md).

Every refusal has a code. It is in the audit journal and in the answers of `--json` (`code`), as
the exit code of `cps-auth`, as an HTTP status in web applications, and as the result of PAM. `…`
stands for a detail of the moment: a date, a name. By symptom:
[troubleshooting](../troubleshooting.md).

Besides: 0 is yes, and nothing else is; 1 was not foreseen, please report it; 2 is a command line
that is not understood; 3 is a result that could not be written; 4 is an audit journal that was
altered; 5 is a security measure that is absent or unknown (`cps-auth posture`); 130 is Ctrl-C.
""",
    "fr": """# Codes d’erreur

Page tirée des tables du logiciel par `python -m tests.docs_tables` ;
[in English](../reference/errors.md).

Chaque refus porte un code. On le trouve dans le journal d’audit et dans les réponses `--json`
(`code`) ; c’est aussi le code de sortie de `cps-auth`, le statut HTTP des applications web et le
résultat rendu à PAM. `…` tient la place d’un détail du moment : une date, un nom. Pour chercher par
symptôme : [dépannage](depannage.md).

Par ailleurs : 0 veut dire oui, et rien d’autre ne le dit ; 1 est un cas imprévu, à signaler ;
2, une ligne de commande incomprise ; 3, un résultat qui n’a pas pu être écrit ; 4, un journal
d’audit altéré ; 5, une mesure de sécurité absente ou inconnue (`cps-auth posture`) ; 130, un arrêt
par Ctrl-C.
""",
}
COLUMNS = {
    "en": "| code | exit | HTTP | PAM | what happened | what to do |",
    "fr": "| code | sortie | HTTP | PAM | ce qui s’est passé | que faire |",
}


def errors_page(language: str) -> str:
    """Return the table of every error.

    Args:
        language: "fr" or "en".
    """
    parts = [HEADS[language]]
    for tens, titles in FAMILIES.items():
        head = f"## {titles[language == 'fr']}\n\n{COLUMNS[language]}\n|---|---|---|---|---|---|"
        rows = sorted((code, leaf) for leaf, code in EXIT_CODES.items() if code // 10 * 10 == tens)
        lines = [head, *(row for _, leaf in rows for row in _error_rows(leaf, language)), ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _error_rows(leaf: type[e.CpsAuthError], language: str) -> Iterator[str]:
    pam = PAM_RESULTS[leaf].removeprefix("PAM_")
    surfaces = f"{EXIT_CODES[leaf]} | {HTTP_STATUSES[leaf]} | {pam}"
    yield f"| `{leaf.code}` | {surfaces} | {_cells(wording._WORDS[leaf], language)} |"
    for (of, cause), words in CAUSE_WORDS.items():
        if of is leaf:
            yield f"| `{leaf.code}`, {cause} | | | | {_cells(words, language)} |"


def _cells(words: Iterable[str], language: str) -> str:
    translate = translations(language).gettext
    return " | ".join(re.sub(r"\{[^}]*\}", "…", translate(sentence)) for sentence in words)


PAM_HEAD = """# PAM codes

Made from the product's tables by `python -m tests.docs_tables`. The daemon names one of these
results for each refusal; `pam_cps.so` returns it, and what the stack does with it is in
[pam.md](../pam.md#what-pam_cpsso-returns). `PAM_SUCCESS` is the answer to a verified login alone;
`PAM_IGNORE` is never used. The numbers are Linux-PAM's.

| result | given for |
|---|---|
"""


def pam_page() -> str:
    """Return the results of PAM, each with the errors that lead to it."""
    codes: dict[str, list[str]] = {}
    for leaf, result in PAM_RESULTS.items():
        codes.setdefault(result, []).append(f"`{leaf.code}`")
    rows = (f"| `{result}` | {', '.join(sorted(codes[result]))} |\n" for result in sorted(codes))
    return PAM_HEAD + "".join(rows)


SETTINGS_HEAD = """# Settings

Made from the product's types by `python -m tests.docs_tables`. A setting that is unknown, of the
wrong type, or in a file that others could write is refused, with its name.

## The PC: `/etc/cps-auth/config.toml`

Owned by root and writable by nobody else. Every setting is optional, and so is the file;
`cps-auth pc setup` writes it.
"""


def settings_page() -> str:
    """Return the tables of both kinds of settings."""
    parts = [SETTINGS_HEAD]
    for field in msgspec.structs.fields(config.Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            summary = inspect.getdoc(field.type)
            parts.append(f"### `[{field.name}]`\n\n{summary}\n\n{_struct_rows(field.type)}\n")
    sections = [field.name for field in msgspec.structs.fields(config.Settings)]
    names = [name for name in sections if f"[{name}]`" not in "".join(parts)]
    top = [_struct_row(config.Settings, name) for name in names]
    parts.insert(1, "At the top of the file:\n\n" + "\n".join([_SETTING_COLUMNS, *top]) + "\n")
    parts.append(_flask_section())
    return "\n".join(parts)


_SETTING_COLUMNS = "| setting | type | default | |\n|---|---|---|---|"


def _struct_rows(struct: type[msgspec.Struct]) -> str:
    names = [field.name for field in msgspec.structs.fields(struct)]
    return "\n".join([_SETTING_COLUMNS, *(_struct_row(struct, name) for name in names)])


def _struct_row(struct: type[msgspec.Struct], name: str) -> str:
    (field,) = (one for one in msgspec.structs.fields(struct) if one.name == name)
    comment = _comments(struct).get(name, "")
    return f"| `{name}` | {_type_text(field.type)} | {_default_text(field.default)} | {comment} |"


def _comments(struct: type) -> Mapping[str, str]:
    """Return what the source says of each field: at the end of its line, or in lines above it."""
    lines = inspect.getsource(struct).splitlines()
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            at = node.lineno - 1
            above = at
            while lines[above - 1].strip().startswith("#"):
                above -= 1
            said = [line.strip().lstrip("# ") for line in lines[above:at]]
            _, mark, behind = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
            found[node.target.id] = " ".join([*said, *([behind] if mark else [])])
    return found


def _type_text(kind: object) -> str:
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return " ".join([_type_text(arguments[0]), *map(_bounds_text, arguments[1:])]).strip()
    if origin is typing.Literal:
        return " or ".join(f'`"{word}"`' for word in arguments)
    if origin is tuple:
        return f"list of {_type_text(arguments[0])}"
    if arguments:  # a union with None
        return _type_text(next(one for one in arguments if one is not type(None)))
    names = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    return names.get(typing.cast(type, kind), str(kind))


def _bounds_text(meta: object) -> str:
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    return " ".join(
        f"{word} {value:g}"
        for name, word in words.items()
        if (value := getattr(meta, name, None)) is not None
    )


def _default_text(value: object) -> str:
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{word}"' for word in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"


FLASK_TABLES: Mapping[str, tuple[Mapping[str, object], str]] = {
    "All applications": (DEFAULTS, "flask.md"),
    "Local reader": (LocalReader.settings, "flask.md"),
    "Web eID": (WebEid.settings, "flask.md"),
    "TLS client certificates": (Mtls.settings, "mtls.md"),
    "Pro Santé Connect": (ProSanteConnect.settings, "pro-sante-connect.md"),
}
"""By heading: the keys with their defaults, and the document that explains each."""


def _flask_section() -> str:
    parts = [
        "## A Flask application: `CPS_…`\n\nKeys of `app.config`, read and checked once by "
        "`CpsLogin`; from the environment as\n`FLASK_CPS_…` with `from_prefixed_env()`. Each is "
        "explained in the document that is named.\n"
    ]
    for title, (defaults, document) in FLASK_TABLES.items():
        parts.append(f"### {title}\n\nExplained in [{document}](../{document}#settings).\n")
        parts.append("| key | default |\n|---|---|")
        parts += [f"| `{key}` | {_flask_default(value)} |" for key, value in defaults.items()]
        parts.append("")
    return "\n".join(parts)


def _flask_default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        for unit_s, unit in ((3600, "h"), (60, "min")):
            if seconds and seconds % unit_s == 0:
                return f"{seconds // unit_s} {unit}"
        return f"{seconds} s"
    return f"`{value!r}`"


DOCTOR_HEADS = {
    "en": """# Doctor: every cause, and what to type next

Made from the product's tables by `python -m tests.docs_tables`; [en français](../fr/diagnostic.md).

    cps-auth doctor                     # USB, pcscd, reader, authorities, lists, card; then this PC
    sudo cps-auth doctor                # the same with what only root may see
    cps-auth doctor --app wsgi:app      # a Flask application's login, too
    cps-auth doctor --bundle help.zip   # a file for a support request

Each link is tried for real: `settings`, `usb`, `pcscd`, `readers`, `trust`, `lists`, `card`; on a
practice's PC `program`, `accounts`, `daemon`, `pam`, `logind`, `lockers` and `journal` (the lock
itself: `sudo cps-auth pc check --lock ACCOUNT`); of an application `app`, `app-lists`,
`app-store` and `login-page`. An application that reads no card at its own computer is looked at
without a reader. No PIN attempt is spent. What is broken has its cause and, behind an arrow, what
to type or do next; `--json` has both as `code` and `next`. The exit code is 0 only if everything
works, otherwise that of the first cause ([errors](errors.md)).

The file of `--bundle` holds causes, versions, numbers of USB devices and those settings that are no
free text. No name, no PS_IdNat, no serial number of card or reader, no account, no PIN is in it.

| code | cause | next |
|---|---|---|
""",
    "fr": """# Diagnostic : chaque cause, et quoi taper ensuite

Page tirée des tables du logiciel par `python -m tests.docs_tables` ;
[in English](../reference/doctor.md).

    cps-auth doctor                     # de l’USB à la carte, puis ce poste
    sudo cps-auth doctor                # de même, avec ce que root seul peut voir
    cps-auth doctor --app wsgi:app      # la connexion d’une application Flask aussi
    cps-auth doctor --bundle aide.zip   # un fichier pour une demande d’assistance

Chaque maillon est essayé pour de vrai : `settings` (réglages), `usb`, `pcscd`, `readers`
(lecteurs), `trust` (autorités), `lists` (listes d’opposition), `card` (carte) ; au cabinet
`program` (programme), `accounts` (comptes), `daemon` (service), `pam`, `logind`, `lockers` (verrous
d’écran) et `journal` (le verrouillage même : `sudo cps-auth pc check --lock COMPTE`) ; pour une
application `app`, `app-lists`, `app-store` et `login-page`. Aucun essai de code n’est consommé. Ce
qui ne va pas porte sa cause et, derrière une flèche, quoi taper ou faire ensuite ; `--json` donne
les deux (`code`, `next`). Le code de sortie n’est 0 que si tout va, sinon celui de la première
cause ([codes d’erreur](erreurs.md)).

Le fichier de `--bundle` contient les causes, les versions, les numéros des périphériques USB et les
réglages qui ne sont pas du texte libre. Il n’y a ni nom, ni PS_IdNat, ni numéro de série de carte
ou de lecteur, ni compte, ni code.

| code | cause | à faire |
|---|---|---|
""",
}


def doctor_page(language: str) -> str:
    """Return the table of every cause that `cps-auth doctor` names.

    Args:
        language: "fr" or "en".
    """
    translate = translations(language).gettext
    rows = [
        f"| `{cause}` | {translate(meaning)} | {translate(following)} |"
        for cause, (meaning, following) in REMEDIES.items()
    ]
    return DOCTOR_HEADS[language] + "\n".join([*rows, ""])


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/errors.md": lambda: errors_page("en"),
    "docs/fr/erreurs.md": lambda: errors_page("fr"),
    "docs/reference/pam-codes.md": pam_page,
    "docs/reference/settings.md": settings_page,
    "docs/reference/doctor.md": lambda: doctor_page("en"),
    "docs/fr/diagnostic.md": lambda: doctor_page("fr"),
}


def stale_pages() -> list[str]:
    """Return the generated pages that are not what the product's tables say."""
    return [
        name
        for name, make in PAGES.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text() != make()
    ]


def main() -> int:
    """Write or check; return the exit code."""
    if "--check" not in sys.argv:
        for name, make in PAGES.items():
            (ROOT / name).write_text(make())
    stale = stale_pages()
    for name in stale:
        print(f"{name} is out of date: run python -m tests.docs_tables")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
