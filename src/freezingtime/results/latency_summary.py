# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of requests: rates, and exact percentiles of latency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from freezingtime.percentile import percentile_ns
from freezingtime.request import Operation
from freezingtime.simulate.simulate import Simulation
from freezingtime.trace.readers.columns import IntColumn

if TYPE_CHECKING:
    from freezingtime.trace.record_columns import Columns

ALL = "all"
#: Of a record, what :func:`summarize_disk` needs.
SUMMARY_COLUMNS = ("operation", "length_bytes", "arrival_ns", "delivery_ns")

_NS_PER_S = 10**9
_PER_100K = {
    "p50_ns": 50_000,
    "p90_ns": 90_000,
    "p99_ns": 99_000,
    "p99_9_ns": 99_900,
    "p99_99_ns": 99_990,
}
_MOVING_DATA = (Operation.READ, Operation.WRITE)


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Figures of one operation, or of all together.

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
    figures = summarize_each(simulation)
    return figures if len(figures) > 2 else figures[:1]


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

    ``columns`` are those that :data:`SUMMARY_COLUMNS` names. The latency is what the guest
    was given: from arrival to delivery.
    """
    arrival_ns, delivery_ns = columns["arrival_ns"], columns["delivery_ns"]
    if not len(arrival_ns):
        return []
    latency_ns = delivery_ns - arrival_ns
    duration_ns = int(delivery_ns.max() - arrival_ns.min())
    return _summarize(
        columns["operation"], columns["length_bytes"], latency_ns, latency_ns, duration_ns
    )


def latency_figures(latency_ns: IntColumn) -> dict[str, int | float]:
    """Mean, percentiles and maximum of some latencies, by the summary's names."""
    ordered_ns = np.sort(latency_ns)
    return {
        "mean_ns": float(ordered_ns.mean()),
        **{key: percentile_ns(ordered_ns, share) for key, share in _PER_100K.items()},
        "max_ns": int(ordered_ns[-1]),
    }


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
            service_ns[chosen],
            latency_ns[chosen],
            int(moved_bytes[chosen].sum()),
            duration_ns,
        )
        for name, chosen in choices()
    ]


def _summary(
    name: str, service_ns: IntColumn, latency_ns: IntColumn, moved_bytes: int, duration_ns: int
) -> LatencySummary:
    count = len(latency_ns)
    ordered_ns = np.sort(latency_ns)
    percentiles_ns = {key: percentile_ns(ordered_ns, share) for key, share in _PER_100K.items()}
    return LatencySummary(
        operation=name,
        count=count,
        iops=_rate(count, duration_ns),
        bandwidth_bytes_per_s=_rate(moved_bytes, duration_ns),
        mean_host_ns=float((latency_ns - service_ns).mean()),
        mean_ns=float(ordered_ns.mean()),
        max_ns=int(ordered_ns[-1]),
        **percentiles_ns,
    )


def _rate(amount: int, duration_ns: int) -> float | None:
    return amount * _NS_PER_S / duration_ns if duration_ns else None
