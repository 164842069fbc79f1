# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime devices`: the catalogue, and what a model predicts beside what is published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from freezingtime.cli.device.devices_plot import check_plot, plot_devices
from freezingtime.cli.options import AllowCodeOption, JsonOption, command_app
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.output.json_stream import print_json
from freezingtime.cli.results.time_columns import difference
from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.description import Description
from freezingtime.device.registry import defaults_of, describe, is_device, search_catalogue
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Option
from freezingtime.predict.predict import Case, FigureUnit, Prediction, predict
from freezingtime.units import format_size_bytes, format_time_ns

_LIST_HEADER = ("name", "class", "model", "capacity", "summary")
_PREDICTED_HEADER = ("figure", "predicted", "published", "difference", "source", "condition")
_TEXTS = (
    ("sources", "Sources"),
    ("derived", "Derived from the sources"),
    ("fitted", "Fitted to measurements"),
    ("assumed", "Assumed"),
    ("notes", "Notes"),
)
_NONE = "-"
_FIGURES = {
    "read_latency": "read latency",
    "write_latency": "write latency",
    "read_iops": "reads per second",
    "write_iops": "writes per second",
    "read_bandwidth": "sequential read",
    "write_bandwidth": "sequential write",
}


def devices_command(
    name: Annotated[
        Sequence[str],
        Argument(
            "NAME|PATTERN",
            "A device of the catalogue, a file `NAME.toml`, your own `module:Class`, or "
            "`constant:TIME`; or a pattern to match names, classes and summaries in the catalogue.",
        ),
    ] = (),
    plot: Annotated[
        Path | None,
        Option(
            "FILE",
            "Plot latency over queue depth, and its distribution, into a .svg, .png "
            "or .pdf; up to six devices in one figure.",
        ),
    ] = None,
    schema: Annotated[
        bool,
        Option("", "Print the JSON Schema of device descriptions, for editors, and nothing else."),
    ] = False,
    as_json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """List the catalogue's devices, or show some: parameters, sources, predictions.

    With a PATTERN, such as `optane` or `samsung-*`, list the matching devices. Predictions are
    simulations of the model itself, beside the published figures.

    Example: `freezingtime devices samsung-pm883-960gb aws-gp3 --plot latency.svg`
    """
    if schema:
        from freezingtime.device.toml.json_schema import device_schema

        print_json(device_schema())
        return 0
    if plot is not None:
        check_plot(name, plot)
    if not name:
        _list([describe(known) for known in catalogue_names()], as_json=as_json)
        return 0
    if plot is None and not all(map(is_device, name)):
        found = {device.name: device for text in name for device in search_catalogue(text)}
        _list(list(found.values()), as_json=as_json)
        return 0
    descriptions = [describe(text) for text in dict.fromkeys(name)]
    predicted = [(description, predict(description)) for description in descriptions]
    if plot is not None:
        plot_devices(descriptions, plot)
    if as_json:
        documents = [_document(*shown) for shown in predicted]
        print_json(documents if len(documents) > 1 else documents[0])
        return 0
    for number, shown in enumerate(predicted):
        if number:
            show()
        _show(*shown)
    return 0


def _list(descriptions: list[Description], *, as_json: bool) -> None:
    if as_json:
        print_json([description.headline() for description in descriptions])
        return
    print_columns([_LIST_HEADER, *(_row(description) for description in descriptions)])


def _row(description: Description) -> tuple[str, ...]:
    return (
        description.name,
        description.device_class,
        description.content.get("model", _NONE),
        _capacity(description),
        description.summary,
    )


def _capacity(description: Description) -> str:
    size_bytes = description.capacity_bytes
    return _NONE if size_bytes is None else format_size_bytes(size_bytes)


def _document(description: Description, predictions: list[Prediction]) -> dict[str, Any]:
    keys = ("parameters", *(key for key, _ in _TEXTS))
    tables = {key: description.content.get(key, {}) for key in keys}
    tables["defaults"] = {path: default for path, default, _ in defaults_of(description)}
    return description.headline() | tables | {"predictions": [_as_dict(p) for p in predictions]}


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


def _show(description: Description, predictions: list[Prediction]) -> None:
    show(f"{description.name}: {description.summary}")
    model = description.content.get("model", "your own")
    capacity = _capacity(description)
    show(f"class {description.device_class}, model {model}, capacity {capacity}")
    if rows := list(_leaves(description.content.get("parameters", {}))):
        _heading("Parameters")
        print_columns(rows)
    if defaults := list(defaults_of(description)):
        _heading("Defaults of the model")
        print_columns(defaults)
    _heading("Predicted and published figures")
    print_columns([_PREDICTED_HEADER, *(_prediction_row(p) for p in predictions)])
    for prediction in predictions:
        if prediction.published is not None and prediction.published.exception:
            show(f"{_figure(prediction.case)}: {prediction.published.exception}")
    for key, title in _TEXTS:
        if texts := description.content.get(key):
            _heading(title)
            print_columns([(str(name), str(text)) for name, text in texts.items()])


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


app = command_app(devices_command)
