# SPDX-License-Identifier: GPL-2.0-or-later
"""The record: what is written comes back, whoever dies on the way, and bad ones are refused."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import freezingtime as ft
from freezingtime.annotation import Annotation, HeldBy
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError, RunError
from freezingtime.report.read import read_run
from freezingtime.request import Operation
from freezingtime.trace import record_columns
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.readers import read_trace
from freezingtime.trace.record_columns import read_disk
from freezingtime.trace.record_digest import record_digest
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.trace.record_reader import open_record
from freezingtime.trace.record_schema import COLUMNS
from freezingtime.trace.run_directory import STATISTICS_NAME
from freezingtime.trace.statistics_file import read_statistics, write_statistics
from freezingtime.trace.writers.record_csv import record_csv
from tests.conftest import PROGRAM
from tests.support.guestlib import fio_command, run_guest
from tests.support.recordlib import (
    HEADER,
    as_rows,
    completed,
    read_rows,
    requests,
    stream_of,
    write_record,
)

DEADLINE_S = 60.0
_DIGEST = "791e85e53c956a5decaa2580bcbc4a2877bb3cfdeb4dc89125872723cd617bc4"


def complaint(path: Path, disk: str | None = None) -> str:
    """What is said of a bad record, without its directory."""
    with pytest.raises(InputError) as caught:
        read_disk(path, ["arrival_ns"], disk=disk, option="--disk", notify=pytest.fail)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path.parent), "DIR")


def test_a_record_under_kvm_has_more_columns(tmp_path: Path) -> None:
    """Of each request; one without them is from before there were any, and as good."""
    header = msgspec.structs.replace(HEADER, is_repeatable=False, cpu_rate_hz=None)
    rows = [completed(taken_out_ns=4_000, left_in_ns=300), completed(sequence=1)]
    path = write_record(tmp_path / "kvm.parquet", rows, header)
    table = pq.read_table(path)
    assert table.schema.names == [*COLUMNS.names, "taken_out_ns", "left_in_ns"]
    assert table["taken_out_ns"].to_pylist() == [4_000, 0]
    assert table["left_in_ns"].to_pylist() == [300, 0]
    assert open_record(path).schema.names == table.schema.names
    head, first, *_ = b"".join(record_csv(path, None, "--disk", pytest.fail)).splitlines()
    assert head.endswith(b",member,taken_out_ns,left_in_ns")
    assert first.endswith(b",4000,300")
    older = tmp_path / "older.parquet"
    pq.write_table(table.drop_columns(["taken_out_ns", "left_in_ns"]), older)
    assert open_record(older).schema == COLUMNS
    assert read_rows(older) == read_rows(path) == as_rows(rows)


def test_a_record_of_the_exact_clock_has_no_more_than_it_had(tmp_path: Path) -> None:
    path = write_record(tmp_path / "exact.parquet", [completed()])
    assert pq.read_schema(path).names == COLUMNS.names
    assert len(COLUMNS.names) == 21


@given(rows=requests())
@settings(max_examples=25)
def test_record_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[CompletedRequest]
) -> None:
    path = tmp_path_factory.mktemp("record") / RECORD_NAME
    write_record(path, rows)
    assert not stream_path(path).exists()
    assert read_rows(path) == as_rows(rows)
    assert pq.read_table(path).to_pylist() == as_rows(rows)
    assert open_record(path).header == HEADER


def test_numbers_are_written_as_differences_and_words_by_a_dictionary(tmp_path: Path) -> None:
    """However far apart they are; dictionaries of numbers took twice the space and thrice the time.

    The digest is of what is recorded, and not of how: it is that of earlier versions.
    """
    ends = [0, 2**63 - 1, 0, 5]
    said = [None, Annotation(held_ns=7, held_by=HeldBy(0), die=3)] * 2
    rows = [
        completed(arrival_ns=ns, delivery_ns=ns, sequence=number, annotation=said[number])
        for number, ns in enumerate(ends)
    ]
    path = write_record(tmp_path / RECORD_NAME, rows)
    assert read_rows(path) == as_rows(rows)
    columns = pq.read_metadata(path).row_group(0)
    for number, field in enumerate(COLUMNS):
        encodings = columns.column(number).encodings
        assert ("DELTA_BINARY_PACKED" in encodings) == pa.types.is_int64(field.type), field
        assert ("RLE_DICTIONARY" in encodings) == (
            not pa.types.is_int64(field.type) and not pa.types.is_boolean(field.type)
        ), field
    assert record_digest(path) == _DIGEST


def test_a_path_may_have_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a \xff\n")
    write_record(path, [completed(), completed()])
    assert len(read_rows(path, [])) == 2
    directory = tmp_path / os.fsdecode(b"\xff")
    directory.mkdir()
    write_statistics(directory / STATISTICS_NAME, [("data", 0, "depth", 1.0)])
    table = read_statistics(directory)
    assert table is not None
    assert table.num_rows == 1


def test_disks_and_operations_are_words(tmp_path: Path) -> None:
    rows = [
        completed(disk_index=index, operation=operation)
        for index in (0, 1)
        for operation in Operation
    ]
    table = pq.read_table(write_record(tmp_path / "record", rows))
    assert table.schema.names == COLUMNS.names
    assert pa.types.is_dictionary(table.schema.field("disk").type)
    assert table["disk"].to_pylist() == ["data"] * 5 + ["log"] * 5
    assert (
        table["operation"].to_pylist()
        == [*("read", "write", "flush", "discard", "write_zeroes")] * 2
    )


def test_record_of_a_run_is_a_trace(tmp_path: Path) -> None:
    write = Operation.WRITE
    rows = [
        completed(
            operation=write,
            offset_bytes=512,
            length_bytes=1024,
            fua=True,
            arrival_ns=70,
            sequence=3,
        ),
        completed(operation=Operation.FLUSH, length_bytes=0, arrival_ns=70, sequence=2),
        completed(length_bytes=512, arrival_ns=60, sequence=1),
        completed(disk_index=1, arrival_ns=50, sequence=0),
    ]
    run = tmp_path / "run"
    run.mkdir()
    write_record(run, rows)
    for path in (run, run / RECORD_NAME):
        trace = read_trace(path, disk="data")
        assert trace.arrival_ns.tolist() == [60, 70, 70]
        assert trace.operation.tolist() == [Operation.READ, Operation.FLUSH, write]
        assert trace.offset_bytes.tolist() == [0, 0, 512]
        assert trace.length_bytes.tolist() == [512, 0, 1024]
        assert trace.fua.tolist() == [False, False, True]
    assert len(read_trace(run, format_name="record", disk="log")) == 1


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    rows = [completed(arrival_ns=number) for number in range(300_000)]
    path = write_record(tmp_path / "record", rows)
    metadata = pq.read_metadata(path)
    counts = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert counts == [131_072, 131_072, 300_000 - 262_144]
    read = read_disk(path, ["arrival_ns"], disk=None, option="", notify=pytest.fail)
    assert read.columns["arrival_ns"].tolist() == list(range(300_000))


def test_requests_are_flushed_each_second(tmp_path: Path) -> None:
    """And read while the run goes on; then the Parquet file takes the stream's place."""
    path = tmp_path / RECORD_NAME
    with LiveRecord(RecordFile(path, HEADER), first_disk_index=0) as record:
        record.write(completed())
        deadline_s = time.monotonic() + DEADLINE_S
        while not (stream_path(path).stat().st_size and read_rows(path, [])):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert not path.exists()
    assert read_rows(path) == as_rows([completed()])


