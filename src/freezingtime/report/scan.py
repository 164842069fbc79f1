# SPDX-License-Identifier: GPL-2.0-or-later
"""A record read twice: how many requests there are and where in time, then all the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from freezingtime.application.fsync import WRITES, FsyncTally
from freezingtime.errors import InputError
from freezingtime.quantiles import CountedValues
from freezingtime.report.batches import Columns, read_batches
from freezingtime.report.bins import Percentiles, Span, Sums, ratio
from freezingtime.report.faults import FaultScan
from freezingtime.report.figures.cdf import cdf_ranks, cdf_shares
from freezingtime.report.internals import InternalsScan
from freezingtime.report.run_data import Audit, DiskData, LatencyQuantiles, OperationData
from freezingtime.request import Operation
from freezingtime.request_figures import (
    ALL,
    RequestFigures,
    RequestRanking,
    RequestTally,
    figures_of_counted,
)
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


class _FsyncScan:
    """Second pass over a disk's flushes with the writes that they wait for."""

    def __init__(self) -> None:
        self._tally = FsyncTally()
        self._latencies = CountedValues()

    def add(self, by_operation: Mapping[str, Columns]) -> None:
        found = [
            (np.full(len(requests["arrival_ns"]), operation), requests)
            for operation in (*WRITES, Operation.FLUSH)
            if (requests := by_operation.get(operation.name.lower())) is not None
        ]
        if not found:
            return
        operations = np.concatenate([codes for codes, _ in found])
        arrivals_ns, deliveries_ns = (
            np.concatenate([requests[name] for _, requests in found])
            for name in ("arrival_ns", "delivery_ns")
        )
        order = np.argsort(deliveries_ns, kind="stable")
        columns = (operations, arrivals_ns, deliveries_ns)
        for request in zip(*(column[order].tolist() for column in columns), strict=True):
            self._tally.add(*request)
        self._latencies.add(np.array(self._tally.take(), np.int64))

    def result(self) -> RequestFigures:
        return figures_of_counted(*self._latencies.counted())


class _DiskScan:
    """Second pass over one disk."""

    def __init__(self, tally: _DiskTally, span: Span) -> None:
        self._operations = {
            name: _OperationScan(tally.operations[name], tally, span)
            for name in _shown(tally.operations)
        }
        has_flushes = Operation.FLUSH.name.lower() in tally.operations
        self._fsync = _FsyncScan() if has_flushes else None
        self._depth = Sums(span)
        self._target, self._delivered = Sums(span), Sums(span)
        self._deviation = Sums(span)
        self._warped = Sums(span)
        self._frozen, self._medium = Sums(span), Sums(span)
        self._internals = InternalsScan(span)
        self._faults = FaultScan(span)

    def add(self, by_operation: Mapping[str, Columns]) -> None:
        for name, operation in self._operations.items():
            if name in by_operation:
                operation.add(by_operation[name])
        self._internals.add(by_operation, ALL)
        if self._fsync is not None:
            self._fsync.add(by_operation)
        requests = by_operation[ALL]
        self._faults.add(requests)
        delivery_ns = requests["delivery_ns"]
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
            fsync=None if self._fsync is None else self._fsync.result(),
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
            faults=self._faults.result(),
        )


@dataclass(frozen=True, slots=True)
class ScannedRecord:
    """Figures of a record, found in two passes."""

    record: Record
    span: Span
    """Of the job's requests."""
    disks: Mapping[str, DiskData]
    """Of the job's requests, by disk; those that had one."""
    audits: Mapping[str, Audit]
    """Of all requests, by disk; those that had one."""


def scan(path: Path, start_ns: int, notify: Notify) -> ScannedRecord:
    """Read a record; ``start_ns``: the job's start, before which no request is the job's.

    Memory: some megabytes for each disk and operation, whatever the number of requests; see
    :mod:`~freezingtime.quantiles` and :mod:`~freezingtime.report.bins`.

    Raises:
        InputError: there is no record, it is damaged or of another version, or has no request of
            the job's.
    """
    record = open_record(path)
    tallies, audits = _tally(record, start_ns, notify)
    if not tallies:
        whose = " of the job's" if audits else ""
        raise InputError(f"{record.path}: contains no requests{whose}; name another record")
    span = Span(
        min(disk.start_ns for disk in tallies.values()),
        max(disk.end_ns for disk in tallies.values()),
    )
    scans = {name: _DiskScan(tallies[name], span) for name in _disks(record, tallies)}
    count = sum(audit.count for audit in audits.values())
    # Once more, as a run that ends meanwhile puts its record elsewhere.
    for by_disk in read_batches(open_record(path), count, lambda notice: None):
        for name, every_operation in by_disk.items():
            if by_operation := _from(every_operation, start_ns):
                scans[name].add(by_operation)
    data = {name: disk.result() for name, disk in scans.items()}
    return ScannedRecord(
        record, span, data, {name: audits[name] for name in _disks(record, audits)}
    )


def _from(by_operation: Mapping[str, Columns], start_ns: int) -> Mapping[str, Columns]:
    """The requests that arrived then or later."""
    if by_operation[ALL]["arrival_ns"].min() >= start_ns:
        return by_operation
    rows = {name: columns["arrival_ns"] >= start_ns for name, columns in by_operation.items()}
    return {
        name: {key: values[rows[name]] for key, values in columns.items()}
        for name, columns in by_operation.items()
        if rows[name].any()
    }


def _tally(
    record: Record, job_start_ns: int, notify: Notify
) -> tuple[dict[str, _DiskTally], dict[str, Audit]]:
    disks: dict[str, _DiskTally] = {}
    audits: dict[str, Audit] = {}
    for by_disk in read_batches(record, None, notify):
        for name, every_operation in by_disk.items():
            audits[name] = _audit(every_operation[ALL], audits.get(name, Audit(0, 0, 0)))
            if not (by_operation := _from(every_operation, job_start_ns)):
                continue
            start_ns = int(by_operation[ALL]["arrival_ns"].min())
            end_ns = int(by_operation[ALL]["delivery_ns"].max())
            disk = disks.setdefault(name, _DiskTally(start_ns, end_ns))
            disk.start_ns = min(disk.start_ns, start_ns)
            disk.end_ns = max(disk.end_ns, end_ns)
            for operation, requests in by_operation.items():
                tally = disk.operations.setdefault(operation, RequestTally())
                tally.add(requests["latency_ns"], requests["moved_bytes"])
    return disks, audits


def _audit(requests: Columns, so_far: Audit) -> Audit:
    deviations_ns = np.abs(requests["delivery_ns"] - requests["completion_ns"])
    return Audit(
        so_far.count + len(deviations_ns),
        so_far.late_count + int(np.count_nonzero(~requests["on_time"])),
        max(so_far.worst_deviation_ns, int(deviations_ns.max())),
    )


def _shown(operations: Mapping[str, RequestTally]) -> Sequence[str]:
    """In the order of the record's words; all together only where there are several."""
    present = [word for word in OPERATION_WORDS if word in operations]
    return present if len(present) == 1 else [*present, ALL]


def _disks(record: Record, found: Mapping[str, object]) -> Sequence[str]:
    return [disk.name for disk in record.header.disks if disk.name in found]
