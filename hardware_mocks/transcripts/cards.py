"""A card that writes down what is said to it, one that says only that, and a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from hardware_mocks.card.command import COMMAND_NAMES, secret_from
from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.transcripts.transcript import Step, Transcript


class TranscriptBroken(AssertionError):
    """The commands or answers differ from the transcript."""


class RecordingCard:
    """Any card, with a transcript of everything that it is asked. PIN and PUK are not in it."""

    def __init__(self, card: Insertable, kind: str) -> None:
        """Begin a transcript for a kind of card."""
        self._card = card
        self._kind = kind
        self._steps: list[Step] = []

    @property
    def transcript(self) -> Transcript:
        """Return what was said so far."""
        steps = self._steps[:-1] if self._steps and self._steps[-1].is_reset else self._steps
        return Transcript(self._kind, tuple(steps))

    @property
    def atr(self) -> bytes:
        """Return the answer to reset of the card."""
        return self._card.atr

    @property
    def protocol(self) -> int:
        """Return 0 for T=0, 1 for T=1."""
        return self._card.protocol

    def transmit(self, command: bytes) -> bytes:
        """Ask the card, and write both down."""
        answer = self._card.transmit(command)
        name = COMMAND_NAMES.get(command[1], "") if len(command) > 1 else ""
        self._steps.append(Step(_hidden_words(command), _words(answer), name))
        return answer

    def power_on(self) -> None:
        """Power the card."""
        self._card.power_on()
        self._note_reset()

    def power_off(self) -> None:
        """Take its power."""
        self._card.power_off()
        self._note_reset()

    def reset(self) -> None:
        """Reset the card."""
        self._card.reset()
        self._note_reset()

    def _note_reset(self) -> None:
        if self._steps and not self._steps[-1].is_reset:
            self._steps.append(Step(comment="the card forgets what only power keeps"))


def _words(data: bytes) -> tuple[str, ...]:
    return tuple(f"{byte:02X}" for byte in data)


def _hidden_words(command: bytes) -> tuple[str, ...]:
    start = secret_from(command)
    return _words(command[:start]) + ("**",) * (len(command) - start)


class ReplayedCard:
    """A card that is its transcript: every other command, order or reset is a failure.

    A context manager: leaving the block normally also fails when something was left unsaid.
    """

    def __init__(
        self,
        transcript: Transcript,
        *,
        atr: bytes,
        protocol: int,
        secrets: Mapping[str, bytes] | None = None,
    ) -> None:
        """Begin at the first step.

        Args:
            transcript: whose answers have no gaps.
            atr, protocol: of the card that it stands for.
            secrets: what `{name}` stands for; a secret that is not given may be any bytes.

        Raises:
            ValueError: an answer has gaps.
        """
        for step in transcript.steps:
            step.answer_bytes()
        self._left = list(transcript.steps)
        self._secrets = secrets or {}
        self._broken: TranscriptBroken | None = None
        self._said = 0
        self.atr = atr
        self.protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        """Answer as the transcript does.

        Raises:
            TranscriptBroken: it has another command here, or none.
        """
        expected = self._left[0] if self._left else None
        if self._broken or expected is None or not expected.takes(command, self._secrets):
            self._fail(f"said {_show(_hidden_words(command))}", expected)
        self._said += 1
        return self._left.pop(0).answer_bytes()

    def power_on(self) -> None:
        """Begin anew, as `reset`."""
        self.reset()

    def power_off(self) -> None:
        """Forget, as `reset`."""
        self.reset()

    def reset(self) -> None:
        """Take the step where the transcript has a reset; before the first and after the last.

        Raises:
            TranscriptBroken: the transcript goes on with a command.
        """
        if self._left and self._left[0].is_reset:
            self._left.pop(0)
            self._said = 0
        elif self._left and self._said:
            self._fail("reset", self._left[0])

    def finish(self) -> None:
        """Fail if anything went wrong, or was left unsaid.

        Raises:
            TranscriptBroken: with the first difference.
        """
        if self._broken is not None:
            raise self._broken
        if self._left:
            self._fail("stopped", self._left[0])

    def _fail(self, what: str, expected: Step | None) -> None:
        wanted = "the end" if expected is None else _describe(expected)
        self._broken = self._broken or TranscriptBroken(f"{what}; the transcript has {wanted}")
        raise self._broken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None or self._broken is not None:
            self.finish()


def check_card(transcript: Transcript, card: Insertable, secrets: Mapping[str, bytes]) -> None:
    """Send all of a transcript to a card and compare its answers.

    Raises:
        TranscriptBroken: an answer differs.
        KeyError: the transcript has a secret that is not given.
    """
    card.power_on()
    for number, step in enumerate(transcript.steps, 1):
        if step.is_reset:
            card.reset()
            continue
        answer = card.transmit(step.command_bytes(secrets))
        if not step.is_answered_by(answer):
            raise TranscriptBroken(
                f"step {number}, {_describe(step)}: answered {_show(_words(answer))}, "
                f"not {_show(step.answer)}"
            )


def _describe(step: Step) -> str:
    said = "reset" if step.is_reset else _show(step.command)
    return f"{said} ({step.comment})" if step.comment else said


def _show(words: tuple[str, ...]) -> str:
    return " ".join(words)
