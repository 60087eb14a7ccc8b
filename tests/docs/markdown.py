"""The parts of a Markdown document that tests look at: links, anchors, blocks, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("hardware_mocks/*.md"))
)
_FENCED = re.compile(r"^```(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"…|\.\.\.")


@dataclass(frozen=True, slots=True)
class Command:
    """One command as a document has it."""

    document: str
    words: tuple[str, ...]  # of the shell, without sudo, variables, comment and redirections
    is_whole: bool  # from a block that people copy; otherwise named in the text, maybe in part

    def __str__(self) -> str:
        return f"{self.document}: {' '.join(self.words)}"


def text_of(document: str) -> str:
    """Return a document."""
    return (ROOT / document).read_text()


def prose_of(document: str) -> str:
    """Return a document without its fenced blocks."""
    return _FENCED.sub("", text_of(document))


def fenced_blocks(document: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for name, body in _FENCED.findall(text_of(document)) if name == language]


def links_of(document: str) -> list[str]:
    """Return the targets of its links and pictures, those of other hosts left out."""
    prose = re.sub(r"`[^`\n]*`", "", prose_of(document))
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'src="([^"]+)"', prose)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors_of(document: str) -> set[str]:
    """Return the anchors that a forge and the site make of its headings."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,4} (.+)$", prose_of(document), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        times = found.count(name)
        found.append(name)
        if times:
            found.append(f"{name}-{times}")
    return set(found)


def commands_of(document: str) -> Iterator[Command]:
    """Yield every command: of indented and fenced blocks, and those between backquotes."""
    blocks = re.findall(r"(?:^|\n\n)((?: {4}.*\n+)+)", prose_of(document))
    blocks += fenced_blocks(document, "sh")
    for block in fenced_blocks(document, ""):  # a drawing, or what a program printed
        blocks.append("\n".join(re.findall(r"^(?:sudo |cps-auth |\./dev ).*", block, re.MULTILINE)))
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            yield from _commands_in(document, line, is_whole=True)
    for line in re.findall(r"`([^`\n]+)`", prose_of(document)):
        yield from _commands_in(document, line, is_whole=False)


def _commands_in(document: str, line: str, *, is_whole: bool) -> Iterator[Command]:
    lexer = shlex.shlex(re.sub(r"(^|\s)#.*", "", line), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        tokens = list(lexer)
    except ValueError:  # an apostrophe of a sentence: no command
        return
    for token in [*tokens, ";"]:
        if token.strip("|&;<>"):
            words.append(token)
            continue
        while words and (words[0] in ("sudo", "$") or re.match(r"[A-Z_]+=", words[0])):
            words.pop(0)
        if words:
            whole = is_whole and not _PLACEHOLDER.search(" ".join(words))
            yield Command(document, tuple(words), whole)
        words = []
