"""Figures in files: SVG, PNG or PDF. Plain data in, bytes out; no display is needed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from freezingtime.errors import InputError
from freezingtime.report.style import COLORS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More devices than that in one figure cannot be told apart.
DEVICES_MAX = len(COLORS)

_STATISTICS: dict[str, Any] = {"mean": "-", "p50": "--", "p99": "-.", "p99.9": ":"}
# How a mark looks, by whether it is from a rate, and a bound.
_LOOKS: dict[tuple[bool, bool], tuple[str, dict[str, Any]]] = {
    (False, False): ("latency", {"marker": "o"}),
    (False, True): ("latency, at most", {"marker": "v"}),
    (True, False): ("IOPS: depth / IOPS", {"marker": "o", "markerfacecolor": "white"}),
    (True, True): ("IOPS, at least", {"marker": "v", "markerfacecolor": "white"}),
}
_NEUTRAL = "#404040"
_CDF_STYLES = ("-", "--", ":", "-.")
_SHARES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_CDF_POINTS = 400
_TIME_UNITS_NS = ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))
# A file that says when it was made would differ each time.
_METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None},
    ".png": {},
    ".pdf": {"CreationDate": None},
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A published figure in the panel of latency over depth."""

    depth: int
    latency_ns: float
    bound: bool
    """At most so much."""
    from_rate: bool
    """Computed from a rate: depth / IOPS."""


@dataclass(frozen=True, slots=True)
class LatencySeries:
    """One device's latencies under one kind of request."""

    device: str
    statistics_ns: dict[str, dict[int, float]]
    """"mean", "p50", "p99" and "p99.9", each by queue depth."""
    sorted_ns: dict[int, NDArray[np.int64]]
    """All latencies, sorted, by queue depth: for the distribution."""
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """One row of the figure: what the requests are, and a series for each device."""

    title: str
    series: Sequence[LatencySeries]


def check_figure_path(path: Path, option: str) -> None:
    """Find out before the work begins whether the figure can be written.

    Raises:
        InputError: the extension is unknown, or there can be no such file.
    """
    if path.suffix not in _METADATA:
        raise InputError(f"{option} {path}: unknown extension; write {', '.join(_METADATA)}")
    if path.is_dir():
        raise InputError(f"{option} {path}: is a directory; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no directory {path.parent}; make it first")


def draw_latency(rows: Sequence[LatencyRow], path: Path, option: str) -> None:
    """Draw latency over queue depth and its distribution, two panels in each row.

    The same data make the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    # Half a second to import: only for who draws.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = {**matplotlib.rcParamsDefault, **STYLE}  # whatever the user's own are
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(9.0, 3.4 * len(rows) + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        panels: Any = figure.subplots(len(rows), 2, squeeze=False)
        for row, (over_depth, distribution) in zip(rows, panels, strict=True):
            _draw_over_depth(over_depth, row)
            _draw_distribution(distribution, row)
        _legend_of_devices(figure, rows)
        _write(figure, path, option)


def _write(figure: Figure, path: Path, option: str) -> None:
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], metadata=_METADATA[path.suffix])
    try:
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise InputError(
            f"{option} {path}: {error.strerror}; name a file that can be written"
        ) from error


def _draw_over_depth(axes: Axes, row: LatencyRow) -> None:
    for series, color in zip(row.series, COLORS, strict=False):
        for name, line in _STATISTICS.items():
            values_ns = series.statistics_ns[name]
            axes.plot(list(values_ns), _visible(list(values_ns.values())), line, color=color)
        for mark in series.marks:
            axes.plot(
                [mark.depth],
                _visible([mark.latency_ns]),
                color=color,
                linestyle="none",
                zorder=3,
                **_LOOKS[_kind(mark)][1],
            )
    depths = sorted({depth for series in row.series for depth in series.statistics_ns["mean"]})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    _label_times(axes.yaxis)
    axes.set_title(f"{row.title}: latency")
    axes.set_xlabel("queue depth")
    _legend_of_lines(axes, _STATISTICS)


def _draw_distribution(axes: Axes, row: LatencyRow) -> None:
    depths = sorted({depth for series in row.series for depth in series.sorted_ns})
    lines = dict(zip(depths, _CDF_STYLES, strict=False))
    for series, color in zip(row.series, COLORS, strict=False):
        for depth, sorted_ns in series.sorted_ns.items():
            latencies_ns, shares = _cdf(sorted_ns)
            axes.plot(_visible(latencies_ns), shares, lines[depth], color=color)
    axes.set_xscale("log")
    axes.set_yscale("logit")
    axes.set_ylim(_SHARES[0] / 2, 1 - (1 - _SHARES[-1]) / 2)
    axes.set_yticks(_SHARES, [f"{share * 100:g} %" for share in _SHARES])
    axes.minorticks_off()
    _label_times(axes.xaxis)
    axes.set_title(f"{row.title}: distribution")
    axes.set_xlabel("latency")
    axes.set_ylabel("share of requests within it")
    _legend_of_lines(axes, {f"depth {depth}": line for depth, line in lines.items()})


def _cdf(sorted_ns: NDArray[np.int64]) -> tuple[list[int], list[float]]:
    """Latencies and the share of requests within them, densest in the tails."""
    count = len(sorted_ns)
    share = 1 / (1 + np.exp(-np.linspace(-10, 10, _CDF_POINTS)))
    ranks = np.unique(np.clip(np.ceil(share * count).astype(np.int64), 1, count))
    return sorted_ns[ranks - 1].tolist(), ((ranks - 0.5) / count).tolist()


def _visible(values_ns: Sequence[float]) -> list[float]:
    """A logarithmic axis begins at 1 ns."""
    return [max(1.0, value_ns) for value_ns in values_ns]


def _label_times(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    low_ns, high_ns = axis.get_view_interval()
    if high_ns < 30 * low_ns:  # too narrow for powers of ten alone
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value_ns, _position: _time(value_ns)))


def _time(value_ns: float) -> str:
    for unit_ns, unit in _TIME_UNITS_NS:
        if value_ns >= unit_ns:
            return f"{value_ns / unit_ns:g} {unit}"
    return f"{value_ns:g} ns"


def _legend_of_lines(axes: Axes, lines: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle=line, color=_NEUTRAL, label=name) for name, line in lines.items()
    ]
    axes.legend(handles=handles, loc="best", frameon=True, framealpha=0.85, edgecolor="none")


def _legend_of_devices(figure: Figure, rows: Sequence[LatencyRow]) -> None:
    """Above the panels: which colour is which device, and what the marks are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, linewidth=3, label=series.device)
        for series, color in zip(rows[0].series, COLORS, strict=False)
    ]
    marks = [mark for row in rows for series in row.series for mark in series.marks]
    for kind in sorted({_kind(mark) for mark in marks}):
        name, look = _LOOKS[kind]
        handles.append(
            Line2D([], [], linestyle="none", color=_NEUTRAL, label=f"published {name}", **look)
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=4)


def _kind(mark: Mark) -> tuple[bool, bool]:
    return mark.from_rate, mark.bound
