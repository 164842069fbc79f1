# SPDX-License-Identifier: GPL-2.0-or-later
"""Times of arrival that go back: a clock that wraps, traces one after another, or mere disorder.

The target of a jump backwards shows its meaning:

- by about 2**32 ns, us or ms: a 32-bit clock has wrapped, and time continues;
- to where the trace began, time after time, with all in order between: traces are appended, each
  with a clock of its own. Each begins one mean gap after the one before has ended;
- anywhere else: requests are out of order, as several CPUs write them, and are sorted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from freezingtime.errors import InputError
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.readers.hints import TIME_UNITS
from freezingtime.trace.readers.reading import span_text
from freezingtime.units import MAX_VALUE, counted

_CLOCK_UNITS = ("ns", "us", "ms")
# The most that may lie between two requests where a clock wraps, as a share of its range.
_WRAP_GAP_SHARE = 1 / 64
# Appended traces begin within that share of the shortest one's span of where the first began, and
# have so many requests at least.
_ORIGIN_SHARE = 0.1
_APPENDED_MIN = 3
# Nor do they, from where they began, jump over as much of the span of the one before: what is
# written when it completes does, behind a request that took long.
_JUMP_SHARE = 0.5


class Ordered(NamedTuple):
    """Times as they are meant, and how to put them into order."""

    arrival_ns: IntColumn
    """Of each request in file order, from the first arrival on."""
    order: IntColumn | None
    """None: they are in order."""
    facts: tuple[str, ...]
    notes: tuple[str, ...]


def put_in_order(
    file: str, start_ns: int, arrival_ns: IntColumn, *, is_one_clock: bool = False
) -> Ordered:
    """Interpret times that go back; ``arrival_ns`` counts from ``start_ns``.

    ``is_one_clock``: they can be nothing but out of order.

    Raises:
        InputError: together, the traces are longer than 64 bits of ns.
    """
    notes: list[str] = []
    if not is_one_clock:
        arrival_ns, wraps = _unwrapped(start_ns, arrival_ns)
        arrival_ns, appended = _one_after_another(file, arrival_ns)
        notes += [note for note in (wraps, appended) if note]
    late_ns = np.maximum.accumulate(arrival_ns) - arrival_ns
    order: IntColumn | None = None
    if late_ns.any():
        order = np.argsort(arrival_ns, kind="stable")
        notes.append(
            f"sorted by time: {counted(int(np.count_nonzero(late_ns)), 'request')} came after "
            f"later ones, by up to {span_text(int(late_ns.max()))}"
        )
    facts = () if notes else ("in order of arrival",)
    return Ordered(arrival_ns - arrival_ns.min(), order, facts, tuple(notes))


def _unwrapped(start_ns: int, arrival_ns: IntColumn) -> tuple[IntColumn, str]:
    """Continue a 32-bit clock's times where it wraps; describe that."""
    backward_ns = -np.diff(arrival_ns)
    for unit in _CLOCK_UNITS:
        range_ns = 2**32 * 10 ** TIME_UNITS[unit]
        # Python's numbers, as times since 1970 are beyond 64 bits.
        if start_ns + int(arrival_ns.max()) >= range_ns or start_ns + int(arrival_ns.min()) < 0:
            continue
        wraps = backward_ns >= range_ns * (1 - _WRAP_GAP_SHARE)
        if count := int(np.count_nonzero(wraps)):
            if int(count * range_ns) + int(arrival_ns.max()) > MAX_VALUE:
                continue
            # Disorder around a wrap goes forward by as much.
            back = -backward_ns >= range_ns * (1 - _WRAP_GAP_SHARE)
            turns = np.concatenate([[0], np.cumsum(wraps.astype(np.int64) - back)])
            return arrival_ns + turns * range_ns, (
                f"a clock of 32 bits of {unit} wraps {count} times: time continues there"
                if count > 1
                else f"a clock of 32 bits of {unit} wraps once: time continues there"
            )
    return arrival_ns, ""


def _one_after_another(file: str, arrival_ns: IntColumn) -> tuple[IntColumn, str]:
    """Put concatenated traces one after another; describe that."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(arrival_ns) < 0) + 1, [len(arrival_ns)]])
    counts, firsts_ns = np.diff(starts), arrival_ns[starts[:-1]]
    lasts_ns = arrival_ns[starts[1:] - 1]
    spans_ns = lasts_ns - firsts_ns
    near_ns = _ORIGIN_SHARE * spans_ns.min()
    if (
        len(counts) < 2
        or counts.min() < _APPENDED_MIN
        or not spans_ns.min()
        or np.any(np.abs(firsts_ns - firsts_ns[0]) > near_ns)
        or any(
            _jumps_over(arrival_ns[start:end], int(first_ns), int(last_ns))
            for start, end, first_ns, last_ns in zip(
                starts[1:-1], starts[2:], firsts_ns, lasts_ns, strict=False
            )
        )
    ):
        return arrival_ns, ""
    gaps_ns = spans_ns // (counts - 1)
    if sum(spans_ns.tolist()) + sum(gaps_ns.tolist()) > MAX_VALUE // 2:
        raise InputError(
            f"{file}: the concatenated traces are too long together; read them one by one"
        )
    begins_ns = np.concatenate([[0], np.cumsum(spans_ns + gaps_ns)[:-1]])
    return arrival_ns + np.repeat(begins_ns - firsts_ns, counts), (
        f"time goes back to the start at {counted(len(counts) - 1, 'place')}: read as "
        f"{len(counts)} traces in succession (if it is one trace, sort the file by time)"
    )


def _jumps_over(times_ns: IntColumn, before_first_ns: int, before_last_ns: int) -> bool:
    """Whether ascending times jump from within an earlier span far across its end."""
    place = int(np.searchsorted(times_ns, before_last_ns, side="right"))
    if not 0 < place < len(times_ns):
        return False
    jump_ns = int(times_ns[place] - times_ns[place - 1])
    return jump_ns > _JUMP_SHARE * (before_last_ns - before_first_ns)
