# SPDX-License-Identifier: GPL-2.0-or-later
"""Data of one run in a report: plain data, of a size independent of its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.application.figure import Figure
from freezingtime.application.fsync import FSYNC
from freezingtime.report.bins import Floats, Integers, Span
from freezingtime.report.slow.operations import SlowOperations
from freezingtime.request import FaultKind
from freezingtime.request_figures import ALL, RequestFigures
from freezingtime.trace.record_header import RecordHeader
from freezingtime.units import parse_time_ns


@dataclass(frozen=True, slots=True)
class LatencyQuantiles:
    """Exact quantiles of latencies."""

    latencies_ns: Integers
    shares: Floats
    """Number of requests that took that long or less."""


@dataclass(frozen=True, slots=True)
class OperationData:
    """The requests of one operation to one disk, or of all of them.

    Latencies are from arrival to delivery: what the guest was given. Rates are over the time
    from the disk's first arrival to its last delivery, None if that is 0; bandwidth counts the
    bytes of reads and writes. Arrays have a value for each bin of the run.
    """

    figures: RequestFigures
    distribution: LatencyQuantiles
    median_in_bin_ns: Floats
    p99_in_bin_ns: Floats
    max_in_bin_ns: Floats
    iops_in_bin: Floats
    """By time of delivery, as all of these."""
    bandwidth_in_bin_bytes_per_s: Floats

    @property
    def count(self) -> int:
        """Return the number of requests."""
        return self.figures.count


def display_name(member: HeldBy | ServedFrom) -> str:
    """A word of the record, for reading."""
    return member.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class HeldData:
    """The requests that one thing held, or nothing."""

    count: int
    wait_mean_ns: float
    wait_max_ns: int
    latency_mean_ns: float
    wait_sum_ns: int
    wait_mean_in_bin_ns: Floats
    """The sum, divided by the number of annotated requests in the bin."""


@dataclass(frozen=True, slots=True)
class ServedData:
    """The requests of an operation that were served from one place."""

    count: int
    latency_mean_ns: float
    latency_max_ns: int


@dataclass(frozen=True, slots=True)
class DiskInternals:
    """Annotations of a device's requests, summed up; empty if its model has none."""

    held: Mapping[HeldBy, HeldData]
    served: Mapping[tuple[str, ServedFrom], ServedData]
    """By operation and place."""
    from_memory_share_in_bin: Floats
    """Fraction of annotated reads that did not need the medium."""


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """Statistics of a device, sampled over guest time."""

    times_ns: Integers
    values: Mapping[str, Floats]
    """By statistic; NaN where it is not there."""

    @property
    def totals(self) -> Mapping[str, float]:
        """Return the last value of each statistic."""
        return {name: float(values[-1]) for name, values in self.values.items()}


@dataclass(frozen=True, slots=True)
class Audit:
    """Deliveries of a disk beside what its model said: of all requests, before the job, too."""

    count: int
    late_count: int
    worst_deviation_ns: int
    """The most by which a delivery missed the completion, early or late."""


@dataclass(frozen=True, slots=True)
class DiskData:
    """Data of a disk over all operations; arrays have shape ``(bins,)``."""

    operations: Mapping[str, OperationData]
    """By name in the record's order; all of them together last, if there are several."""
    fsync: RequestFigures | None
    """Flushes with the writes that they wait for, without rates, if there are any."""
    worst_deviation_ns: int
    """The most by which a delivery missed the completion, early or late."""
    frozen_host_ns: int
    medium_mean_host_ns: float
    medium_max_host_ns: int
    depth_mean_in_bin: Floats
    """Of the requests that arrived in the bin."""
    depth_max_in_bin: Floats
    target_mean_in_bin_ns: Floats
    """The service that the model asked for: from arrival to completion."""
    delivered_mean_in_bin_ns: Floats
    worst_deviation_in_bin_ns: Floats
    warped_share_in_bin: Floats
    """Of the time from arrival to completion, the share that was skipped."""
    frozen_in_bin_host_ns: Integers
    medium_mean_in_bin_host_ns: Floats
    medium_max_in_bin_host_ns: Floats
    internals: DiskInternals
    faults: Mapping[FaultKind, Integers]
    """How many requests each kind of fault hit in each bin; those that hit any."""

    @property
    def count(self) -> int:
        """Return the number of requests."""
        return sum(data.count for data in self.single_operations.values())

    @property
    def figures(self) -> Mapping[str, RequestFigures]:
        """The figures of each operation, and of all together; of flushes with their writes last."""
        found = {name: data.figures for name, data in self.operations.items()}
        return found if self.fsync is None else found | {FSYNC: self.fsync}

    @property
    def single_operations(self) -> Mapping[str, OperationData]:
        """Each operation, without that of all together."""
        return {name: data for name, data in self.operations.items() if name != ALL}


@dataclass(frozen=True, slots=True)
class GuestOutput:
    """Output of the job; if it is long, its beginning and end."""

    head: str
    tail: str
    left_out_bytes: int


@dataclass(frozen=True, slots=True)
class RunData:
    """One run, or one record of devices without a guest.

    All but the audits is of the requests that arrived from the job's start on, as far as that is
    known: of a record alone, of all.
    """

    name: str
    """As the user named it."""
    header: RecordHeader
    is_finished: bool
    span: Span
    """From the first arrival at any disk to the last delivery."""
    disks: Mapping[str, DiskData]
    """By name, in the record's order; those that had a request."""
    audits: Mapping[str, Audit]
    """By name, in the record's order; those that had a request, before the job, too."""
    statistics: Mapping[str, DeviceStatistics]
    """Of the disks whose devices have statistics."""
    document: Mapping[str, Any] | None
    """``run.json``, if there is one."""
    output: GuestOutput | None
    """None: no guest took part, or the run has not ended."""
    figures: Sequence[Figure] = ()
    """The application's own."""
    slow: SlowOperations | None = None
    """The application's slowest operations, if it has logged them."""
    label: str = ""
    """What it is called beside others: a letter, or its device."""

    @property
    def has_guest(self) -> bool:
        """Whether a guest took part; a replay has none."""
        return self.header.cpu_rate_hz is not None or not self.header.is_repeatable

    def change_times_ns(self) -> list[int]:
        """Return the guest times, within its span, at which parameters of its devices changed."""
        job = (self.document or {}).get("job", {})
        start_ns = job.get("start_ns", 0)
        times_ns = {
            start_ns + parse_time_ns(text.partition(" ")[0])
            for disk in self.header.disks
            for text in disk.changes
        }
        return sorted(each for each in times_ns if self.span.start_ns <= each <= self.span.end_ns)

    @property
    def late_count(self) -> int:
        """Requests that were not delivered at the model's time."""
        return sum(audit.late_count for audit in self.audits.values())

    @property
    def audited_count(self) -> int:
        """Requests to all disks, before the job, too."""
        return sum(audit.count for audit in self.audits.values())