def test_torn_last_batch_is_cut_off_and_said(tmp_path: Path) -> None:
    batches = [[completed(arrival_ns=number)] * 40 for number in range(3)]
    path = tmp_path / RECORD_NAME
    whole = stream_of(path, batches).read_bytes()
    ends = [stream_of(path, batches[:count]).stat().st_size for count in (1, 2, 3)]
    for size in range(ends[0] - 1, len(whole) + 1, 61):
        stream_path(path).write_bytes(whole[:size])
        notices: list[str] = []
        rows = read_rows(path, notices)
        whole_count = sum(end <= size for end in ends)
        assert rows == as_rows([row for batch in batches[:whole_count] for row in batch])
        assert notices == [
            f"{stream_path(path)}: the run was killed, or is still running: read up to its "
            f"last flush: {len(rows)} requests"
        ]


def test_new_record_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    write_record(tmp_path / "record", [completed(), completed()])
    stream_of(tmp_path / "record", [[completed(arrival_ns=5)]])
    assert [row["arrival_ns"] for row in read_rows(tmp_path / "record", [])] == [5]


@pytest.mark.parametrize("kind", ["directory", "device"])
def test_what_is_no_file_is_left_alone(kind: str, tmp_path: Path) -> None:
    path = tmp_path if kind == "directory" else Path("/dev/null")
    with pytest.raises(OSError, match="is not a regular file"):
        RecordFile(path, HEADER)
    assert path.exists()
    assert not stream_path(path).exists()


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """Files can be no larger, as on a disk that is full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def write_much(path: Path) -> None:
    """Three batches and more."""
    with LiveRecord(RecordFile(path, HEADER), first_disk_index=0) as record:
        for _ in range(60_000):
            record.write(completed())


def test_disk_that_fills_up_is_said_and_the_rest_kept(tmp_path: Path) -> None:
    full_disk = tmp_path / RECORD_NAME
    with room_for(4 << 20), pytest.raises(RunError, match="free space, or name another"):
        write_much(full_disk)
    assert not full_disk.exists()
    # How many there were at the last flush depends on the host's speed.
    assert 2 * 16_384 <= len(read_rows(full_disk, [])) < 3 * 16_384
    assert sorted(path.name for path in full_disk.parent.iterdir()) == [stream_path(full_disk).name]


def test_failure_of_the_flusher_is_not_lost(tmp_path: Path) -> None:
    def write() -> None:
        with LiveRecord(RecordFile(tmp_path / "r", HEADER), first_disk_index=0) as record:
            record.write(completed(offset_bytes=1 << 70))

    with pytest.raises(OverflowError):
        write()


def test_disk_that_is_full_from_the_beginning_is_said(tmp_path: Path) -> None:
    with room_for(100), pytest.raises(RunError, match="free space, or name another"):
        write_much(tmp_path / "r")
    assert complaint(tmp_path / "r").startswith("DIR/r.arrows: is damaged: ")


def test_disk_that_fills_up_at_the_end_keeps_the_stream(tmp_path: Path) -> None:
    rows = [completed(offset_bytes=number**3 * 7919 % 2**40) for number in range(9000)]
    with LiveRecord(RecordFile(tmp_path / "r", HEADER), first_disk_index=0) as record:
        for row in rows:
            record.write(row)
    size_bytes = (tmp_path / "r").stat().st_size
    file = RecordFile(tmp_path / "r", HEADER)
    file.append(file.batches.of_requests(rows, 0))
    with room_for(size_bytes // 2), pytest.raises(RunError, match="free space"), file:
        pass
    assert read_rows(tmp_path / "r", []) == as_rows(rows)
    assert [path.name for path in tmp_path.iterdir()] == ["r.arrows"]


KILLED = """
import sys, time
from pathlib import Path
from freezingtime.trace.live_record import LiveRecord
from freezingtime.trace.record_file import RecordFile
from tests.support.recordlib import HEADER, completed

