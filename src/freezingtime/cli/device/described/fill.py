# SPDX-License-Identifier: GPL-2.0-or-later
"""SSDs that are filled: the cliff, predicted and published, and the curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.results.time_columns import difference
from freezingtime.host.foreign_text import show
from freezingtime.predict.fill import Fill, FillCurve, FillFigure
from freezingtime.report.figures.files import FillSeries

_NONE = "-"
_NO_CLIFF = "no cliff"
_FIGURES = {
    "cached_bandwidth": "write rate into the cache",
    "cache": "written until it is full",
    "after_cache_bandwidth": "write rate behind the cliff",
    "fill_bandwidth": "mean over the whole disk",
}
#: Rows of the curve: the disk in so many equal parts.
_PARTS = 16


def show_fill(fill: Fill) -> None:
    """Print the figures, then the curve."""
    rows = [_row(figure, fill) for figure in fill.figures]
    print_columns([("figure", "predicted", "published", "difference", "source"), *rows])
    if fill.condition:
        show(f"published: {fill.condition}")
    for figure in fill.figures:
        if figure.exception:
            show(f"{_FIGURES[figure.name]}: {figure.exception}")
    show()
    header = ("written", "new disk", "full disk, overwritten")
    print_columns(
        [header, *zip(_ends(fill.fresh), _rates(fill.fresh), _rates(fill.full), strict=True)]
    )


def fill_document(fill: Fill) -> dict[str, Any]:
    """The same for JSON, with all of the curve."""
    return {
        "figures": [
            {
                "figure": figure.name,
                "predicted": figure.predicted,
                "published": figure.published,
                "difference": figure.difference,
                "source": None if figure.published is None else fill.source,
                "exception": figure.exception or None,
            }
            for figure in fill.figures
        ],
        "condition": fill.condition or None,
        "written_bytes": fill.fresh.written_bytes.tolist(),
        "new_bytes_per_s": fill.fresh.bytes_per_s.tolist(),
        "full_bytes_per_s": fill.full.bytes_per_s.tolist(),
    }


def fill_series(name: str, fill: Fill) -> FillSeries:
    """Return the curve as a figure draws it."""
    published = {figure.name: figure.published for figure in fill.figures}
    return FillSeries(
        name,
        fill.fresh.written_bytes,
        fill.fresh.bytes_per_s,
        fill.full.bytes_per_s,
        published["cache"],
        published["cached_bandwidth"],
        published["after_cache_bandwidth"],
    )


def _row(figure: FillFigure, fill: Fill) -> tuple[str, ...]:
    quantity = _gigabytes if figure.name == "cache" else _rate
    predicted = _NO_CLIFF if figure.predicted is None else quantity(figure.predicted)
    if figure.published is None:
        return (_FIGURES[figure.name], predicted, _NONE, _NONE, _NONE)
    away = _NONE if figure.difference is None else difference(figure.difference)
    published = quantity(figure.published)
    return (_FIGURES[figure.name], predicted, published, away, fill.source or _NONE)


def _ends(curve: FillCurve) -> list[str]:
    return [_gigabytes(part[-1]) for part in np.array_split(curve.written_bytes, _PARTS)]


def _rates(curve: FillCurve) -> list[str]:
    parts = np.array_split(curve.bytes_per_s, _PARTS)
    return [_rate(part.size / float(np.sum(1 / part))) for part in parts]


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.4g}GB"


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e9:.3g}GB/s" if bytes_per_s >= 1e9 else f"{bytes_per_s / 1e6:.3g}MB/s"
