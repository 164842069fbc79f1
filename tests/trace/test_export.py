# SPDX-License-Identifier: GPL-2.0-or-later
"""Exports: what other tools make of them, and what comes back of them."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from freezingtime.cli.results.export import export_command
from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace import blktrace_layout as layout
from freezingtime.trace.readers import Trace, read_trace
from freezingtime.trace.readers.fio.latency_log import read_latency_log
from freezingtime.trace.readers.text import opened
from freezingtime.trace.record_paths import stream_path
from freezingtime.trace.record_schema import COLUMNS
from freezingtime.trace.writers.export import export
from freezingtime.trace.writers.format_names import EXPORT_FORMATS
from tests.conftest import require_tool
from tests.support.guestlib import fio_command, read_record, run_guest
from tests.support.recordlib import as_rows, completed, requests, stream_of, write_record

R, W, F, D = Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD
WZ = Operation.WRITE_ZEROES

#: Several at once, of every kind; the first is queued first and completes last.
MIXED = [
    completed(operation=W, offset_bytes=4096, fua=True, arrival_ns=2_000, delivery_ns=22_000),
    completed(operation=F, length_bytes=0, arrival_ns=3_000, delivery_ns=70_000),
    completed(operation=D, offset_bytes=1 << 30, length_bytes=1 << 20, delivery_ns=3_000_000_000),
    completed(operation=WZ, offset_bytes=1 << 40, length_bytes=512, delivery_ns=3_000_000_001),
    completed(offset_bytes=65536, length_bytes=65536, arrival_ns=500, delivery_ns=4_000_000_000),
]


def in_order_of_arrival(rows: Sequence[CompletedRequest]) -> list[CompletedRequest]:
    """With their places."""
    order = sorted(range(len(rows)), key=lambda index: rows[index].arrival_ns)
    return [rows[index]._replace(sequence=place) for place, index in enumerate(order)]


def exported(rows: Sequence[CompletedRequest], format_name: str, directory: Path) -> Path:
    """The export of a record of these requests."""
    numbered = sorted(in_order_of_arrival(rows), key=lambda row: row.delivery_ns)
    record = write_record(directory / "record", numbered)
    return export(record, format_name, directory / "out", disk=None, notify=pytest.fail)


def seen(trace: Trace) -> list[tuple[int, Operation, int, int, bool]]:
    columns = (
        trace.arrival_ns,
        trace.operation,
        trace.offset_bytes,
        trace.length_bytes,
        trace.fua,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(at, Operation(operation), *others) for at, operation, *others in rows]


def expected(
    rows: Sequence[CompletedRequest], *, unit_ns: int = 1, has_fua: bool = True
) -> list[tuple[int, Operation, int, int, bool]]:
    """What a format with such times, and with no word for writing zeros, makes of them."""
    ordered = in_order_of_arrival(rows)
    return [
        (
            (row.arrival_ns - ordered[0].arrival_ns) // unit_ns * unit_ns,
            W if row.operation is WZ else row.operation,
            row.offset_bytes,
            row.length_bytes,
            row.fua and has_fua,
        )
        for row in ordered
    ]


@given(rows=requests())
@settings(max_examples=25)
def test_csv_and_blkparse_and_iolog_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[CompletedRequest]
) -> None:
    directory = tmp_path_factory.mktemp("export")
    text = exported(rows, "blkparse", directory)
    assert seen(read_trace(text)) == expected(rows)
    assert seen(read_trace(text, format_name="blkparse-queue")) == expected(rows)
    iolog = exported(rows, "fio-iolog", directory)
    assert seen(read_trace(iolog)) == expected(rows, unit_ns=1000, has_fua=False)
    as_csv = seen(read_trace(exported(rows, "csv", directory)))
    zeros = [(at, W if what is WZ else what, *others) for at, what, *others in as_csv]
    key = repr  # what arrives together has no order in CSV
    assert sorted(zeros, key=key) == sorted(expected(rows), key=key)


@given(rows=requests())
@settings(max_examples=25)
def test_latency_log_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[CompletedRequest]
) -> None:
    directory = tmp_path_factory.mktemp("export")
    if all(row.operation is F for row in rows):
        return
    log = read_latency_log(exported(rows, "fio-lat", directory))
    logged = sorted(
        (row for row in in_order_of_arrival(rows) if row.operation is not F),
        key=lambda row: row.delivery_ns,
    )
    start_ns = min(row.arrival_ns for row in rows)
    assert log.offset_bytes is not None
    assert list(zip(log.time_ns.tolist(), log.latency_ns.tolist(), strict=True)) == [
        ((row.delivery_ns - start_ns) // 10**6 * 10**6, row.delivery_ns - row.arrival_ns)
        for row in logged
    ]
    assert log.operation.tolist() == [W if row.operation is WZ else row.operation for row in logged]
    assert log.offset_bytes.tolist() == [row.offset_bytes for row in logged]
    assert log.length_bytes.tolist() == [row.length_bytes for row in logged]


def test_csv_has_all_of_the_record(tmp_path: Path) -> None:
    rows = [*MIXED, completed(disk_index=1, on_time=False)]
    record = write_record(tmp_path / "record", rows)
    out = export(record, "csv", tmp_path / "out", disk=None, notify=pytest.fail)
    with out.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == COLUMNS.names
    assert read == [
        {
            name: str(int(value))
            if isinstance(value, bool)
            else ""
            if value is None
            else str(value)
            for name, value in row.items()
        }
        for row in as_rows(rows)
    ]
    export(record, "csv", tmp_path / "out", disk="log", notify=pytest.fail)
    assert len((tmp_path / "out").read_text().splitlines()) == 2


def run_tool(tool: str, *arguments: str, directory: Path) -> str:
    """Run one of blktrace's tools; return what it prints."""
    ended = subprocess.run(
        [require_tool(tool), *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr.replace("Input file out.blktrace.0 added", "").strip() == ""
    return ended.stdout


def blkparse_lines(directory: Path) -> list[str]:
    """The events that the real blkparse prints of our binary."""
    printed = run_tool("blkparse", "-i", "out", "-d", "out.bin", directory=directory)
    return printed[: printed.index("CPU0 (out)")].splitlines()


@given(rows=requests())
@settings(max_examples=15)
def test_blkparse_prints_of_our_binary_what_our_text_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[CompletedRequest]
) -> None:
    directory = tmp_path_factory.mktemp("export")
    exported(rows, "blktrace", directory)
    printed = blkparse_lines(directory)
    assert printed == exported(rows, "blkparse", directory).read_text().splitlines()
    (directory / "printed").write_text("\n".join(printed))
    assert seen(read_trace(directory / "printed")) == expected(rows)
    assert seen(read_trace(directory / "out.blktrace.0")) == expected(rows)


def test_binary_traces_are_read_as_blkparse_prints_them(tmp_path: Path) -> None:
    """Events of all kinds, on two CPUs, with and without a process behind them."""
    kinds = [layout.READ, layout.WRITE, layout.WRITE | layout.DISCARD, layout.FLUSH, 0]
    kinds.append(layout.WRITE | layout.FLUSH)
    flags = [0, layout.SYNC, layout.META, layout.FUA, layout.AHEAD, layout.SYNC | layout.FUA]
    letters = [(letter, layout.QUEUED) for letter in "QGI"]
    letters += [("D", layout.ISSUED), ("R", layout.REQUEUED), ("C", layout.COMPLETED)]
    events = np.zeros(len(kinds) * len(flags) * len(letters), layout.EVENT)
    events["magic"] = layout.MAGIC
    events["device"] = 8 << layout.DEVICE_MINOR_BITS | 16
    for number, (kind, flag, (letter, what)) in enumerate(product(kinds, flags, letters)):
        has_range = kind not in (0, layout.FLUSH, layout.WRITE | layout.FLUSH)
        event = events[number]
        event["sequence"], event["time"] = number + 1, number * 10_007
        event["action"] = (kind | flag | what) << layout.CATEGORY_SHIFT | layout.NUMBERS[letter]
        event["sector"], event["bytes"] = (number * 8, 4096) if has_range else (0, 0)
        event["pid"], event["cpu"] = 7, number % 2
    notice = np.zeros(1, layout.EVENT)
    notice["magic"], notice["pdu_len"], notice["pid"] = layout.MAGIC, 4, 7
    notice["action"], notice["device"] = layout.NOTIFY << layout.CATEGORY_SHIFT, events["device"][0]
    for cpu in range(2):
        content = notice.tobytes() + b"cat\0" + events[events["cpu"] == cpu].tobytes()
        (tmp_path / f"out.blktrace.{cpu}").write_bytes(content)
    printed = subprocess.run(
        [require_tool("blkparse"), "-i", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # What blkparse adds in brackets is the name of the process; we have its number.
    lines = [line.split() for line in printed.splitlines() if re.match(r" *8,16 ", line)]
    shown = [[part.replace("[cat]", "[7]") for part in line] for line in lines]
    for cpu in range(2):
        with opened(tmp_path / f"out.blktrace.{cpu}") as (_, text):
            assert [line.split() for line in text] == shown


def test_damaged_binary_trace_is_named(tmp_path: Path) -> None:
    file = exported([completed()], "blktrace", tmp_path)
    content = file.read_bytes()
    file.write_bytes(content + b"\1" * 48)
    with pytest.raises(InputError, match="is damaged: event 5 is not of blktrace"):
        read_trace(file)
    file.write_bytes(content + content[:20])
    assert len(read_trace(file)) == 1


def btt_averages_s(directory: Path) -> dict[str, tuple[float, int]]:
    """btt's averages in seconds and how many requests each is of."""
    printed = run_tool("btt", "-i", "out.bin", directory=directory)
    lines = re.findall(r"^(Q2C|D2C)\w*\s+\S+\s+(\S+)\s+\S+\s+(\d+)$", printed, re.MULTILINE)
    return {name: (float(average), int(count)) for name, average, count in lines}


def check_btt(directory: Path, latencies_ns: Sequence[int]) -> None:
    """btt, which leaves flushes out, must have the record's average, to its last digit."""
    blkparse_lines(directory)
    averages = btt_averages_s(directory)
    assert set(averages) == {"Q2C", "D2C"}
    for average_s, count in averages.values():
        assert count == len(latencies_ns)
        assert average_s == pytest.approx(np.mean(latencies_ns) / 1e9, abs=1e-9)


def test_btt_agrees(tmp_path: Path) -> None:
    rows = [
        completed(
            operation=(R, W, D, WZ, F)[number % 5],
            offset_bytes=0 if number % 5 == 4 else number << 16,
            length_bytes=0 if number % 5 == 4 else 4096 << number % 4,
            arrival_ns=10**9 + number * 50_000,
            delivery_ns=10**9 + number * 50_000 + 10_000 + number * 7919 % 300_000,
        )
        for number in range(2000)
    ]
    exported(rows, "blktrace", tmp_path)
    check_btt(
        tmp_path, [row.delivery_ns - row.arrival_ns for row in rows if row.operation is not F]
    )


def test_each_format_has_a_writer(tmp_path: Path) -> None:
    """Their names are in a list of its own, which the help text needs no writer for."""
    for name in EXPORT_FORMATS:
        directory = tmp_path / name
        directory.mkdir()
        assert exported([completed()], name, directory).exists()


@pytest.mark.guest
def test_btt_agrees_with_a_guest(tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = fio_command(rw="randrw", number_ios=500, fsync=20, ioengine="libaio", iodepth=8)
    run_guest(job, "constant:read=80us,write=20us,flush=300us", out=run)
    export(run, "blktrace", tmp_path / "out", disk=None, notify=pytest.fail)
    rows = [row for row in read_record(run) if row["operation"] != "flush"]
    assert len(rows) >= 500
    check_btt(tmp_path, [row["delivery_ns"] - row["arrival_ns"] for row in rows])


def test_fio_replays_our_iolog(tmp_path: Path) -> None:
    rows = [
        completed(
            operation=(R, W, F)[number % 3],
            offset_bytes=4096 * number * (number % 3 < 2),
            length_bytes=4096 * (number % 3 < 2),
            arrival_ns=number * 1000,
        )
        for number in range(90)
    ]
    exported(rows, "fio-iolog", tmp_path)
    (tmp_path / "data").write_bytes(bytes(1 << 20))
    printed = subprocess.run(
        [
            *(require_tool("fio"), "--name=t", "--read_iolog=out", "--replay_redirect=data"),
            *("--replay_no_stall=1", "--output-format=json", "--ioengine=psync"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (job,) = json.loads(printed[printed.index("{") :])["jobs"]
    assert (job["error"], job["read"]["total_ios"], job["write"]["total_ios"]) == (0, 30, 30)
    assert job["read"]["io_bytes"] == 30 * 4096
    assert job["sync"]["total_ios"] == 30


def test_killed_run_can_be_exported_and_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream_of(tmp_path / "record", [MIXED])
    out = tmp_path / "out"
    assert export_command(tmp_path / "record", "blkparse", out) == 0
    assert len(read_trace(out)) == len(MIXED)
    assert capsys.readouterr().err.splitlines() == [
        f"freezingtime: {stream_path(tmp_path / 'record')}: the run was killed, or is still "
        f"running: read up to its last flush: {len(MIXED)} requests",
        f"freezingtime: wrote {out}",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("csv", "out", "vda"), "--disk vda: no such disk in DIR/record; available: data, log"),
        (
            ("blkparse", "out", None),
            "DIR/record: contains several disks; choose with --disk: data, log",
        ),
        (
            ("xml", "out", "data"),
            f"--format xml: unknown format; available: {', '.join(EXPORT_FORMATS)}",
        ),
        (
            ("csv", "record", None),
            "--out DIR/record: is the record itself; name another file",
        ),
        (
            ("csv", ".", None),
            "--out DIR: is not a regular file; name another file",
        ),
        (
            ("csv", "absent/out", None),
            "--out DIR/absent/out: no directory DIR/absent; create it first",
        ),
        (
            ("blktrace", "out", "log"),
            "log: the request at byte 100 is not a multiple of 512 bytes; this "
            "format counts in sectors; export it as csv",
        ),
        (
            ("blktrace", "out", "data"),
            "data: a request has 8589934592 bytes; this format is limited to less than 4 GiB; "
            "export it as blkparse",
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    arguments: tuple[str, str, str | None], message: str, tmp_path: Path
) -> None:
    rows = [completed(operation=D, length_bytes=1 << 33), completed(disk_index=1, offset_bytes=100)]
    record = write_record(tmp_path / "record", rows)
    before = record.read_bytes()
    format_name, out, disk = arguments
    with pytest.raises(InputError) as caught:
        export(record, format_name, tmp_path / out, disk=disk, notify=pytest.fail)
    assert str(caught.value).replace(str(tmp_path), "DIR") == message
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
    assert record.read_bytes() == before
