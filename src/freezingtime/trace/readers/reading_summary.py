"""What was read of a trace or log, so that nothing is guessed or left out in silence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadingSummary:
    """What a reading came to."""

    file: str
    request_count: int
    span_ns: int
    """From the first arrival to the last one."""
    disks: tuple[str, ...]
    """By the file's own names, sorted."""
    notes: tuple[str, ...]
    """What was dropped, sorted, paired oddly or taken for granted, a line each."""


class Notes:
    """What a reader has to say of a file, collected line by line.

    A note with ``{}`` in it counts: it is said once, with how often it applied.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, note: str, count: int = 1) -> None:
        """Say it, or count ``count`` more of it."""
        if count:
            self._counts[note] += count

    @property
    def lines(self) -> tuple[str, ...]:
        """The notes in the order in which they came up."""
        return tuple(note.replace("{}", str(count)) for note, count in self._counts.items())
