# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of runs that a program goes on with, or that a notebook shows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from freezingtime.errors import InputError, did_you_mean
from freezingtime.report.figures.canvas import new_figure
from freezingtime.report.figures.run_figures import (
    LATENCY_DISTRIBUTION,
    LATENCY_OVER_TIME,
    RUN_FIGURES,
    THROUGHPUT,
    RunFigure,
    draw_panels,
    figure_size_in,
)
from freezingtime.report.figures.run_panels import Panel
from freezingtime.report.run_data import RunData

#: What :func:`live_figure` draws unless it is told: what most ask for first.
DEFAULT = (LATENCY_DISTRIBUTION.name, LATENCY_OVER_TIME.name, THROUGHPUT.name)

_KINDS = {kind.name: kind for kind in RUN_FIGURES}


class LiveFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, with or without pyplot."""

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        """As a picture: the same figure has the same bytes."""
        import io

        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return {
            "image/png": base64.b64encode(content.getvalue()).decode(),
            "text/plain": repr(self),
        }


def live_figure(runs: Sequence[RunData], names: Sequence[str]) -> LiveFigure:
    """Draw some kinds of figures of runs, one over the other, in one figure.

    Raises:
        InputError: there is no kind of such a name, or nothing to be drawn of these.
    """
    kinds = [_kind(name) for name in names or DEFAULT]
    panels = [_titled(kind, panel, kinds) for kind in kinds for panel in kind.panels(runs)]
    if not panels:
        raise InputError(f"plot: there is nothing to draw for {', '.join(names)} in these runs")
    styles = {name: look for kind in kinds for name, look in kind.styles.items()}
    with new_figure(*figure_size_in(len(panels), runs, styles), LiveFigure) as figure:
        draw_panels(figure, panels, runs, styles)
    assert isinstance(figure, LiveFigure)
    return figure


def _kind(name: str) -> RunFigure:
    if name not in _KINDS:
        raise InputError(
            f"plot: there is no figure {name!r}; {did_you_mean(name, _KINDS)}"
            f"choose from {', '.join(_KINDS)}"
        )
    return _KINDS[name]


def _titled(kind: RunFigure, panel: Panel, kinds: Sequence[RunFigure]) -> Panel:
    """Say in a panel's title what it is, if there are several kinds and it does not yet."""
    if len(kinds) == 1 or kind is THROUGHPUT:
        return panel
    what = kind.title.removesuffix(" over time").lower()
    return replace(panel, title=f"{panel.title}: {what}")
