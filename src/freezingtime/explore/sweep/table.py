# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of a sweep: a row for each point, a column for each varied key and each figure.

The same sweep gives the same table, whether its results were computed or found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from freezingtime.device.toml.changed import read_value
from freezingtime.errors import InputError, did_you_mean
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.worker import PointOutcome
from freezingtime.host.replaced_file import replaced_path
from freezingtime.trace.explored.sweep_files import (
    FIGURE,
    POINT,
    REASON,
    RESULT,
    STATUS,
    UNIT,
    column_of,
)


def make_table(points: Sequence[Point], outcomes: Sequence[PointOutcome]) -> pa.Table:
    """Make the table; figures that a point has not are null."""
    columns: dict[str, pa.Array] = {POINT: pa.array(range(len(points)), pa.int64())}
    for name in points[0] if points else ():
        columns[name] = _of_values([point[name] for point in points])
    columns[STATUS] = pa.array([outcome.status.value for outcome in outcomes])
    columns[REASON] = pa.array([outcome.reason for outcome in outcomes], pa.string())
    columns[RESULT] = pa.array([outcome.key for outcome in outcomes], pa.string())
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    figures = [outcome.figures for outcome in outcomes]
    units = {name: unit for each in figures if each for name, unit in each.units.items()}
    for name in dict.fromkeys(name for each in figures if each for name in each.figures):
        values = [None if each is None else each.figures.get(name) for each in figures]
        is_whole = all(isinstance(value, int) for value in values if value is not None)
        array = pa.array(values, pa.int64() if is_whole else pa.float64())
        unit = units.get(name, "")
        column = _free(column_of(name, unit), columns)
        columns[column] = array
        metadata = {FIGURE: name, **({UNIT: unit} if unit else {})}
        fields.append(pa.field(column, array.type, metadata=metadata))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def write_table(path: Path, points: Sequence[Point], outcomes: Sequence[PointOutcome]) -> None:
    """Write the table. Raises OSError."""
    with replaced_path(path) as partial:
        pq.write_table(make_table(points, outcomes), partial)


def figure_of(metric: str) -> str:
    """The figure of a metric, which may say for the report which direction is better."""
    return metric.removesuffix("=lower").removesuffix("=higher")


def require_metrics(outcomes: Sequence[PointOutcome], metrics: Sequence[str]) -> None:
    """Require that each metric is one of a point's figures, if there are any.

    Raises:
        InputError: one is not.
    """
    figures = [each.figures.figures for each in outcomes if each.figures is not None]
    known = dict.fromkeys(name for each in figures for name in each)
    for metric in metrics:
        name = figure_of(metric)
        if known and name not in known:
            raise InputError(
                f"metrics: {name}: no point has such a figure; {did_you_mean(name, known)}"
                f"available: {', '.join(known)}"
            )


def _of_values(texts: Sequence[str]) -> pa.Array:
    """Values as numbers or truth values, if all of them are."""
    values = [read_value(text) for text in texts]
    for kinds, kind in (((bool,), pa.bool_()), ((int,), pa.int64()), ((int, float), pa.float64())):
        if all(type(value) in kinds for value in values):
            return pa.array(values, kind)
    return pa.array(texts, pa.string())


def _free(name: str, taken: Iterable[str]) -> str:
    """The name of a figure; one that a varied key has is not taken from it."""
    return f"{name} (figure)" if name in taken else name