with LiveRecord(RecordFile(Path(sys.argv[1]), HEADER), first_disk_index=0) as record:
    for number in range(100_000_000):
        record.write(completed(arrival_ns=number))
        time.sleep(1e-6)
"""


def test_record_of_a_killed_process_is_readable(tmp_path: Path) -> None:
    path = tmp_path / RECORD_NAME
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    try:
        _await_bytes(stream_path(path), 1 << 20, process)
    finally:
        process.kill()
        process.wait()
    notices: list[str] = []
    rows = read_rows(path, notices)
    assert len(notices) == 1
    assert len(rows) > 5000
    assert [row["arrival_ns"] for row in rows] == list(range(len(rows)))


@pytest.mark.guest
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)]
)
def test_record_of_a_run_that_was_ended_is_readable(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    """Killed, it has left the stream; asked to end, it still makes the Parquet file."""
    run_guest("true")  # so that nothing has to be built or booted below
    job = fio_command(rw="randread", number_ios=10_000_000, output="/dev/null", loops=1000)
    command = [str(PROGRAM), "run", "-q", "--disk", "constant:10us", "--out", "run", "--"]
    process = subprocess.Popen([*command, "sh", "-c", job], cwd=tmp_path)
    stream = stream_path(tmp_path / "run" / RECORD_NAME)
    try:
        _await_bytes(stream, 200_000, process)
    finally:
        process.send_signal(number)
        process.wait(DEADLINE_S)
    assert process.returncode == status
    notices: list[str] = []
    rows = read_rows(tmp_path / "run", notices)
    was_killed = number == signal.SIGKILL
    assert stream.exists() == was_killed
    assert [notice.split(": ")[0] for notice in notices] == [str(stream)] * was_killed
    assert len(rows) > 1000
    assert {row["delivery_ns"] - row["arrival_ns"] for row in rows} == {10_000}
    assert len(read_trace(tmp_path / "run")) == len(rows)


def _await_bytes(path: Path, size_bytes: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not path.exists() or path.stat().st_size < size_bytes:
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline_s, "the record does not grow"
        time.sleep(0.05)


def test_where_there_is_no_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert complaint(run) == (
        "DIR/run: no such file; name a run's directory or its requests.parquet"
    )
    run.mkdir()
    assert complaint(run) == (
        "DIR/run: is not a run: it has no requests.parquet; name a run's directory"
    )
    (run / "requests.parquet.arrows").touch()
    assert complaint(run) == (
        "DIR/run/requests.parquet.arrows: is empty: the run was killed before it started; repeat it"
    )
    write_record(run, [])
    assert complaint(run) == "DIR/run/requests.parquet: contains no requests; name another record"


def test_what_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("disk,operation\n")
    assert complaint(path).startswith("DIR/file: is no record; name a run's directory")
    pq.write_table(pa.table({"x": [1]}), path)
    assert complaint(path) == ("DIR/file: is not a record; name a run's directory or its record")


def test_choice_of_a_disk(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", [completed(), completed(disk_index=1)])
    assert complaint(path) == ("DIR/r: contains several disks; choose with --disk: data, log")
    assert complaint(path, "vda") == ("--disk vda: no such disk in DIR/r; available: data, log")
    write_record(path, [completed()])
    assert complaint(path, "log") == "DIR/r: contains no requests of disk log; name another record"


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_damaged_record_is_refused(share: float, tmp_path: Path) -> None:
    """Wherever the damage is: in the pages, which have checksums, or in the footer."""
    rows = [completed(arrival_ns=number * 7919 % 100_003) for number in range(5000)]
    path = write_record(tmp_path / "r", rows)
    content = bytearray(path.read_bytes())
    at = 4 + int(share * (len(content) - 40))
    content[at : at + 32] = bytes(byte ^ 0x55 for byte in content[at : at + 32])
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged|header is damaged") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_record_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", [completed()])
    path.write_bytes(path.read_bytes()[:-20])
    assert complaint(path).startswith("DIR/r: is damaged: ")


def with_metadata(path: Path, metadata: object) -> Path:
    """The record with another header."""
    table = pq.read_table(path)
    text = json.dumps(metadata)
    pq.write_table(table.replace_schema_metadata({"freezingtime": text}), path)
    return path


def test_record_of_another_version_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", [completed()])
    with_metadata(path, {"record_version": 9, "tool_version": "3.0", "disks": [], "seed": 0})
    message = complaint(path)
    assert message.startswith("DIR/r: has record version 9, of freezingtime 3.0; this is ")
    assert message.endswith("which reads version 2; read it with the other")


@pytest.mark.parametrize(
    "metadata",
    [[], {}, {"record_version": 2, "tool_version": "0.1.0"}, {"record_version": 2, "disks": 3}],
)
def test_damaged_header_is_refused(metadata: object, tmp_path: Path) -> None:
    path = with_metadata(write_record(tmp_path / "r", [completed()]), metadata)
    assert complaint(path).startswith("DIR/r: its header is damaged: ")


def test_record_without_a_column_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", [completed()])
    pq.write_table(pq.read_table(path).drop_columns(["fua"]), path)
    assert complaint(path) == "DIR/r: is damaged: it has no column fua; repeat the run"


def test_more_requests_than_there_is_memory_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [completed(disk_index=number % 10 == 0) for number in range(1000)]
    path = write_record(tmp_path / "record", rows)
    monkeypatch.setattr(record_columns, "free_memory_bytes", lambda: 100 << 10)
    with pytest.raises(InputError, match=r"has 900 requests, which need up to 0\.0 GiB of"):
        read_trace(path, disk="data")
    with pytest.raises(InputError, match=r"has 1000 requests, .*'freezingtime report' "):
        ft.open_run(path)
    assert len(read_trace(path, disk="log")) == 100
    assert len(read_run(path, pytest.fail).disks) == 2
