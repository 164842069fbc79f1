# SPDX-License-Identifier: GPL-2.0-or-later
"""A record read twice: how many requests there are and where in time, then all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from freezingtime.errors import InputError
from freezingtime.report.batches import Columns, read_batches
from freezingtime.report.bins import Percentiles, Span, Sums, ratio
from freezingtime.report.figures.cdf import cdf_ranks, cdf_shares
from freezingtime.report.internals import InternalsScan
from freezingtime.report.run_data import DiskData, LatencyQuantiles, OperationData
from freezingtime.request_figures import ALL, RequestRanking, RequestTally
from freezingtime.trace.record_reader import Notify, Record, open_record
from freezingtime.trace.record_schema import OPERATION_WORDS
from freezingtime.units import NS_PER_S


@dataclass(slots=True)
class _DiskTally:
    """Findings of the first pass over one disk."""

    start_ns: int
    end_ns: int
    operations: dict[str, RequestTally] = field(default_factory=dict)


class _OperationScan:
    """Second pass over one operation on one disk."""

    def __init__(self, tally: RequestTally, disk: _DiskTally, span: Span) -> None:
        self._duration_ns = disk.end_ns - disk.start_ns
        self._span = span
        self._cdf_ranks = cdf_ranks(tally.count)
        self._ranking = RequestRanking(tally, self._cdf_ranks)
        self._in_bins = Percentiles(span)
        self._moved = Sums(span)

    def add(self, requests: Columns) -> None:
        self._ranking.add(requests["latency_ns"])
        self._in_bins.add(requests["delivery_ns"], requests["latency_ns"])
        self._moved.add(requests["delivery_ns"], requests["moved_bytes"])

    def result(self) -> OperationData:
        self._in_bins.finish()
        figures, at_cdf_ranks_ns = self._ranking.result(self._duration_ns)
        per_bin = np.float64(NS_PER_S / self._span.bin_ns)
        return OperationData(
            figures=figures,
            distribution=LatencyQuantiles(
                at_cdf_ranks_ns, cdf_shares(self._cdf_ranks, figures.count)
            ),
            median_in_bin_ns=self._in_bins.medians,
            p99_in_bin_ns=self._in_bins.p99s,
            max_in_bin_ns=self._in_bins.maxima,
            iops_in_bin=self._moved.counts * per_bin,
            bandwidth_in_bin_bytes_per_s=self._moved.sums * per_bin,
        )


class _DiskScan:
    """Second pass over one disk."""

    def __init__(self, tally: _DiskTally, span: Span) -> None:
        self._operations = {
            name: _OperationScan(tally.operations[name], tally, span)
            for name in _shown(tally.operations)
        }
        self._late_count = 0
        self._depth = Sums(span)
        self._target, self._delivered = Sums(span), Sums(span)
        self._deviation = Sums(span)
        self._warped = Sums(span)
        self._frozen, self._medium = Sums(span), Sums(span)
        self._internals = InternalsScan(span)

    def add(self, by_operation: Mapping[str, Columns]) -> None:
        for name, operation in self._operations.items():
            if name in by_operation:
                operation.add(by_operation[name])
        self._internals.add(by_operation, ALL)
        requests = by_operation[ALL]
        delivery_ns = requests["delivery_ns"]
        self._late_count += int(np.count_nonzero(~requests["on_time"]))
        self._depth.add(requests["arrival_ns"], requests["queue_depth"])
        self._target.add(delivery_ns, requests["completion_ns"] - requests["arrival_ns"])
        self._delivered.add(delivery_ns, requests["latency_ns"])
        self._deviation.add(delivery_ns, np.abs(delivery_ns - requests["completion_ns"]))
        self._warped.add(delivery_ns, requests["warped_ns"])
        self._frozen.add(delivery_ns, requests["frozen_host_ns"])
        self._medium.add(delivery_ns, requests["medium_host_ns"])

    def result(self) -> DiskData:
        return DiskData(
            operations={name: scan.result() for name, scan in self._operations.items()},
            late_count=self._late_count,
            worst_deviation_ns=int(self._deviation.maxima.max()),
            frozen_host_ns=int(self._frozen.sums.sum()),
            medium_mean_host_ns=float(self._medium.sums.sum() / self._medium.counts.sum()),
            medium_max_host_ns=int(self._medium.maxima.max()),
            depth_mean_in_bin=self._depth.means(),
            depth_max_in_bin=self._depth.greatest(),
            target_mean_in_bin_ns=self._target.means(),
            delivered_mean_in_bin_ns=self._delivered.means(),
            worst_deviation_in_bin_ns=self._deviation.greatest(),
            warped_share_in_bin=ratio(self._warped.sums, self._target.sums),
            frozen_in_bin_host_ns=self._frozen.sums,
            medium_mean_in_bin_host_ns=self._medium.means(),
            medium_max_in_bin_host_ns=self._medium.greatest(),
            internals=self._internals.result(),
        )


def scan(path: Path, notify: Notify) -> tuple[Record, Span, dict[str, DiskData]]:
    """Return a record's span, and the data of each disk that had a request.

    Memory: some megabytes for each disk and operation, whatever the number of requests; see
    :mod:`~freezingtime.quantiles` and :mod:`~freezingtime.report.bins`.

    Raises:
        InputError: there is no record, it is damaged or of another version, or has no request.
    """
    record = open_record(path)
    tallies = _tally(record, notify)
    if not tallies:
        raise InputError(f"{record.path}: contains no requests; name another record")
    span = Span(
        min(disk.start_ns for disk in tallies.values()),
        max(disk.end_ns for disk in tallies.values()),
    )
    scans = {name: _DiskScan(tallies[name], span) for name in _disks(record, tallies)}
    count = sum(disk.operations[ALL].count for disk in tallies.values())
    # Once more, as a run that ends meanwhile puts its record elsewhere.
    for by_disk in read_batches(open_record(path), count, lambda notice: None):
        for name, by_operation in by_disk.items():
            scans[name].add(by_operation)
    return record, span, {name: disk.result() for name, disk in scans.items()}


def _tally(record: Record, notify: Notify) -> dict[str, _DiskTally]:
    disks: dict[str, _DiskTally] = {}
    for by_disk in read_batches(record, None, notify):
        for name, by_operation in by_disk.items():
            start_ns = int(by_operation[ALL]["arrival_ns"].min())
            end_ns = int(by_operation[ALL]["delivery_ns"].max())
            disk = disks.setdefault(name, _DiskTally(start_ns, end_ns))
            disk.start_ns = min(disk.start_ns, start_ns)
            disk.end_ns = max(disk.end_ns, end_ns)
            for operation, requests in by_operation.items():
                tally = disk.operations.setdefault(operation, RequestTally())
                tally.add(requests["latency_ns"], requests["moved_bytes"])
    return disks


def _shown(operations: Mapping[str, RequestTally]) -> Sequence[str]:
    """In the order of the record's words; all together only where there are several."""
    present = [word for word in OPERATION_WORDS if word in operations]
    return present if len(present) == 1 else [*present, ALL]


def _disks(record: Record, tallies: Mapping[str, _DiskTally]) -> Sequence[str]:
    return [disk.name for disk in record.header.disks if disk.name in tallies]
