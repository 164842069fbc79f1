# SPDX-License-Identifier: GPL-2.0-or-later
"""The figure of `freezingtime devices --plot`: from simulations to what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from freezingtime.cli.device.described.fill import fill_series
from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.device.description import Description
from freezingtime.errors import InputError
from freezingtime.predict.fill import Fill
from freezingtime.predict.latency_curves import LatencyCurve, latency_curves
from freezingtime.report.figures.files import (
    DEVICES_MAX,
    LatencyRow,
    LatencySeries,
    Mark,
    check_figure_path,
    draw_latency,
)

_OPTION = "--plot"


def check_plot(names: Sequence[str], path: Path) -> None:
    """Find out before the work begins whether there can be such a figure.

    Raises:
        InputError: no device is named, or too many are, or the file cannot be.
    """
    if not names:
        raise InputError(f"{_OPTION} {path}: name a device to plot, such as aws-gp3")
    if len(names) > DEVICES_MAX:
        raise InputError(
            f"{_OPTION} {path}: {len(names)} devices; at most {DEVICES_MAX} fit into one figure"
        )
    check_figure_path(path, _OPTION)


def plot_devices(
    descriptions: Sequence[Description], fills: Mapping[str, Fill], path: Path
) -> None:
    """Draw the devices' latencies, and how those with an SLC cache are filled, into one figure.

    Raises:
        InputError: a device cannot be built, or the file cannot be written.
    """
    with ReplayProgress(quiet=False) as observer:
        curves = {}
        for description in descriptions:

            def progress(done: int, total: int, name: str = description.name) -> None:
                observer(f"simulating {name}", done, total)

            curves[description.name] = latency_curves(description, progress=progress)
    rows = [
        LatencyRow(
            f"random {curve.operation}s, 4 KiB",
            [_series(name, of_device[index]) for name, of_device in curves.items()],
        )
        for index, curve in enumerate(next(iter(curves.values())))
    ]
    series = [fill_series(name, fills[name]) if name in fills else None for name in curves]
    draw_latency(rows, path, _OPTION, series)


def _series(name: str, curve: LatencyCurve) -> LatencySeries:
    summaries = curve.summaries.items()
    return LatencySeries(
        device=name,
        statistics_ns={
            "mean": {depth: summary.mean_ns for depth, summary in summaries},
            "p50": {depth: summary.p50_ns for depth, summary in summaries},
            "p99": {depth: summary.p99_ns for depth, summary in summaries},
            "p99.9": {depth: summary.p99_9_ns for depth, summary in summaries},
        },
        sorted_ns=curve.sorted_ns,
        marks=[
            Mark(mark.depth, mark.latency_ns, mark.bound, mark.from_rate)
            for mark in curve.published
        ],
    )
