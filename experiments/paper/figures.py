# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures, in the style of the program's reports; each is written as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from experiments.paper.outcome import Outcome
from numpy.typing import NDArray

from freezingtime.report.figures.canvas import figure_bytes, new_figure, write_file
from freezingtime.report.figures.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT_IN = 3.2
_WIDTH_IN = 4.6


@contextmanager
def panels(outcome: Outcome, path: Path, count: int) -> Iterator[Sequence[Axes]]:
    """Panels side by side; at the end they are written and belong to the outcome.

    ``path`` has no extension.
    """
    with new_figure(_WIDTH_IN * count, _HEIGHT_IN) as figure:
        yield figure.subplots(1, count, squeeze=False)[0]
        _write(figure, path)
    outcome.figures.append(path.with_suffix(".svg"))


def _write(figure: Figure, path: Path) -> None:
    for extension in (".svg", ".png"):
        write_file(path.with_suffix(extension), figure_bytes(figure, extension), "--out")


def draw_cdf(
    axes: Axes, values: NDArray[np.float64], label: str, number: int, *, dashed: bool = False
) -> None:
    """How many of the values are at most so large."""
    axes.step(
        np.sort(values),
        np.arange(1, len(values) + 1) / len(values),
        where="post",
        label=label,
        color=COLORS[number % len(COLORS)],
        linestyle="--" if dashed else "-",
    )
    axes.set_ylabel("share of requests")


def draw_bars(axes: Axes, values: Mapping[str, float], number: int = 0) -> None:
    """A horizontal bar for each value, with the value at its end."""
    bars = axes.barh(list(values), list(values.values()), color=COLORS[number % len(COLORS)])
    axes.bar_label(bars, fmt="%.4g", padding=2, fontsize=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
