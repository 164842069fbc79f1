# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices in full: parameters, sources, and what is predicted beside what is published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from freezingtime.cli.device.described.fill import fill_document, show_fill
from freezingtime.cli.device.devices_list import capacity_cell
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.output.json_stream import print_json
from freezingtime.cli.results.time_columns import difference
from freezingtime.device.description import Description
from freezingtime.device.registry import defaults_of
from freezingtime.host.foreign_text import show
from freezingtime.predict.fill import Fill
from freezingtime.predict.predict import Case, FigureUnit, Prediction
from freezingtime.units import format_size_bytes, format_time_ns

_PREDICTED_HEADER = ("figure", "predicted", "published", "difference", "source", "condition")
_TEXTS = (
    ("sources", "Sources"),
    ("derived", "Derived from the sources"),
    ("fitted", "Fitted to measurements"),
    ("assumed", "Assumed"),
    ("notes", "Notes"),
)
_NONE = "-"
#: Models of declared times, each a constant or a distribution.
_MODELS_BY_TIMES = ("latency", "volume")
_NO_TAIL = (
    "no tail in this model: requests of one length take the same time unless they wait, "
    "so p99 says nothing of the device"
)
_FIGURES = {
    "read_latency": "read latency",
    "write_latency": "write latency",
    "read_iops": "reads per second",
    "write_iops": "writes per second",
    "read_bandwidth": "sequential read",
    "write_bandwidth": "sequential write",
}


def show_devices(
    predicted: Sequence[tuple[Description, list[Prediction], Fill | None]], *, as_json: bool
) -> None:
    """Print devices, each with its predictions; with an SLC cache, how it is filled."""
    if as_json:
        documents = [_document(*shown) for shown in predicted]
        print_json(documents if len(documents) > 1 else documents[0])
        return
    for number, shown in enumerate(predicted):
        if number:
            show()
        _show(*shown)


def _document(
    description: Description, predictions: list[Prediction], fill: Fill | None
) -> dict[str, Any]:
    keys = ("parameters", *(key for key, _ in _TEXTS))
    tables = {key: description.content.get(key, {}) for key in keys}
    tables["defaults"] = {path: default for path, default, _ in defaults_of(description)}
    around = {"faults": description.fault_texts, "changes": description.change_texts}
    simulated = {
        "predictions": [*map(_as_dict, predictions)],
        "has_tail": not _is_without_tail(description),
        "fill": None if fill is None else fill_document(fill),
    }
    return description.headline() | tables | around | simulated


def _as_dict(prediction: Prediction) -> dict[str, Any]:
    case, published = prediction.case, prediction.published
    return {
        "metric": case.metric,
        "unit": case.unit.value,
        "queue_depth": case.depth,
        "block_bytes": case.block_bytes,
        "drained": case.drained,
        "predicted": prediction.value,
        "published": None if published is None else published.value,
        "bound": published is not None and published.bound,
        "difference": prediction.difference,
        "source": None if published is None else published.source,
        "condition": None if published is None else published.condition,
        "exception": None if published is None else published.exception or None,
    }


def _show(description: Description, predictions: list[Prediction], fill: Fill | None) -> None:
    show(f"{description.name}: {description.summary}")
    model = description.content.get("model", "your own")
    capacity = capacity_cell(description)
    show(f"class {description.device_class}, model {model}, capacity {capacity}")
    if rows := list(_leaves(description.content.get("parameters", {}))):
        _heading("Parameters")
        print_columns(rows)
    if defaults := list(defaults_of(description)):
        _heading("Defaults of the model")
        print_columns(defaults)
    around = (
        ("Changes while it runs", description.change_texts),
        ("Rules of faults", description.fault_texts),
    )
    for title, lines in around:
        if lines:
            _heading(title)
            for line in lines:
                show(line)
    without = ", without these" if description.changes or description.faults else ""
    _heading(f"Predicted and published figures{without}")
    print_columns([_PREDICTED_HEADER, *(_prediction_row(p) for p in predictions)])
    if _is_without_tail(description):
        show(_NO_TAIL)
    for prediction in predictions:
        if prediction.published is not None and prediction.published.exception:
            show(f"{_figure(prediction.case)}: {prediction.published.exception}")
    if fill is not None:
        _heading(f"Written from its beginning to its end{without}")
        show_fill(fill)
    for key, title in _TEXTS:
        if texts := description.content.get(key):
            _heading(title)
            print_columns([(str(name), str(text)) for name, text in texts.items()])


def _is_without_tail(description: Description) -> bool:
    """Whether reads and writes have fixed times, so that only waiting makes them differ."""
    if description.content.get("model") not in _MODELS_BY_TIMES:
        return False
    parameters = description.content.get("parameters", {})
    times = (parameters.get(operation, {}).get("fixed", "0ns") for operation in ("read", "write"))
    return all(isinstance(time, str) for time in times)


def _heading(title: str) -> None:
    show()
    show(title)


def _leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """A table's values with their paths."""
    if isinstance(value, dict):
        below = [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        below = [(f"{path}[{number}]", item) for number, item in enumerate(value, start=1)]
    else:
        return [(path, json.dumps(value) if isinstance(value, bool | list) else str(value))]
    return [leaf for name, item in below for leaf in _leaves(item, name)]


def _prediction_row(prediction: Prediction) -> tuple[str, ...]:
    figure, published = _figure(prediction.case), prediction.published
    predicted = _quantity(prediction.value, prediction.case.unit)
    if published is None or prediction.difference is None:
        return (figure, predicted, _NONE, _NONE, _NONE, "")
    value = _quantity(published.value, prediction.case.unit)
    verdict = difference(prediction.difference)
    if published.bound:
        relation = "at most" if prediction.case.unit is FigureUnit.NS else "at least"
        value, verdict = f"{relation} {value}", "met" if prediction.holds else "not met"
    return (figure, predicted, value, verdict, published.source, published.condition)


def _figure(case: Case) -> str:
    """The case in words, such as "read latency, 4KiB, QD1"."""
    size = format_size_bytes(case.block_bytes)
    drained = ", no credits" if case.drained else ""
    return f"{_FIGURES[case.metric]}, {size}, QD{case.depth}{drained}"


def _quantity(value: float, unit: FigureUnit) -> str:
    """Four digits and a unit."""
    if value == float("inf"):
        return "no limit"
    if unit is FigureUnit.NS:
        return format_time_ns(round(float(f"{value:.4g}")))
    if unit is FigureUnit.IOPS:
        return f"{float(f'{value:.4g}'):,.0f}" if value >= 1 else f"{value:.3g}"
    for size, name in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")):
        if value >= size:
            return f"{value / size:.4g}{name}"
    return f"{value:.4g}B/s"
