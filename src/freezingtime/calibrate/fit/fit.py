# SPDX-License-Identifier: GPL-2.0-or-later
"""Fitting a device description to measured latencies, and judging the fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from freezingtime._version import __version__
from freezingtime.calibrate.distance import Distance, distance
from freezingtime.calibrate.fit.coverage import coverage
from freezingtime.calibrate.fit.device_toml import device_toml, write_device
from freezingtime.calibrate.fit.models import EMPIRICAL
from freezingtime.calibrate.fit.parametric import OperationFit, fit_operation, queue_settings
from freezingtime.calibrate.fit.quantiles import correlation, quantile_points
from freezingtime.calibrate.fit.sources import Source
from freezingtime.calibrate.halves import Drift, drift
from freezingtime.calibrate.latency_cells import CELL_MIN, Cell, LatencyCells, sort_into_cells
from freezingtime.device.description import Description, DeviceFile
from freezingtime.device.empirical.model import EmpiricalParams, Quantiles, QuantileTable
from freezingtime.device.latency.distribution import Distribution, Mixture
from freezingtime.device.latency.model import LatencyParams
from freezingtime.device.latency.service_time import FlushTime, ServiceTime
from freezingtime.device.parameters import Table, content_of
from freezingtime.device.registry import from_content
from freezingtime.device.trace_device import OperationClass
from freezingtime.errors import InputError, about
from freezingtime.host.replaced_file import require_place
from freezingtime.request import Operation
from freezingtime.simulate.simulate import simulate_closed_loop
from freezingtime.trace.readers.columns import IntColumn, Trace
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.units import counted, format_time_ns, parse_time_ns

#: Operations that a device requires; by default the others take no time.
_REQUIRED = (OperationClass.READ, OperationClass.WRITE)
_NAMES = {operation_class.name.lower(): operation_class for operation_class in OperationClass}
#: The fitted device's file in messages, before it has one.
_FILE = "the fitted device"
# So many that what differs is the model, and not chance.
_SIMULATED_COUNT = 50_000
_SPAN_BYTES = 1 << 30
_OPERATIONS = {
    OperationClass.READ: Operation.READ,
    OperationClass.WRITE: Operation.WRITE,
    OperationClass.FLUSH: Operation.FLUSH,
    OperationClass.DISCARD: Operation.DISCARD,
}


@dataclass(frozen=True, slots=True)
class FitPlan:
    """Options of a fit."""

    model: str = EMPIRICAL
    missing: Mapping[OperationClass, OperationClass | int] = field(default_factory=dict)
    """Instead of what the log lacks: another operation, or a time in ns."""
    with_correlation: bool = True
    """Whether successive requests are correlated as in the log (empirical only)."""
    summary: str = ""
    """What the device is; empty: where it is from."""


@dataclass(frozen=True, slots=True)
class FittedCell:
    """One cell, and what the fitted device makes of the same requests."""

    cell: Cell
    simulated_ns: IntColumn
    """The device's latencies under that operation, size and depth."""
    distance: Distance
    """Of the device from the log."""
    drift: Drift | None
    """How much the log differs from itself; None: its order is not known."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted device."""

    content: dict[str, Any]
    """The device's description, as in its TOML."""
    model: str
    cells: Sequence[FittedCell]
    choices: Sequence[str]
    """What was chosen, and why, a line each."""
    uncovered: Sequence[str]
    """What the log does not cover, a line each."""

    @property
    def toml(self) -> str:
        """The device file."""
        return device_toml(self.content)

    def describe(self) -> Description:
        """The device."""
        return from_content(self.content, _FILE, "fitted")

    def write(self, path: Path) -> None:
        """Write the device file; it appears in one instant.

        Raises:
            InputError: it cannot be written.
        """
        write_device(path, self.toml)


