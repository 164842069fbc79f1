# SPDX-License-Identifier: GPL-2.0-or-later
"""Axes of times and of shares, and legends of line styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from freezingtime.report.figures.cdf import cdf_ranks, cdf_shares
from freezingtime.units import largest_time_unit, time_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: Colour of elements common to all series.
NEUTRAL = "#404040"

_SHARES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_TAIL_SHARES = (*_SHARES, 0.9999)


def cdf_of(sorted_ns: NDArray[Any]) -> tuple[list[int], list[float]]:
    """Latencies and the share of requests within them, densest in the tails."""
    ranks = cdf_ranks(len(sorted_ns))
    return sorted_ns[ranks - 1].tolist(), cdf_shares(ranks, len(sorted_ns)).tolist()


def share_axis(axes: Axes, *, far_tail: bool = False) -> None:
    """A vertical axis of the shares of requests; the far tail is up to 99.99 %."""
    shares = _TAIL_SHARES if far_tail else _SHARES
    axes.set_yscale("logit")
    axes.set_ylim(shares[0] / 2, 1 - (1 - shares[-1]) / 2)
    axes.set_yticks(shares, [f"{share * 100:g} %" for share in shares])
    axes.minorticks_off()
    axes.set_ylabel("share of requests within it")


def visible(values_ns: Sequence[float]) -> list[float]:
    """A logarithmic axis begins at 1 ns."""
    return [max(1.0, value_ns) for value_ns in values_ns]


def label_times(axis: Any) -> None:
    """Write units at a logarithmic axis of nanoseconds."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low_ns, high_ns = axis.get_view_interval()
    if high_ns < 100 * low_ns:  # too narrow for powers of ten alone
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value_ns, _position: time_text(value_ns)))
    setattr(axis.axes, f"fmt_{axis.axis_name}data", time_cell)


def time_text(value_ns: float) -> str:
    """A time for reading, to six digits."""
    unit, unit_ns = largest_time_unit(abs(value_ns))
    return f"{value_ns / unit_ns:g} {unit}"


def line_legend(axes: Axes, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Add a legend of the line styles, whatever their colour."""
    axes.legend(
        handles=line_handles(styles), loc="best", frameon=True, framealpha=0.85, edgecolor="none"
    )


def line_handles(styles: Mapping[str, Mapping[str, Any]]) -> list[Line2D]:
    """For a legend: a line for each look, in no series' colour unless it has one."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], **{"color": NEUTRAL, "label": name, **look}) for name, look in styles.items()
    ]
