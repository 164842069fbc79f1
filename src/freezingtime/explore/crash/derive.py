# SPDX-License-Identifier: GPL-2.0-or-later
"""From a write log to the states that power cuts at its points could leave, point by point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from freezingtime.device.faults.durability import Durability
from freezingtime.explore.crash.image import DiskImage
from freezingtime.explore.crash.states import Fate, PointStates
from freezingtime.explore.crash.undecided import Undecided
from freezingtime.trace.explored.crash_files import CutPoint
from freezingtime.trace.writes.log import WriteEvent


def derive(
    events: Iterable[WriteEvent],
    points: Sequence[CutPoint],
    start_ns: int,
    images: list[DiskImage],
    durabilities: Sequence[Durability],
    fates: Sequence[Fate],
) -> Iterator[tuple[CutPoint, PointStates]]:
    """Each point with its states; ``images`` are the disks before the first event.

    What had completed when the job started, at ``start_ns``, is durable: that was long ago.
    """
    undecided = Undecided(durabilities, images)
    waiting = iter(points)
    point = next(waiting, None)
    has_started = False
    for index, event in enumerate(events):
        if not has_started and event.time_ns > start_ns:
            undecided.settle()
            has_started = True
        while point is not None and point.event == index:
            undecided.pass_time(point.time_ns)
            yield point, _states(undecided, fates)
            point = next(waiting, None)
        if point is None:
            return
        undecided.take(event)
    while point is not None:
        undecided.pass_time(point.time_ns)
        yield point, _states(undecided, fates)
        point = next(waiting, None)


def _states(undecided: Undecided, fates: Sequence[Fate]) -> PointStates:
    images = [image.copy() for image in undecided.images]
    return PointStates(images, undecided.pieces(), fates)
