# SPDX-License-Identifier: GPL-2.0-or-later
"""The panels of what went on inside the devices: waits, hits, and their own counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freezingtime.annotation import HeldBy
from freezingtime.report.bins import Floats
from freezingtime.report.figures.run_panels import (
    Line,
    Panel,
    Runs,
    TimeAxis,
    disk_panel,
    disks_shown,
    linear_times,
    of_disk,
    ratio_scale,
    share_scale,
)
from freezingtime.report.figures.style import COLORS
from freezingtime.report.run_data import DeviceStatistics, display_name
from freezingtime.units import NS_PER_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of each disk, so many things that held requests are drawn: those that cost most.
_CAUSES_MAX = 3


@dataclass(frozen=True, slots=True)
class _Series:
    """Plot of one device statistic over guest time."""

    title: str
    label: str
    needs: tuple[str, ...]
    values: Callable[..., Floats]
    """Of what it needs and the times in ns: a value between each two samples."""
    scale: Callable[[Axes], None] | None = None
    """None: from 0 on."""


def _difference_ratio(upper: Floats, lower: Floats) -> Floats:
    quotients = np.full(len(upper) - 1, np.nan)
    np.divide(np.diff(upper), np.diff(lower), out=quotients, where=np.diff(lower) > 0)
    return quotients


def _ratio_so_far(upper: Floats, lower: Floats, _times_ns: Floats) -> Floats:
    quotients = np.full(len(upper), np.nan)
    np.divide(upper, lower, out=quotients, where=(lower > 0) & (upper > 0))
    return quotients[1:]


def _hit_share(hits: Floats, misses: Floats, _times_ns: Floats) -> Floats:
    return _difference_ratio(hits, hits + misses)


def _rate(counter: Floats, times_ns: Floats) -> Floats:
    return _difference_ratio(counter * NS_PER_S, times_ns)


def _utilisation(shares: Floats, times_ns: Floats) -> Floats:
    """Convert fractions of all time so far to those since the previous sample."""
    return np.clip(_difference_ratio(shares * times_ns, times_ns), 0, 1)


def _level(values: Floats, _times_ns: Floats) -> Floats:
    return values[1:]


_SERIES = (
    _Series(
        "write amplification so far",
        "bytes programmed / written",
        ("programmed_bytes", "host_written_bytes"),
        _ratio_so_far,
        ratio_scale,
    ),
    _Series("garbage collection", "units moved/s", ("gc_moved_units",), _rate),
    _Series("die utilisation", "share of time", ("die_utilisation",), _utilisation, share_scale),
    _Series("mapping cache", "share of hits", ("map_hits", "map_misses"), _hit_share, share_scale),
    _Series("cache", "share of hits", ("cache_hits", "cache_misses"), _hit_share, share_scale),
    _Series("dirty blocks", "blocks", ("dirty_blocks",), _level),
    _Series("bands cleaned", "bands/s", ("bands_cleaned",), _rate),
    _Series("I/O credits", "I/Os", ("iops_credits_balance",), _level),
    _Series("throughput credits", "bytes", ("throughput_credits_balance",), _level),
)


def internals(runs: Runs) -> Iterator[Panel]:
    """Of each disk: what held its requests, reads from memory, and the device's counters."""
    memory = Line(lambda data: data.internals.from_memory_share_in_bin)
    for disk in disks_shown(runs):
        for cause in _causes(runs, disk):
            yield _wait_panel(runs, disk, cause)
        shares = [data.internals.from_memory_share_in_bin for data, _, _ in of_disk(runs, disk)]
        if any(np.any(share > 0.01) for share in shares):
            title, label = f"{disk}: reads from memory", "share of reads"
            yield disk_panel(runs, disk, title, label, share_scale, memory)
        for prefix, series in _series_shown(runs, disk):
            yield _series_panel(runs, disk, prefix, series)


def _causes(runs: Runs, disk: str) -> list[HeldBy]:
    """Return the causes that held the disk's requests longest, in the record's order."""
    sums_ns: dict[HeldBy, int] = {}
    for data, _, _ in of_disk(runs, disk):
        for cause, held in data.internals.held.items():
            sums_ns[cause] = sums_ns.get(cause, 0) + held.wait_sum_ns
    most = sorted((cause for cause in sums_ns if sums_ns[cause]), key=lambda c: -sums_ns[c])
    return sorted(most[:_CAUSES_MAX])


def _wait_panel(runs: Runs, disk: str, cause: HeldBy) -> Panel:
    def draw(axes: Axes) -> None:
        time = TimeAxis(axes, runs)
        for data, color, run in of_disk(runs, disk):
            if cause in data.internals.held:
                time.steps(run, data.internals.held[cause].wait_mean_in_bin_ns, color=color)
        linear_times(axes)
        axes.set_ylabel("mean wait of a request")

    return Panel(f"{disk}: held by {display_name(cause)}", draw)


def _series_panel(runs: Runs, disk: str, prefix: str, series: _Series) -> Panel:
    def draw(axes: Axes) -> None:
        from matplotlib.ticker import EngFormatter

        time = TimeAxis(axes, runs)
        for run, color in zip(runs, COLORS, strict=False):
            statistics = run.statistics.get(disk)
            if statistics is not None and _has(statistics, prefix, series):
                columns = [statistics.values[prefix + name] for name in series.needs]
                times_ns = statistics.times_ns
                values = series.values(*columns, times_ns.astype(np.float64))
                time.between(run, times_ns, values, color=color)
        if series.scale is not None:
            series.scale(axes)
        else:
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
            axes.yaxis.set_major_formatter(EngFormatter())
        axes.set_ylabel(series.label)

    member = f" (member {prefix.rstrip('.')})" if prefix else ""
    return Panel(f"{disk}: {series.title}{member}", draw)


def _series_shown(runs: Runs, disk: str) -> list[tuple[str, _Series]]:
    """The series that some run has, with something in it; of members, by their prefixes."""
    shown: dict[tuple[str, _Series], None] = {}
    for run in runs:
        statistics = run.statistics.get(disk)
        if statistics is None or len(statistics.times_ns) < 2:
            continue
        for prefix in _prefixes(statistics.values):
            for series in _SERIES:
                if _has(statistics, prefix, series) and any(
                    np.any(statistics.values[prefix + name] != 0) for name in series.needs
                ):
                    shown[prefix, series] = None
    return list(shown)


def _has(statistics: DeviceStatistics, prefix: str, series: _Series) -> bool:
    return all(prefix + name in statistics.values for name in series.needs)


def _prefixes(values: Mapping[str, Floats]) -> list[str]:
    """Of a composition, statistics of member 1 begin with ``1.``."""
    return sorted({name[: name.rfind(".") + 1] for name in values})
