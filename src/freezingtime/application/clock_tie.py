# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's CLOCK_REALTIME beside guest time, so that an application's time stamps can be read.

The guest's kernel reads the date when it boots and counts guest time from then on, so the
difference of the two is a constant. It is found from *marks*: the guest reads its clock, reads a
block of a disk that takes no time, and reads its clock again; the emulator knows the guest time of
that request to the nanosecond. So each mark bounds the difference from both sides, and all of them
together bound it as the tightest of them do on each side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: A clock that is read in whole microseconds may be this much further.
_RESOLUTION_NS = 1000
#: More than a hundred years is damage.
_OFFSET_MAX_NS = 1 << 62
_KEY = "realtime"
_LEAST, _GREATEST, _REASON = "offset_min_ns", "offset_max_ns", "unknown"


@dataclass(frozen=True, slots=True)
class ClockTie:
    """Bounds of what the guest's CLOCK_REALTIME is ahead of guest time."""

    offset_min_ns: int
    offset_max_ns: int

    @property
    def width_ns(self) -> int:
        """Return how far apart they are: a time of one clock is known that well in the other."""
        return self.offset_max_ns - self.offset_min_ns

    def as_dict(self) -> dict[str, int]:
        """For ``run.json``."""
        return {_LEAST: self.offset_min_ns, _GREATEST: self.offset_max_ns}


def tie_clocks(marks_us: Sequence[tuple[int, int]], requests_ns: Sequence[int]) -> ClockTie:
    """Tie the clocks by marks: CLOCK_REALTIME before and after, and the requests in between.

    Raises:
        ValueError: they contradict each other; the text says how.
    """
    if not marks_us or len(marks_us) != len(requests_ns):
        raise ValueError(
            f"the guest read its clock around {len(marks_us)} requests, and made {len(requests_ns)}"
        )
    pairs = list(zip(marks_us, requests_ns, strict=True))
    least_ns = max(1000 * before_us - request_ns for (before_us, _), request_ns in pairs)
    greatest_ns = min(
        1000 * after_us + _RESOLUTION_NS - request_ns for (_, after_us), request_ns in pairs
    )
    if least_ns > greatest_ns:
        raise ValueError("the guest's clock does not run with guest time; something sets it")
    return ClockTie(least_ns, greatest_ns)


def tie_document(said: ClockTie | str | None) -> dict[str, dict[str, Any]]:
    """Describe a tie, or why there is none, for ``run.json``; nothing if none was wanted."""
    if said is None:
        return {}
    return {_KEY: {_REASON: said} if isinstance(said, str) else said.as_dict()}


def tie_of(document: Mapping[str, Any] | None) -> ClockTie | str | None:
    """The tie that a ``run.json`` has, or why there is none; None if none was wanted.

    Raises:
        ValueError: it is damaged.
    """
    said = None if document is None else document.get(_KEY)
    if said is None:
        return None
    if not isinstance(said, dict):
        raise ValueError(f"{_KEY} is no table")
    if isinstance(reason := said.get(_REASON), str):
        return reason
    least_ns, greatest_ns = said.get(_LEAST), said.get(_GREATEST)
    if not isinstance(least_ns, int) or not isinstance(greatest_ns, int):
        raise ValueError(f"{_KEY} has no bounds")
    if not -_OFFSET_MAX_NS <= least_ns <= greatest_ns <= _OFFSET_MAX_NS:
        raise ValueError(f"{_KEY} has bounds that cannot be")
    return ClockTie(least_ns, greatest_ns)
