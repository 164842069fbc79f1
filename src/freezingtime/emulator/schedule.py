# SPDX-License-Identifier: GPL-2.0-or-later
"""Completions that need no turn of the loop: the devices' foresights, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from freezingtime.device.base import Foresight
from freezingtime.request import Request


class Schedule(NamedTuple):
    """Completions up to the next event that needs a turn."""

    completions: Sequence[tuple[int, Request]]
    """Time in ns and request, in the order in which the loop would complete them."""
    then_ns: int | None
    """Time of that event; None: there is none."""


def schedule(
    foresights: Sequence[Foresight],
    *,
    until_ns: int | None,
    now_ns: int,
    gap_ns: int,
    is_ready: Callable[[Request], bool],
) -> Schedule:
    """Put together what the devices, in the order in which the loop advances them, foresee.

    There is a turn at ``until_ns`` (None: not for that), at an event behind which a device
    foresees no more, at one with a request that is not ``is_ready``, and at one that is more than
    ``gap_ns`` after ``now_ns`` or the one before it.
    """
    ends_ns = [foresight.then_ns for foresight in foresights if foresight.then_ns is not None]
    if until_ns is not None:
        ends_ns.append(until_ns)
    end_ns = min(ends_ns, default=None)
    # Sorting is stable: at the same time the devices are in order.
    events = sorted(
        (event for foresight in foresights for event in foresight.events), key=_event_ns
    )
    completions: list[tuple[int, Request]] = []
    before_ns = now_ns
    for event_ns, together in groupby(events, _event_ns):
        requests = [request for _, completed in together for request in completed]
        if end_ns is not None and event_ns >= end_ns:
            break
        if event_ns - before_ns > gap_ns or not requests or not all(map(is_ready, requests)):
            return Schedule(completions, event_ns)
        completions += [(event_ns, request) for request in requests]
        before_ns = event_ns
    return Schedule(completions, end_ns)


def _event_ns(event: tuple[int, Sequence[Request]]) -> int:
    return event[0]
