"""The figures of a simulation: rates, and exact percentiles of latency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from freezingtime.experiment.simulate import Simulation
from freezingtime.percentile import percentile_ns
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn

ALL = "all"

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
    operation = simulation.trace.operation
    if not len(operation):
        return []
    service_ns, latency_ns = simulation.service_ns, simulation.latency_ns
    present = np.unique(operation).tolist()
    moved_bytes = simulation.trace.length_bytes * np.isin(operation, _MOVING_DATA)
    duration_ns = simulation.duration_ns

    def choices() -> Iterator[tuple[str, slice | NDArray[np.bool_]]]:
        yield ALL, slice(None)
        if len(present) > 1:
            for value in present:
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
