# SPDX-License-Identifier: GPL-2.0-or-later
"""Records for tests: requests as the emulator completes them, written and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from freezingtime.annotation import EMPTY_ANNOTATION, UNKNOWN, Annotation, HeldBy, ServedFrom
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.request import Operation
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.trace.record_reader import open_record
from freezingtime.trace.record_schema import COLUMNS

HEADER = RecordHeader(
    disks=[
        RecordedDisk("data", "constant:10us,name=data"),
        RecordedDisk("log", "log.toml,name=log"),
    ],
    seed=7,
    cpu_rate_hz=4_000_000_000,
)


def completed(**fields: Any) -> CompletedRequest:
    """A read of 4 KiB that took 10 us, but for what is given."""
    defaults = {
        "disk_index": 0,
        "operation": Operation.READ,
        "offset_bytes": 0,
        "length_bytes": 4096,
        "fua": False,
        "queue_depth": 1,
        "arrival_ns": 1000,
        "completion_ns": 11_000,
        "delivery_ns": 11_000,
        "warped_ns": 0,
        "frozen_host_ns": 0,
        "medium_host_ns": 0,
        "on_time": True,
        "sequence": 0,
    }
    return CompletedRequest(**{**defaults, **fields})


_ANNOTATIONS = st.none() | st.builds(
    Annotation,
    service_start_ns=st.integers(UNKNOWN, 2**50),
    held_ns=st.integers(UNKNOWN, 2**40),
    held_by=st.sampled_from([UNKNOWN, *HeldBy]),
    served_from=st.sampled_from([UNKNOWN, *ServedFrom]),
    die=st.integers(UNKNOWN, 2**15 - 1),
    channel=st.integers(UNKNOWN, 2**15 - 1),
    member=st.integers(UNKNOWN, 2**15 - 1),
)


@st.composite
def requests(draw: st.DrawFn, max_size: int = 40) -> list[CompletedRequest]:
    """Requests of one disk in order of delivery, in whole sectors, of every kind."""
    sectors = st.integers(0, 2**40)
    made = []
    delivery_ns = draw(st.integers(0, 2**50))
    for _ in range(draw(st.integers(1, max_size))):
        operation = draw(st.sampled_from(Operation))
        is_flush = operation is Operation.FLUSH
        delivery_ns += draw(st.integers(0, 2**33))
        made.append(
            completed(
                operation=operation,
                offset_bytes=0 if is_flush else 512 * draw(sectors),
                length_bytes=0 if is_flush else 512 * draw(st.integers(1, 2**16)),
                fua=operation is Operation.WRITE and draw(st.booleans()),
                arrival_ns=max(0, delivery_ns - draw(st.integers(0, 2**34))),
                completion_ns=delivery_ns,
                delivery_ns=delivery_ns,
                annotation=draw(_ANNOTATIONS),
            )
        )
    in_order = sorted(range(len(made)), key=lambda index: made[index].arrival_ns)
    for sequence, index in enumerate(in_order):
        made[index] = made[index]._replace(sequence=sequence)
    return made


def write_record(
    path: Path, rows: Sequence[CompletedRequest], header: RecordHeader = HEADER
) -> Path:
    """Write a record; a directory becomes a run's."""
    file = path / RECORD_NAME if path.is_dir() else path
    with LiveRecord(RecordFile(file, header), first_disk_index=0) as record:
        for row in rows:
            record.write(row)
    return path


def stream_of(path: Path, batches: Sequence[Sequence[CompletedRequest]]) -> Path:
    """What a run that was killed has left: its stream, flushed after each batch."""
    file = RecordFile(path, HEADER)
    for batch in batches:
        file.append(file.batches.of_requests(batch, 0))
    return stream_path(path)


def as_rows(requests: Sequence[CompletedRequest]) -> list[dict[str, Any]]:
    """Requests as a record has them."""
    return [
        {
            **{name: value for name, value in row._asdict().items() if name in COLUMNS.names},
            "disk": HEADER.disks[row.disk_index].name,
            "operation": row.operation.name.lower(),
            **_said(row.annotation or EMPTY_ANNOTATION),
        }
        for row in requests
    ]


def _said(annotation: Annotation) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: None if value == UNKNOWN else value for name, value in annotation._asdict().items()
    }
    for name, words in (("held_by", HeldBy), ("served_from", ServedFrom)):
        if values[name] is not None:
            values[name] = words(values[name]).name.lower()
    return values


def read_rows(path: Path, notices: list[str] | None = None) -> list[dict[str, Any]]:
    """All of a record; what is said of it is added to ``notices``."""
    said: list[str] = [] if notices is None else notices
    batches = open_record(path).batches(COLUMNS.names, said.append, lambda done, total: None)
    return [row for batch in batches for row in batch.to_pylist()]
