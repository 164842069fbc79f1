# SPDX-License-Identifier: GPL-2.0-or-later
"""Device internals for a report: annotations of requests, and device statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.report.batches import Columns
from freezingtime.report.bins import Floats, Integers, Span, Sums, ratio
from freezingtime.report.run_data import (
    DeviceStatistics,
    DiskInternals,
    HeldData,
    ServedData,
)
from freezingtime.trace.statistics_file import read_statistics


@dataclass(slots=True)
class _Held:
    """Requests that one thing held."""

    waits: Sums
    latency_sum_ns: int = 0


@dataclass(slots=True)
class _Served:
    """Requests that were served from one place."""

    count: int = 0
    latency_sum_ns: int = 0
    max_ns: int = 0


@dataclass(slots=True)
class InternalsScan:
    """Accumulator of the annotations of one disk's requests."""

    span: Span
    _said: Sums = field(init=False)
    _reads_placed: Sums = field(init=False)
    _held: dict[int, _Held] = field(default_factory=dict)
    _served: dict[tuple[str, int], _Served] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._said, self._reads_placed = Sums(self.span), Sums(self.span)

    def add(self, by_operation: Mapping[str, Columns], all_name: str) -> None:
        """Add requests in order of delivery, by operation, and all of them."""
        self._add_held(by_operation[all_name])
        for operation, requests in by_operation.items():
            if operation != all_name:
                self._add_served(operation, requests)

    def result(self) -> DiskInternals:
        """Return the accumulated annotations as plain data."""
        held = {
            HeldBy(code): HeldData(
                count=int(found.waits.counts.sum()),
                wait_mean_ns=float(found.waits.sums.sum() / found.waits.counts.sum()),
                wait_max_ns=int(found.waits.maxima.max()),
                latency_mean_ns=found.latency_sum_ns / int(found.waits.counts.sum()),
                wait_sum_ns=int(found.waits.sums.sum()),
                # Mean over all annotated requests.
                wait_mean_in_bin_ns=ratio(found.waits.sums, self._said.counts),
            )
            for code, found in sorted(self._held.items())
        }
        served = {
            (operation, ServedFrom(code)): ServedData(
                found.count, found.latency_sum_ns / found.count, found.max_ns
            )
            for (operation, code), found in sorted(self._served.items())
        }
        return DiskInternals(held, served, self._reads_placed.means())

    def _add_held(self, requests: Columns) -> None:
        is_said = requests["held_by"] >= 0
        self._said.add(requests["delivery_ns"][is_said], requests["held_ns"][is_said])
        for code in np.unique(requests["held_by"][is_said]).tolist():
            rows = requests["held_by"] == code
            found = self._held.setdefault(code, _Held(Sums(self.span)))
            found.waits.add(requests["delivery_ns"][rows], requests["held_ns"][rows])
            found.latency_sum_ns += int(requests["latency_ns"][rows].sum())

    def _add_served(self, operation: str, requests: Columns) -> None:
        places = requests["served_from"]
        for code in np.unique(places[places >= 0]).tolist():
            latency_ns = requests["latency_ns"][places == code]
            found = self._served.setdefault((operation, code), _Served())
            found.count += len(latency_ns)
            found.latency_sum_ns += int(latency_ns.sum())
            found.max_ns = max(found.max_ns, int(latency_ns.max()))
        if operation == "read":
            is_said = places >= 0
            from_memory = (places[is_said] != ServedFrom.MEDIA).astype(np.int64)
            self._reads_placed.add(requests["delivery_ns"][is_said], from_memory)


def read_device_statistics(path: Path) -> dict[str, DeviceStatistics]:
    """Read the device statistics of a run's directory, or of a replay's record, by disk.

    Raises:
        InputError: the file is damaged.
    """
    table = read_statistics(path)
    if table is None:
        return {}
    by_disk: dict[str, dict[str, dict[int, float]]] = {}
    for row in table.to_pylist():
        values = by_disk.setdefault(row["disk"], {}).setdefault(row["statistic"], {})
        values[row["time_ns"]] = row["value"]
    return {disk: _statistics(values) for disk, values in by_disk.items()}


def _statistics(values: Mapping[str, Mapping[int, float]]) -> DeviceStatistics:
    times: set[int] = set()
    for by_time in values.values():
        times |= by_time.keys()
    times_ns: Integers = np.array(sorted(times), np.int64)
    columns: dict[str, Floats] = {
        name: np.array([by_time.get(time_ns, np.nan) for time_ns in times_ns.tolist()])
        for name, by_time in values.items()
    }
    return DeviceStatistics(times_ns, columns)
