# SPDX-License-Identifier: GPL-2.0-or-later
"""A device by measurement: quantile tables per operation, size and queue depth.

In TOML, one table for each operation, size and depth that was measured::

    correlation = 0.3                  # optional: of successive requests of an operation

    [[table]]
    operation = "read"                 # read, write, flush or discard
    size = "4KiB"                      # not for a flush
    depth = 1
    quantiles = [[0.0, "60us"], [0.5, "65us"], [0.99, "232us"], [1.0, "1ms"]]

The tables of an operation form a full grid: every size at every depth. A request's time is
the quantile at a uniformly drawn probability (inverse transform sampling: Devroye,
"Non-Uniform Random Variate Generation", Springer 1986, section II.2), where

* between two quantiles of a table, times are linear in the probability;
* between two sizes, the quantiles of one probability are linear in the size, as fixed part
  plus size over bandwidth is;
* between two depths they are linear in the depth, as a saturated device's are (Little's
  law); both together bilinear;
* outside the grid, the nearest size and depth count.

The depth is the number of requests of all operations in flight on arrival, this one
included. Requests do not queue otherwise: the measured times contain what waiting there was.
An operation without tables (flush and discard only) takes no time. A flush completes no
earlier than the writes submitted before it.

With a correlation, the probabilities of each operation's requests follow a Gaussian copula:
they are the standard normal distribution function of an AR(1) process with that
coefficient, so slow requests come in clusters, and each by itself is still uniform (Cario
and Nelson, "Autoregressive to anything", Operations Research Letters 19, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from msgspec import field
from numpy.typing import NDArray

from freezingtime.device.base import Device
from freezingtime.device.kept.arrays import load_numbers, require_range
from freezingtime.device.kept.state import State, entry, items, require
from freezingtime.device.latency.distribution import MAX_DRAW_NS
from freezingtime.device.latency.draw_stream import BLOCK_DRAWS, DrawStream, new_generator
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Notation, Parameters, SizeBytes, key
from freezingtime.device.trace_device import (
    CLASS_OF_OPERATION,
    DeviceTrace,
    OperationClass,
    TraceDevice,
)
from freezingtime.errors import InputError
from freezingtime.request import Request
from freezingtime.units import format_size_bytes, format_time_ns, parse_time_ns

if TYPE_CHECKING:
    from freezingtime.device.empirical.kernels import Grid

_MAX_DEPTH = 2**20
_MAX_CORRELATION = 0.999
_CLASS_NAMES = {operation_class.name.lower(): operation_class for operation_class in OperationClass}
_SIZE_MISSING = 'is missing; it must be a size such as "16KiB"'
_QUANTILES_HELP = (
    'must be a list such as [[0.0, "60us"], [0.99, "232us"], [1.0, "1ms"]]: '
    "increasing probabilities from 0 to 1, non-decreasing times"
)


def _parse_points(values: Any) -> tuple[tuple[float, int], ...]:
    try:
        points = tuple((float(probability), parse_time_ns(text)) for probability, text in values)
    except (TypeError, ValueError, AttributeError, InputError) as error:
        raise InputError(_QUANTILES_HELP) from error
    ordered = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(points))
    if len(points) < 2 or points[0][0] != 0 or points[-1][0] != 1 or not ordered:
        raise InputError(_QUANTILES_HELP)
    if points[-1][1] > MAX_DRAW_NS:
        raise InputError(f"times must be at most {format_time_ns(MAX_DRAW_NS)}")
    return points


def _show_points(points: tuple[tuple[float, int], ...]) -> list[list[float | str]]:
    return [[probability, format_time_ns(time_ns)] for probability, time_ns in points]


#: (probability, time in ns), probabilities increasing from 0 to 1 and times not decreasing.
Quantiles: TypeAlias = Annotated[
    tuple[tuple[float, int], ...],
    Notation(
        kind="list",
        problem=_QUANTILES_HELP,
        parse=_parse_points,
        show=_show_points,
        schema={"type": "array"},
    ).meta(),
]


class QuantileTable(Parameters, frozen=True, kw_only=True):
    """The distribution of one operation's times at one size and depth."""

    operation: Annotated[
        Literal["read", "write", "flush", "discard"], key("the measured operation")
    ]
    size_bytes: Annotated[SizeBytes, key("length of its requests; not for a flush")] = 0
    depth: Annotated[int, key("requests in flight", least=1, most=_MAX_DEPTH)] = 1
    points: Annotated[
        Quantiles,
        key("pairs of a probability, from 0 to 1, and its quantile"),
    ] = field(name="quantiles")

    @property
    def operation_class(self) -> OperationClass:
        """The class of its operation."""
        return _CLASS_NAMES[self.operation]

    def check(self, table: Table) -> None:
        if self.operation == "flush" and "size" in table:
            raise table.error("size", "a flush has none; remove it")
        if self.operation != "flush" and not self.size_bytes:
            raise table.error("size", "must be at least 1B" if "size" in table else _SIZE_MISSING)


