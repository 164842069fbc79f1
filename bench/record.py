# SPDX-License-Identifier: GPL-2.0-or-later
"""What the record costs: seconds for a million requests, beside the same as CSV.

A request of a real guest takes some 200 us of host time at least (bench/cost.py), a million
of them 200 s; the record may take 5 % of that. The emulator's thread pays only for handing
requests over; the flusher's thread and the Parquet file at the end come on top.
"""

from __future__ import annotations

import csv
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from freezingtime.annotation import Annotation, HeldBy
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.request import Operation
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader

REQUESTS = int(os.environ.get("BENCH_REQUESTS", "1000000"))
LIMIT_S_PER_MILLION = 10.0
LIMIT_EXTRA_BYTES = 256 << 20


def requests() -> Iterator[CompletedRequest]:
    """Requests as of a busy disk."""
    for number in range(REQUESTS):
        arrival_ns = number * 12_345
        completion_ns = arrival_ns + 80_000 + number * 7_919 % 40_000
        yield CompletedRequest(
            disk_index=1,
            operation=Operation.WRITE if number % 3 else Operation.READ,
            offset_bytes=number * 2_654_435_761 % (1 << 40) // 4096 * 4096,
            length_bytes=4096,
            fua=False,
            queue_depth=number % 16 + 1,
            arrival_ns=arrival_ns,
            completion_ns=completion_ns,
            delivery_ns=completion_ns,
            warped_ns=number % 80_000,
            frozen_host_ns=0,
            medium_host_ns=number % 10_000,
            on_time=True,
            sequence=number,
            annotation=Annotation(arrival_ns + 1000, 1000, HeldBy.PROGRAM, 4, number % 64, 1),
        )


def record_s(path: Path) -> float:
    """Seconds to write the record, the Parquet file included."""
    start_s = time.perf_counter()
    header = RecordHeader(
        disks=[RecordedDisk("disk1", "constant:80us")], seed=0, cpu_rate_hz=4 * 10**9
    )
    with LiveRecord(RecordFile(path, header), first_disk_index=1) as record:
        _each(record.write)
    return time.perf_counter() - start_s


def csv_s(path: Path) -> float:
    """Seconds to write the same as CSV."""
    start_s = time.perf_counter()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        _each(lambda row: writer.writerow(("disk1", row.operation.name.lower(), *row[2:])))
    return time.perf_counter() - start_s


def _each(write: Callable[[CompletedRequest], object]) -> None:
    for request in requests():
        write(request)


def main() -> None:
    """Print the comparison; exit 1 above a limit."""
    start_s = time.perf_counter()
    _each(lambda request: None)
    making_s = time.perf_counter() - start_s
    with tempfile.TemporaryDirectory() as directory:
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        paths = {"record": Path(directory) / "record.parquet", "CSV": Path(directory) / "csv"}
        taken_s = {"record": record_s(paths["record"]) - making_s}
        extra_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) << 10
        taken_s["CSV"] = csv_s(paths["CSV"]) - making_s
        for name, seconds in taken_s.items():
            size = paths[name].stat().st_size
            print(
                f"{name}: {seconds * 1e6 / REQUESTS:.2f} s per million requests, "
                f"{size / REQUESTS:.1f} bytes each"
            )
    print(f"record: {extra_bytes >> 20} MiB more memory at most, pyarrow included")
    if taken_s["record"] * 1e6 / REQUESTS > LIMIT_S_PER_MILLION or extra_bytes > LIMIT_EXTRA_BYTES:
        raise SystemExit(f"record: above {LIMIT_S_PER_MILLION} s or {LIMIT_EXTRA_BYTES} bytes")


if __name__ == "__main__":
    main()
