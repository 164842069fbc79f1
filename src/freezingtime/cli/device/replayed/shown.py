# SPDX-License-Identifier: GPL-2.0-or-later
"""A replay as the command shows it, whether it has been run or was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.results.replay_figures import ReplayFigures
from freezingtime.simulate.replay import TraceSource, replay, write_record
from freezingtime.simulate.workload import Workload


class ShownReplay(NamedTuple):
    """A replay on one device, wherever it comes from."""

    figures: ReplayFigures
    host_s: float | None
    """Host time of its simulation; None: it was found."""
    write_to: Callable[..., None]
    """Append its requests: called with a record, its device's number, and ``observer``."""


def replay_each(
    source: TraceSource | Workload,
    devices: Sequence[str],
    seed: int,
    progress: ReplayProgress,
    *,
    with_samples: bool,
) -> Iterator[ShownReplay]:
    """Replay on each device; what is wrong with any of them is found out before the first runs.

    Raises:
        InputError: a device or the source is not right.
        RunError: a device broke its contract.
    """
    results = replay(
        source,
        devices,
        seed=seed,
        observer=progress,
        notify=progress.notify,
        on_reading=progress.on_reading,
        with_samples=with_samples,
    )
    return (
        ShownReplay(ReplayFigures.of(each), each.host_s, partial(write_record, replayed=each))
        for each in results
    )