def parse_missing(texts: Sequence[str]) -> dict[OperationClass, OperationClass | int]:
    """The option ``--missing OPERATION=TIME|OPERATION``.

    Raises:
        InputError: a text is none of these.
    """
    missing: dict[OperationClass, OperationClass | int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in _NAMES or not value or name == value:
            raise InputError(
                f"--missing {text}: must be OPERATION=TIME or OPERATION=OPERATION, such as "
                f"write=20us or write=read; operations are {', '.join(_NAMES)}"
            )
        with about(f"--missing {text}: "):
            missing[_NAMES[name]] = _NAMES[value] if value in _NAMES else parse_time_ns(value)
    return missing


def check_out(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Find out before the work begins whether a device file can be there, beside the inputs.

    Raises:
        InputError: it cannot.
    """
    if path.suffix != ".toml":
        raise InputError(f"--out {path}: must end in .toml")
    require_place("--out", path)
    if path.exists() and any(each.exists() and path.samefile(each) for each in inputs):
        raise InputError(f"--out {path}: is what the fit reads; name another file")


def fit(
    latencies: Latencies,
    sources: Sequence[Source],
    plan: FitPlan,
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> Fit:
    """Fit a device to what was measured, and compare the two.

    Raises:
        InputError: there are too few requests, or an operation is missing.
    """
    cells = sort_into_cells(latencies)
    require_enough(cells, plan.missing)
    progress("fitting", 0, 0)
    content, choices = fit_content(cells, sources, plan)
    return Fit(
        content,
        plan.model,
        _judge(content, cells, seed, progress),
        choices,
        coverage(cells, plan.missing),
    )


def require_enough(
    cells: LatencyCells, missing: Mapping[OperationClass, OperationClass | int]
) -> None:
    """Raise InputError if there is too little to make a device of."""
    for operation_class in (*_REQUIRED, *missing):
        instead = missing.get(operation_class)
        if instead is None or (isinstance(instead, OperationClass) and not cells.of(instead)):
            wanted = operation_class if instead is None else instead
            if not cells.of(OperationClass(wanted)):
                raise _lacking(cells, OperationClass(wanted))


def _lacking(cells: LatencyCells, operation_class: OperationClass) -> InputError:
    name = operation_class.name.lower()
    thin = [cell for cell in cells.thin if cell.operation_class is operation_class]
    if thin:
        most = max(thin, key=lambda cell: len(cell.latency_ns))
        return InputError(
            f"too few requests: {most.name} has {len(most.latency_ns)}, the "
            f"most of any {name}; {CELL_MIN} are needed"
        )
    other = "write=read" if name == "write" else f"{name}=write"
    return InputError(
        f"there are no {name}s in the log; log some ('freezingtime measure --write' does), or say "
        f"how long they take: --missing {name}=100us or --missing {other}"
    )


def fit_content(
    cells: LatencyCells, sources: Sequence[Source], plan: FitPlan
) -> tuple[dict[str, Any], list[str]]:
    """The description of the device, and what was chosen for it."""
    build = _empirical if plan.model == EMPIRICAL else _latency
    parameters, choices = build(cells, plan)
    fitted = f"to the log by {plan.model}, {time.strftime('%Y-%m-%d')}, freezingtime {__version__}"
    assumed = {
        operation_class.name.lower(): _instead(instead)
        for operation_class, instead in plan.missing.items()
    }
    uncovered = coverage(cells, plan.missing)
    description = DeviceFile(
        summary=plan.summary or f"fitted to {sources[0].what or sources[0].path.name}",
        device_class="fitted",
        model=plan.model,
        parameters=_open(content_of(parameters)),
        sources=_open({f"LOG{n}": source.text for n, source in enumerate(sources, start=1)}),
        fitted=_open({"parameters": fitted}),
        assumed=_open(assumed),
        notes=_open({f"not covered {n}": line for n, line in enumerate(uncovered, start=1)}),
    )
    return content_of(description), choices


def _open(content: Mapping[str, Any]) -> Table:
    return Table(content, _FILE)


def _instead(instead: OperationClass | int) -> str:
    if isinstance(instead, OperationClass):
        return f"as {instead.name.lower()}s: not in the log"
    return f"{format_time_ns(instead)}: not in the log"


def _empirical(cells: LatencyCells, plan: FitPlan) -> tuple[EmpiricalParams, list[str]]:
    tables = [
        table
        for operation_class in OperationClass
        for table in _tables(operation_class, cells, plan.missing.get(operation_class))
    ]
    point_count = sum(len(table.points) for table in tables)
    choices = [
        f"empirical: {counted(len(tables), 'table')} of quantiles with "
        f"{counted(point_count, 'point')}"
    ]
    ordered = [
        cell for cell in cells.cells if cell.is_ordered and cell.operation_class in _REQUIRED
    ]
    found = correlation(ordered) if plan.with_correlation and ordered else 0.0
    if found:
        choices.append(f"correlation {found}: slow requests are clustered")
    return EmpiricalParams(tables=tuple(tables), correlation=found), choices


def _tables(
    operation_class: OperationClass, cells: LatencyCells, instead: OperationClass | int | None
) -> list[QuantileTable]:
    """The full grid of an operation; what was not measured is as the nearest depth that was."""
    own = cells.of(operation_class)
    if not own and isinstance(instead, OperationClass):
        own = cells.of(instead)
    if not own and instead is not None:
        return [_table(operation_class, 4096, 1, ((0.0, int(instead)), (1.0, int(instead))))]
    by_place = {(cell.size_bytes, cell.depth): cell for cell in own}
    sizes = sorted({size for size, _ in by_place})
    depths = sorted({depth for _, depth in by_place})
    tables = []
    for size in sizes:
        measured = [depth for depth in depths if (size, depth) in by_place]
        for depth in depths:
            nearest = min(measured, key=lambda other: (abs(other - depth), other))
            points = quantile_points(by_place[size, nearest].latency_ns)
            tables.append(_table(operation_class, size, depth, points))
    return tables


def _table(
    operation_class: OperationClass, size_bytes: int, depth: int, points: Quantiles
) -> QuantileTable:
    operation: Any = operation_class.name.lower()
    return QuantileTable(
        operation=operation,
        size_bytes=0 if operation_class is OperationClass.FLUSH else max(1, size_bytes),
        depth=depth,
        points=points,
    )


def _latency(cells: LatencyCells, plan: FitPlan) -> tuple[LatencyParams, list[str]]:
    fits: dict[OperationClass, OperationFit] = {}
    parameters: dict[str, Any] = {}
    choices = []
    for operation_class in OperationClass:
        instead = plan.missing.get(operation_class)
        own = cells.of(operation_class)
        name = operation_class.name.lower()
        has_length = operation_class is not OperationClass.FLUSH
        if not own and isinstance(instead, OperationClass):
            own = cells.of(instead)
        if own:
            fits[operation_class] = found = fit_operation(own)
            parameters[name] = found.time if has_length else FlushTime(fixed=found.time.fixed)
            choices.append(f"{name}: {_ranking(found)}")
        elif isinstance(instead, int):
            parameters[name] = (ServiceTime if has_length else FlushTime)(fixed=instead)
    if OperationClass.READ in fits and OperationClass.WRITE in fits:
        queue = queue_settings(fits[OperationClass.READ], fits[OperationClass.WRITE])
        parameters |= queue
        choices += [f"{key} = {value}" for key, value in queue.items()]
    return LatencyParams(**parameters), choices


def _ranking(found: OperationFit) -> str:
    """Describe the chosen distribution and the distances of the others."""
    taken, *others = found.distributions
    text = f"{_kind(taken.distribution)} (KS {taken.ks:.3f})"
    if others:
        text += f"; not {', '.join(f'{_kind(o.distribution)} ({o.ks:.3f})' for o in others)}"
    return text


def _kind(found: Distribution) -> str:
    if isinstance(found, Mixture):
        return f"mixture of {len(found.parts)} lognormals"
    return found.kind


def _judge(
    content: dict[str, Any],
    cells: LatencyCells,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> list[FittedCell]:
    """The device in closed loops of each cell's requests, beside what was measured."""
    description = from_content(content, _FILE, "fitted")
    judged = []
    for number, cell in enumerate(cells.cells):
        progress(f"comparing {cell.name}", number, len(cells.cells))
        simulated_ns = simulate_cell(description, cell, seed + number)
        drifted = drift(cell) if cell.is_ordered else None
        judged.append(
            FittedCell(cell, simulated_ns, distance(cell.latency_ns, simulated_ns), drifted)
        )
    return judged


def simulate_cell(description: Description, cell: Cell, seed: int) -> IntColumn:
    """Simulate requests like a cell's in a closed loop of the cell's depth."""
    count = _SIMULATED_COUNT
    size_bytes = min(description.capacity_bytes or _SPAN_BYTES, _SPAN_BYTES)
    places = max(1, size_bytes // max(cell.size_bytes, 512) - 1)
    offsets = np.random.default_rng(seed).integers(0, places, count) * cell.size_bytes
    trace = Trace(
        np.zeros(count, np.int64),
        np.full(count, _OPERATIONS[cell.operation_class], np.uint8),
        offsets,
        np.full(count, cell.size_bytes, np.int64),
        np.zeros(count, np.bool_),
    )
    device = description.build(seed, description.capacity_bytes or _SPAN_BYTES)
    return simulate_closed_loop(device, [trace], cell.depth, count=count).service_ns
