# SPDX-License-Identifier: GPL-2.0-or-later
"""A sweep's directory, as its page needs it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.application.figure import Direction
from freezingtime.errors import InputError, did_you_mean
from freezingtime.report.sweep.data import SEED, SweepData, SweepMetric, SweptKey
from freezingtime.trace.explored.sweep_files import (
    FIGURE,
    POINT,
    REASON,
    RESULT,
    STATUS,
    SWEEP_FORMAT,
    SWEEP_NAME,
    TABLE_NAME,
    UNIT,
)

#: More points than that are not told apart in a figure, and make a page that no browser likes.
POINTS_MAX = 5000
_APPLICATION = "app."
_DEFAULTS = ("all.iops", "all.p99", "guest_time")
_METRICS_DEFAULT = 2
_METRICS_MAX = 6
_TIMES = ("ns", "us", "ms", "s")


def is_sweep(path: Path) -> bool:
    """Whether a directory is a sweep's."""
    return (path / SWEEP_NAME).is_file()


def read_sweep_data(
    path: Path, metrics: Sequence[str], link_of: Callable[[str], str | None], option: str
) -> SweepData:
    """Read a sweep that has ended.

    ``metrics`` are names of figures, ``NAME=lower`` or ``NAME=higher`` where that says which
    direction is better; none: those of the sweep's plan, or the application's first two, or else
    IOPS and p99. ``link_of`` tells
    where the run of a result is.

    Raises:
        InputError: there is no table, it is damaged, or it has no such metric.
    """
    document, table = _read(path)
    names = table.column_names
    varied = names[names.index(POINT) + 1 : names.index(STATUS)]
    figures = {
        (field.metadata or {}).get(FIGURE, b"").decode() or field.name: field
        for field in (table.schema.field(name) for name in names[names.index(RESULT) + 1 :])
    }
    wanted = metrics or list(map(str, document.get("metrics") or ()))
    chosen = _chosen(wanted, figures, option)
    statuses = table[STATUS].to_pylist()
    count = table.num_rows
    step = -(-count // POINTS_MAX)
    shown = table.take(pa.array(range(0, count, max(1, step))))
    told_apart = [name for name in varied if len(set(table[name].to_pylist())) > 1]
    swept = document["sweep"]
    results = shown[RESULT].to_pylist()
    return SweepData(
        path=path,
        numbers=shown[POINT].to_pylist(),
        point_count=count,
        keys=[SweptKey(name, shown[name].to_pylist()) for name in varied],
        metrics=[
            SweepMetric(name, unit, shown[figures[name].name].to_pylist(), direction)
            for name, unit, direction in chosen
        ],
        statuses=shown[STATUS].to_pylist(),
        reasons=_reasons(shown),
        links=[None if key is None else link_of(key) for key in results],
        results=results,
        status_counts=Counter(statuses),
        zipped=[str(names).split(",") for names in swept.get("zip") or ()],
        swept=swept,
        is_repeated=SEED in told_apart and len(told_apart) > 1,
    )


def _read(path: Path) -> tuple[dict[str, Any], pa.Table]:
    try:
        document = json.loads((path / SWEEP_NAME).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path / SWEEP_NAME}: is damaged: {error}; sweep again") from error
    if not isinstance(document, dict) or not isinstance(document.get("sweep"), dict):
        raise InputError(f"{path / SWEEP_NAME}: is damaged: it is no sweep; sweep again")
    if document.get("format") != SWEEP_FORMAT:
        raise InputError(
            f"{path / SWEEP_NAME}: has format {document.get('format')}; this freezingtime reads "
            f"format {SWEEP_FORMAT}"
        )
    file = path / TABLE_NAME
    if not file.is_file():
        raise InputError(f"{path}: the sweep has not ended; run its command again")
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: is damaged: {error}; sweep again") from error
    missing = [name for name in (POINT, STATUS, REASON, RESULT) if name not in table.column_names]
    if missing or not table.num_rows:
        raise InputError(f"{file}: is damaged: it has no {(missing or ['point'])[0]}; sweep again")
    return document, table


def _reasons(table: pa.Table) -> list[str | None]:
    """Why a point does not count; None if it does."""
    rows = zip(table[STATUS].to_pylist(), table[REASON].to_pylist(), strict=True)
    return [None if status == "ok" else reason or "it was not run" for status, reason in rows]


def _chosen(
    asked: Sequence[str], figures: Mapping[str, pa.Field], option: str
) -> list[tuple[str, str, Direction]]:
    """The name, unit and direction of each metric that is drawn."""
    if len(asked) > _METRICS_MAX:
        raise InputError(f"{option}: is given {len(asked)} times; at most {_METRICS_MAX} fit")
    chosen = []
    for text in asked or _defaults(list(figures)):
        name, said = text, ""
        for direction in (Direction.LOWER, Direction.HIGHER):
            if text.endswith(f"={direction}"):
                name, said = text.removesuffix(f"={direction}"), direction
        name = next((each for each, field in figures.items() if field.name == name), name)
        if name not in figures:
            raise InputError(
                f"{option} {text}: the sweep has no such figure; {did_you_mean(name, figures)}"
                f"available: {', '.join(figures) or 'none, as all points failed'}"
            )
        unit = (figures[name].metadata or {}).get(UNIT, b"").decode()
        chosen.append((name, unit, Direction(said) if said else _direction(unit)))
    names = [name for name, _, _ in chosen]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(f"{option} {repeated[0]}: is given twice; keep one")
    return chosen


def _defaults(names: Sequence[str]) -> list[str]:
    """The application's own figures, filled up with rates and latencies."""
    own = [name for name in names if name.startswith(_APPLICATION)]
    device = [
        name
        for wanted in _DEFAULTS
        for name in names
        if name == wanted or name.endswith(f":{wanted}")
    ]
    return [*own, *device][:_METRICS_DEFAULT]


def _direction(unit: str) -> Direction:
    """Which values are better, as far as the unit tells."""
    if unit in _TIMES:
        return Direction.LOWER
    return Direction.HIGHER if unit.endswith("/s") else Direction.UNKNOWN