class EmpiricalParams(ModelParameters, frozen=True, kw_only=True):
    """Quantile tables, and the correlation (0 to 0.999) of successive requests."""

    tables: Annotated[
        tuple[QuantileTable, ...],
        key(
            "one for each operation, size and depth that was measured; at least one for reads "
            "and one for writes"
        ),
    ] = field(name="table")
    correlation: Annotated[
        float,
        key(
            "of successive requests of an operation: above 0, slow ones cluster",
            most=_MAX_CORRELATION,
        ),
    ] = 0.0

    def make(self, making: Making) -> Device:
        return EmpiricalDevice(self, making.seed)

    def check(self, table: Table) -> None:
        for name in ("read", "write"):
            if not any(part.operation == name for part in self.tables):
                raise table.error("table", f'there must be one with operation = "{name}"')
        for name in _CLASS_NAMES:
            hole = _grid_fault([part for part in self.tables if part.operation == name])
            if hole:
                raise table.error("table", f"the {name} tables {hole}")


def _grid_fault(tables: Sequence[QuantileTable]) -> str | None:
    """Return what keeps an operation's tables from being a full grid."""
    seen = [(table.size_bytes, table.depth) for table in tables]
    for size_bytes in sorted({size_bytes for size_bytes, _ in seen}):
        for depth in sorted({depth for _, depth in seen}):
            count = seen.count((size_bytes, depth))
            if count != 1:
                fault = "lack" if count == 0 else "have twice"
                return f"{fault} size {format_size_bytes(size_bytes)} at depth {depth}"
    return None


def _probability_stream(correlation: float, seed: np.random.SeedSequence) -> DrawStream:
    """Uniform draws from 0 to 1; successive ones correlated if asked for."""
    generator = new_generator(seed)
    if correlation == 0:
        return DrawStream(generator, lambda: generator.random(BLOCK_DRAWS), 1.0)
    from freezingtime.device.empirical.kernels import correlated_uniforms

    last_normal = generator.standard_normal(1)  # from the start in the steady state

    def new_block() -> NDArray[np.float64]:
        normals = generator.standard_normal(BLOCK_DRAWS)
        uniforms: NDArray[np.float64] = correlated_uniforms(normals, correlation, last_normal)
        return uniforms

    return DrawStream(generator, new_block, 1.0, [last_normal])


