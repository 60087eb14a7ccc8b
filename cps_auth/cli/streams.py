"""Standard input, output and error that may be closed, full, or in another encoding than UTF-8."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final

from cps_auth.exit_codes import RESULT_LOST
from cps_auth.wording import translations
from cps_auth.wording.language import language_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FOR_A_PERSON: Final = "cps-auth"  # name of the handler of what an encoding cannot write


def secure_standard_streams() -> None:
    """Replace the three standard streams by ones that fail in a way that is known.

    A descriptor that is closed becomes the null device: the next socket or file would get its
    number, and a PIN be read from the reader service. What standard output does not take ends the
    program; what standard error does not take is lost.
    """
    for number in (0, 1, 2):
        _open_if_closed(number)
    codecs.register_error(_FOR_A_PERSON, _replaced)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # open as long as the process lives
    sys.stdout = _text(_Output(1, "w", closefd=False), getattr(sys.stdout, "encoding", None))
    sys.stderr = _text(_Complaints(2, "w", closefd=False), getattr(sys.stderr, "encoding", None))


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _text(raw: io.FileIO, encoding: str | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding or "utf-8", _FOR_A_PERSON, line_buffering=True
    )


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Write the bytes of an argument that is no text in hexadecimal, and ? for other letters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(visible(letter) if is_stray(letter) else "?" for letter in letters), error.end


def is_stray(letter: str) -> bool:
    """Return whether Python made this letter of a byte that is no text (PEP 383)."""
    return "\udc80" <= letter <= "\udcff"


def visible(text: str) -> str:
    """Return text with the bytes that are none written in hexadecimal, such as \\xe9."""
    return "".join(f"\\x{ord(one) - 0xDC00:02x}" if is_stray(one) else one for one in text)


class PatientOutput(io.FileIO):
    """A descriptor that may have been made non-blocking by whoever shares it."""

    def write(self, content: Buffer, /) -> int:
        """Write what there is room for, once there is some; see `io.RawIOBase`."""
        while (written := super().write(content)) is None:
            select.select((), (self,), ())
        return written


class _Output(PatientOutput):
    """Standard output: a result that cannot be written is no success."""

    def write(self, content: Buffer, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes the rest as it ends
            if not isinstance(error, BrokenPipeError):  # nobody reads on: nothing to be told
                words = translations(language_of(os.environ)).gettext(
                    "The result could not be written: {why}."
                )
                print(words.format(why=error.strerror), file=sys.stderr)
            raise SystemExit(RESULT_LOST) from None


class _Complaints(PatientOutput):
    """Standard error: where even that cannot be written, the exit code has to do."""

    def write(self, content: Buffer, /) -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes
