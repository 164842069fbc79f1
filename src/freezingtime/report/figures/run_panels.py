# SPDX-License-Identifier: GPL-2.0-or-later
"""The panels of a report's figures: what each one draws of some runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from freezingtime.report.bins import Floats, Integers
from freezingtime.report.figures.axes import (
    label_times,
    share_axis,
    time_text,
    visible,
)
from freezingtime.report.figures.style import COLORS
from freezingtime.report.run_data import DiskData, OperationData, RunData
from freezingtime.request import FaultKind
from freezingtime.request_figures import ALL
from freezingtime.units import largest_time_unit, time_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Runs: TypeAlias = Sequence[RunData]
Subject = TypeVar("Subject")

#: So many disks and operations are drawn, times the runs, so that a page stays below some MB.
SUBJECTS_MAX = 12
_CURVES_MAX = 36
#: Fewer requests than that have no distribution to speak of.
FEW = 20

#: Looks of lines, which :mod:`~freezingtime.report.figures.run_figures` explains in the legends.
THIN: Mapping[str, Any] = {"linewidth": 0.8, "alpha": 0.65}
DOTS: Mapping[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 3}
PALE: Mapping[str, Any] = {"linewidth": 5, "alpha": 0.3}
CHANGE: Mapping[str, Any] = {"linestyle": ":", "linewidth": 1.2}
_OTHER = "other"
OPERATION_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "read": {"linestyle": "-"},
    "write": {"linestyle": "--"},
    _OTHER: {"linestyle": ":"},
}
#: A mark for each kind of fault.
FAULT_LOOKS: Mapping[str, Mapping[str, Any]] = {
    kind.name.lower(): {"linestyle": "none", "marker": marker, "markersize": 5}
    for kind, marker in zip(FaultKind, "os^v<>xD*", strict=True)
}
_TITLE_MAX = 56
# A scale of times that ends before that would make much of nothing.
_SCALE_MIN_NS = 1000
# So that there are some ticks.
_RATIO_SPAN_MIN = 6


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes: its title, and what draws into it."""

    title: str
    draw: Callable[[Axes], None]


def latency_distribution(runs: Runs) -> Iterator[Panel]:
    for disk, operation in _latencies_shown(runs):

        def draw(axes: Axes, disk: str = disk, operation: str = operation) -> None:
            for data, color, _ in _with_latencies(runs, disk, operation):
                distribution = data.distribution
                axes.plot(
                    visible(distribution.latencies_ns.tolist()), distribution.shares, color=color
                )
            axes.set_xscale("log")
            share_axis(axes, far_tail=True)
            _time_scale(axes.xaxis)
            axes.set_xlabel("latency")

        yield Panel(f"{disk}: {operation}", draw)


def latency_over_time(runs: Runs) -> Iterator[Panel]:
    for disk, operation in _latencies_shown(runs):

        def draw(axes: Axes, disk: str = disk, operation: str = operation) -> None:
            time = TimeAxis(axes, runs)
            for data, color, run in _with_latencies(runs, disk, operation):
                p99_ns, median_ns, max_ns = (
                    np.maximum(values_ns, 1)
                    for values_ns in (
                        data.p99_in_bin_ns,
                        data.median_in_bin_ns,
                        data.max_in_bin_ns,
                    )
                )
                time.steps(run, median_ns, color=color, label="median")
                time.steps(run, p99_ns, color=color, label="p99", **THIN)
                time.points(run, max_ns, color=color, label="max", **DOTS)
            _logarithmic_times(axes)
            axes.set_ylabel("latency")

        yield Panel(f"{disk}: {operation}", draw)


class Line(NamedTuple):
    """A line of a panel: of a disk's data a value for each bin, its name, and how it looks."""

    values: Callable[[DiskData], Floats]
    look: Mapping[str, Any] = MappingProxyType({})
    name: str = ""


def disk_panel(
    runs: Runs, disk: str, title: str, label: str, scale: Callable[[Axes], None], *lines: Line
) -> Panel:
    """A disk's values over guest time, of each run, on a vertical axis of that scale."""

    def draw(axes: Axes) -> None:
        time = TimeAxis(axes, runs)
        for data, color, run in of_disk(runs, disk):
            for line in lines:
                time.steps(run, line.values(data), color=color, label=line.name, **line.look)
        scale(axes)
        axes.set_ylabel(label)

    return Panel(title, draw)


def queue_depth(runs: Runs) -> Iterator[Panel]:
    most = Line(lambda data: data.depth_max_in_bin, THIN, "max")
    mean = Line(lambda data: data.depth_mean_in_bin, name="mean")
    for disk in disks_shown(runs):
        yield disk_panel(runs, disk, disk, "queue depth", _whole_numbers, most, mean)


def throughput(runs: Runs) -> Iterator[Panel]:
    for disk in disks_shown(runs):
        yield _rate_panel(runs, disk, "IOPS", "requests/s", lambda data: data.iops_in_bin)
        if any(
            np.any(operation.bandwidth_in_bin_bytes_per_s)
            for data, _, _ in of_disk(runs, disk)
            for operation in data.single_operations.values()
        ):
            yield _rate_panel(
                runs, disk, "bandwidth", "B/s", lambda data: data.bandwidth_in_bin_bytes_per_s
            )


def _rate_panel(
    runs: Runs, disk: str, what: str, unit: str, rate: Callable[[OperationData], Floats]
) -> Panel:
    def draw(axes: Axes) -> None:
        from matplotlib.ticker import EngFormatter

        time = TimeAxis(axes, runs)
        for data, color, run in of_disk(runs, disk):
            for name, operation in data.operations.items():
                if name != ALL and np.any(rate(operation)):
                    look = OPERATION_LOOKS.get(name, OPERATION_LOOKS[_OTHER])
                    time.steps(run, rate(operation), color=color, label=name, **look)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.set_ylabel(unit)

    return Panel(f"{disk}: {what}", draw)


def service(runs: Runs) -> Iterator[Panel]:
    target = Line(lambda data: data.target_mean_in_bin_ns, PALE, "the model's")
    delivered = Line(lambda data: data.delivered_mean_in_bin_ns, name="delivered")
    worst = Line(lambda data: data.worst_deviation_in_bin_ns)
    for disk in disks_shown(runs):
        title, label = f"{disk}: service", "mean service time"
        yield disk_panel(runs, disk, title, label, linear_times, target, delivered)
        if any(data.worst_deviation_ns for data, _, _ in of_disk(runs, disk)):
            title, label = f"{disk}: deviation from the model", "worst deviation"
            yield disk_panel(runs, disk, title, label, linear_times, worst)


def faults(runs: Runs) -> Iterator[Panel]:
    for disk in dict.fromkeys(name for run in runs for name in run.disks):
        if not any(data.faults for data, _, _ in of_disk(runs, disk)):
            continue

        def draw(axes: Axes, disk: str = disk) -> None:
            time = TimeAxis(axes, runs)
            for data, color, run in of_disk(runs, disk):
                for kind, counts in data.faults.items():
                    name = kind.name.lower()
                    shown = np.where(counts > 0, counts, np.nan)
                    time.points(run, shown, color=color, label=name, **FAULT_LOOKS[name])
            _whole_numbers(axes)
            axes.set_ylabel("requests hit")

        yield Panel(f"{disk}: faults", draw)


def warp(runs: Runs) -> Iterator[Panel]:
    share = Line(lambda data: data.warped_share_in_bin)
    for disk in disks_shown(runs):
        if any(np.any(data.warped_share_in_bin > 0) for data, _, _ in of_disk(runs, disk)):
            yield disk_panel(runs, disk, disk, "share of service time warped", share_scale, share)


def freeze(runs: Runs) -> Iterator[Panel]:
    frozen = Line(lambda data: np.cumsum(data.frozen_in_bin_host_ns, dtype=np.float64))
    greatest = Line(lambda data: np.maximum(data.medium_max_in_bin_host_ns, 1), THIN, "max")
    mean = Line(lambda data: np.maximum(data.medium_mean_in_bin_host_ns, 1), name="mean")
    for disk in disks_shown(runs):
        if any(data.frozen_host_ns for data, _, _ in of_disk(runs, disk)):
            title, label = f"{disk}: frozen", "real time frozen so far"
            yield disk_panel(runs, disk, title, label, linear_times, frozen)
        title, label = f"{disk}: the medium", "real time of the medium"
        yield disk_panel(runs, disk, title, label, _logarithmic_times, greatest, mean)


def subjects_max(runs: Runs) -> int:
    """Return how many disks, or pairs of disk and operation, a figure of these runs shows."""
    return min(SUBJECTS_MAX, _CURVES_MAX // len(runs))


def operations_shown(runs: Runs) -> list[tuple[str, str]]:
    """Return the disks and operations with the most requests, in the record's order.

    A few requests beside many, such as those of a kernel that looks for partitions, are left out.
    """
    counts: dict[tuple[str, str], int] = {}
    for run in runs:
        for disk, data in run.disks.items():
            for name, operation in data.single_operations.items():
                counts[disk, name] = counts.get((disk, name), 0) + operation.count
    many = {subject: count for subject, count in counts.items() if count >= FEW}
    return _most(many or counts, subjects_max(runs))


def always_0(runs: Runs) -> Iterator[tuple[str, str, str, int]]:
    """Yield disk, operation, run and number of the requests of which not one took any time."""
    for disk, operation in operations_shown(runs):
        for data, _, run in _of_operation(runs, disk, operation):
            if not data.figures.max_ns:
                yield disk, operation, run.label, data.count


def disks_shown(runs: Runs) -> list[str]:
    """Return the disks with the most requests, in the record's order."""
    counts: dict[str, int] = {}
    for run in runs:
        for disk, data in run.disks.items():
            counts[disk] = counts.get(disk, 0) + data.count
    many = {disk: count for disk, count in counts.items() if count >= FEW}
    return _most(many or counts, subjects_max(runs))


def _most(counts: Mapping[Subject, int], limit: int) -> list[Subject]:
    by_count = sorted(counts, key=lambda subject: -counts[subject])
    return [subject for subject in counts if subject in by_count[:limit]]


class TimeAxis:
    """A horizontal axis of guest time since each run's first request."""

    def __init__(self, axes: Axes, runs: Runs) -> None:
        self._axes = axes
        longest_ns = max(run.span.end_ns - run.span.start_ns for run in runs)
        unit, self._unit_ns = largest_time_unit(longest_ns)
        axes.set_xlabel(f"time since the first request [{unit}]")
        axes.fmt_xdata = lambda value: f"{value:.4g} {unit}"
        for run, color in zip(runs, COLORS, strict=False):
            self._mark(run, color)

    def _mark(self, run: RunData, color: str) -> None:
        """Draw a line from bottom to top where parameters changed."""
        from matplotlib.collections import LineCollection

        places = [
            (time_ns - run.span.start_ns) / self._unit_ns for time_ns in run.change_times_ns()
        ]
        lines = LineCollection(
            [[(place, 0.0), (place, 1.0)] for place in places],
            transform=self._axes.get_xaxis_transform(),
            colors=color,
            linestyles="dotted",
            linewidths=CHANGE["linewidth"],
        )
        if places:
            self._axes.add_collection(lines, autolim=False)

    def steps(self, run: RunData, values: Floats, **look: Any) -> None:
        """A value for each bin, as wide as the bin."""
        edges = run.span.edges_ns() / self._unit_ns
        self._axes.stairs(values, edges, baseline=None, **look)

    def between(self, run: RunData, times_ns: Integers, values: Floats, **look: Any) -> None:
        """Draw a value between each two guest times, one fewer than the times."""
        edges = (times_ns - run.span.start_ns) / self._unit_ns
        self._axes.stairs(values, edges, baseline=None, **look)

    def points(self, run: RunData, values: Floats, **look: Any) -> None:
        """A value for each bin, in its middle."""
        edges = run.span.edges_ns() / self._unit_ns
        self._axes.plot((edges[:-1] + edges[1:]) / 2, values, **look)


def _of_operation(
    runs: Runs, disk: str, operation: str
) -> Iterator[tuple[OperationData, str, RunData]]:
    for data, color, run in of_disk(runs, disk):
        if operation in data.operations:
            yield data.operations[operation], color, run


def _latencies_shown(runs: Runs) -> list[tuple[str, str]]:
    """What is always 0 has no place on a logarithmic axis; it is said (:func:`always_0`)."""
    shown = operations_shown(runs)
    return [subject for subject in shown if any(True for _ in _with_latencies(runs, *subject))]


def _with_latencies(
    runs: Runs, disk: str, operation: str
) -> Iterator[tuple[OperationData, str, RunData]]:
    return (each for each in _of_operation(runs, disk, operation) if each[0].figures.max_ns)


def of_disk(runs: Runs, disk: str) -> Iterator[tuple[DiskData, str, RunData]]:
    """Yield each run's data of a disk, with the run's colour."""
    for run, color in zip(runs, COLORS, strict=False):
        if disk in run.disks:
            yield run.disks[disk], color, run


def _time_scale(axis: Any) -> None:
    """A logarithmic axis of times, wide enough for some ticks."""
    low_ns, high_ns = axis.get_view_interval()
    if high_ns < 6 * low_ns:
        middle_ns = (low_ns * high_ns) ** 0.5
        axis.set_view_interval(middle_ns / 3, middle_ns * 3, ignore=True)
    label_times(axis)
    axis.axes.minorticks_off()


def _logarithmic_times(axes: Axes) -> None:
    axes.set_yscale("log")
    _time_scale(axes.yaxis)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def share_scale(axes: Axes) -> None:
    """A vertical axis of shares, in per cent."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.fmt_ydata = lambda share: f"{share * 100:.4g} %"


def linear_times(axes: Axes) -> None:
    """A vertical axis of times from 0 on."""
    from matplotlib.ticker import FuncFormatter

    top_ns = max(_SCALE_MIN_NS, axes.get_ylim()[1])
    axes.set_ylim(-0.03 * top_ns, top_ns)  # a line at 0 must be visible
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value_ns, _position: time_text(value_ns)))
    axes.fmt_ydata = time_cell


def ratio_scale(axes: Axes) -> None:
    """A logarithmic vertical axis of ratios, such as 1, 2, 5, 10."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < _RATIO_SPAN_MIN * low:
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / _RATIO_SPAN_MIN**0.5, middle * _RATIO_SPAN_MIN**0.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.minorticks_off()


def panel_title(title: str) -> str:
    """A device's description may be long; a figure is not."""
    return title if len(title) <= _TITLE_MAX else f"{title[: _TITLE_MAX - 1]}…"
