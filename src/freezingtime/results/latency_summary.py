# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of requests: rates, and exact percentiles of latency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from freezingtime.application.fsync import FSYNC
from freezingtime.request import Operation
from freezingtime.request_figures import ALL, RequestFigures, figures_of
from freezingtime.results.fsync import fsync_latency_ns
from freezingtime.simulate.simulate import Simulation
from freezingtime.trace.readers.columns import IntColumn

if TYPE_CHECKING:
    from freezingtime.trace.record_columns import Columns

#: Of a record, what :func:`summarize_disk` needs.
SUMMARY_COLUMNS = ("operation", "length_bytes", "arrival_ns", "delivery_ns")

_MOVING_DATA = (Operation.READ, Operation.WRITE)


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Figures of one operation, or of all together; or of flushes with the writes they wait for.

    Latencies are what the application waits; ``mean_host_ns`` is how much of it is spent in
    the host and not at the device, on average. A percentile is exact: the smallest latency
    that at least that share of the requests did not exceed (the nearest-rank method), so one
    that did occur. Rates are over the time from the first arrival to the last
    completion of all operations, and None if that is 0; bandwidth counts the bytes of
    reads and writes.
    """

    operation: str
    count: int
    iops: float | None
    bandwidth_bytes_per_s: float | None
    mean_host_ns: float
    mean_ns: float
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p99_9_ns: int
    p99_99_ns: int
    max_ns: int

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def summarize(simulation: Simulation) -> list[LatencySummary]:
    """The figures of all requests together and, if there are several, of each operation."""
    return worth_showing(summarize_each(simulation))


def worth_showing(figures: Sequence[LatencySummary]) -> list[LatencySummary]:
    """Of what :func:`summarize_each` returns: all but those of an only operation, said already."""
    return list(figures if len(figures) > 2 else figures[:1])


def summarize_each(simulation: Simulation) -> list[LatencySummary]:
    """The figures of all requests together, and of each operation, also of a single one."""
    trace = simulation.trace
    return _summarize(
        trace.operation,
        trace.length_bytes,
        simulation.service_ns,
        simulation.latency_ns,
        simulation.duration_ns,
    )


def summarize_disk(columns: Columns) -> list[LatencySummary]:
    """The figures of one disk of a record: of all requests together, and of each operation.

    If there are flushes, the last ones are those of flushes with the writes that they wait for,
    without rates. ``columns`` are those that :data:`SUMMARY_COLUMNS` names. The latency is what the
    guest was given: from arrival to delivery.
    """
    arrival_ns, delivery_ns = columns["arrival_ns"], columns["delivery_ns"]
    if not len(arrival_ns):
        return []
    latency_ns = delivery_ns - arrival_ns
    duration_ns = int(delivery_ns.max() - arrival_ns.min())
    operations = _summarize(
        columns["operation"], columns["length_bytes"], latency_ns, latency_ns, duration_ns
    )
    return [*operations, *_summarize_fsync(fsync_latency_ns(columns))]


def _summarize_fsync(latency_ns: IntColumn) -> Iterator[LatencySummary]:
    if len(latency_ns):
        nothing = np.zeros_like(latency_ns)
        yield _summary(FSYNC, nothing, figures_of(latency_ns, nothing, duration_ns=0))


def _summarize(
    operation: NDArray[np.uint8],
    length_bytes: IntColumn,
    service_ns: IntColumn,
    latency_ns: IntColumn,
    duration_ns: int,
) -> list[LatencySummary]:
    """The figures of all requests together, then of each operation that is among them."""
    if not len(operation):
        return []
    moved_bytes = length_bytes * np.isin(operation, _MOVING_DATA)

    def choices() -> Iterator[tuple[str, slice | NDArray[np.bool_]]]:
        yield ALL, slice(None)
        for value in np.unique(operation).tolist():
            yield Operation(value).name.lower(), operation == value

    return [
        _summary(
            name,
            latency_ns[chosen] - service_ns[chosen],
            figures_of(latency_ns[chosen], moved_bytes[chosen], duration_ns),
        )
        for name, chosen in choices()
    ]


def _summary(name: str, host_ns: IntColumn, figures: RequestFigures) -> LatencySummary:
    return LatencySummary(
        operation=name,
        count=figures.count,
        iops=figures.iops,
        bandwidth_bytes_per_s=figures.bandwidth_bytes_per_s,
        mean_host_ns=float(host_ns.mean()),
        mean_ns=figures.mean_ns,
        max_ns=figures.max_ns,
        **{f"{name.replace('.', '_')}_ns": ns for name, ns in figures.percentiles_ns.items()},
    )