class EmpiricalDevice(TraceDevice):
    """The empirical model. The first one made in a process imports numba (0.4 s)."""

    def __init__(self, params: EmpiricalParams, seed: int) -> None:
        super().__init__()
        from freezingtime.device.empirical import kernels as empirical_kernels

        self._kernels = empirical_kernels
        read, write, flush, discard = (_grid(params.tables, kind) for kind in OperationClass)
        self._grids = (read, write, flush, discard)
        self._seed = seed
        seeds = np.random.SeedSequence(seed).spawn(len(OperationClass))
        self._probabilities = [_probability_stream(params.correlation, child) for child in seeds]
        self._flight = empirical_kernels.Flight(
            np.empty(64, np.int64), np.zeros(empirical_kernels.STATUS_FIELDS, np.int64)
        )

    def completion_ns(self, request: Request, now_ns: int) -> int:
        self._make_room(1)
        operation_class = CLASS_OF_OPERATION[request.operation]
        probability = float(self._probabilities[operation_class].next())
        return int(
            self._kernels.complete(
                self._flight,
                self._grids[operation_class],
                int(operation_class),
                now_ns,
                request.length_bytes,
                probability,
            )
        )

    def model_state(self) -> State:
        in_flight = int(self._flight.status[self._kernels.IN_FLIGHT])
        return {
            "in_flight_ns": self._flight.completions_ns[:in_flight],
            "status": self._flight.status,
            "seed": str(self._seed),
            "streams": [stream.state() for stream in self._probabilities],
        }

    def restore_model(self, state: State) -> None:
        in_flight_ns = entry(state, "in_flight_ns")
        require(isinstance(in_flight_ns, np.ndarray) and in_flight_ns.dtype == np.int64, "it")
        require(in_flight_ns.ndim == 1, "what is in flight")
        require_range(in_flight_ns, "a completion")
        self._make_room(in_flight_ns.size)
        self._flight.completions_ns[: in_flight_ns.size] = in_flight_ns
        load_numbers(self._flight.status, entry(state, "status"), "the queue's time")
        require(self._flight.status[self._kernels.IN_FLIGHT] == in_flight_ns.size, "a depth")
        if entry(state, "seed") == str(self._seed):
            streams = items(entry(state, "streams"), "the streams")
            require(len(streams) == len(self._probabilities), "the streams")
            for stream, loaded in zip(self._probabilities, streams, strict=True):
                stream.load_state(loaded)

    def complete_trace(self, trace: DeviceTrace) -> NDArray[np.int64]:
        self._make_room(trace.classes.size)
        probabilities = np.empty(trace.classes.size)
        for operation_class in OperationClass:
            places = np.flatnonzero(trace.classes == operation_class)
            probabilities[places] = self._probabilities[operation_class].take(places.size)
        completions_ns: NDArray[np.int64] = self._kernels.complete_all(
            self._flight,
            self._grids,
            trace.classes,
            trace.arrivals_ns,
            trace.lengths_bytes,
            probabilities,
            trace.loop_ns,
        )
        return completions_ns

    def quantile_ns(
        self, operation_class: OperationClass, size_bytes: int, depth: int, probability: float
    ) -> float:
        """The time, before rounding, at a probability from 0 to 1: for plots and checks."""
        grid = self._grids[operation_class]
        return float(self._kernels.quantile_ns(grid, float(size_bytes), float(depth), probability))

    def _make_room(self, count: int) -> None:
        """See that ``count`` more requests fit into the heap, whatever is in flight."""
        in_flight = int(self._flight.status[self._kernels.IN_FLIGHT])
        room = self._flight.completions_ns.size
        if in_flight + count > room:
            grown = np.empty(max(in_flight + count, 2 * room), np.int64)
            grown[:in_flight] = self._flight.completions_ns[:in_flight]
            self._flight = self._flight._replace(completions_ns=grown)


def _grid(tables: Sequence[QuantileTable], operation_class: OperationClass) -> Grid:
    """The tables of one class as the kernels have them; no tables: no time."""
    from freezingtime.device.empirical.kernels import Grid

    own = [table for table in tables if table.operation_class == operation_class]
    if not own:
        own = [QuantileTable(operation="flush", points=((0.0, 0), (1.0, 0)))]
    own.sort(key=lambda table: (table.size_bytes, table.depth))
    points = [point for table in own for point in table.points]
    return Grid(
        sizes_bytes=np.unique([float(table.size_bytes) for table in own]),
        depths=np.unique([float(table.depth) for table in own]),
        bounds=np.cumsum([0, *(len(table.points) for table in own)], dtype=np.int64),
        probabilities=np.array([probability for probability, _ in points], np.float64),
        quantiles_ns=np.array([time_ns for _, time_ns in points], np.float64),
    )
