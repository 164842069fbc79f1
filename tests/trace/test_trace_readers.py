# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of all formats into columns, and what is said of malformed ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.host.file_formats import BLKTRACE, FORMATS, FileKind
from freezingtime.request import Operation
from freezingtime.trace.readers import HintOptions, Hints, Reading, Trace, parse_hints, read_trace
from freezingtime.trace.readers.fio.latency_log import read_latency_log
from freezingtime.trace.readers.read_latencies import read_latencies
from tests.conftest import require_tool

R, W, F, D = Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD


class Row(NamedTuple):
    arrival_ns: int
    operation: Operation
    offset_bytes: int
    length_bytes: int
    fua: bool = False


def rows(trace: Trace) -> list[Row]:
    columns = (
        trace.arrival_ns,
        trace.operation,
        trace.offset_bytes,
        trace.length_bytes,
        trace.fua,
    )
    return [
        Row(arrival, Operation(operation), offset, length, fua)
        for arrival, operation, offset, length, fua in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def read(tmp_path: Path, text: str, **options: Any) -> list[Row]:
    path = tmp_path / "trace"
    path.write_text(text, encoding="utf-8")
    return rows(read_trace(path, **options))


def told(tmp_path: Path, text: str, **options: Any) -> Reading:
    """What is said of how a trace was read."""
    readings: list[Reading] = []
    read(tmp_path, text, on_reading=readings.append, **options)
    (reading,) = readings
    return reading


def complaint(tmp_path: Path, text: str, **options: Any) -> str:
    """What is said of a malformed trace, without the directory."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


# Each: name, text, and the requests in it. Times start at the first arrival, but for our own.
GOOD = {
    "iolog": (
        "fio version 3 iolog\n"
        "20 /tmp/f add\n"
        "131 /tmp/f open\n"
        "135 /tmp/f read 61440 4096\n"
        "431 /tmp/f write 774144 8192\n"
        "557 /tmp/f sync 0 0\n"
        "618 /tmp/f trim 491520 4096\n"
        "701 /tmp/f close\n",
        [
            Row(0, R, 61440, 4096),
            Row(296_000, W, 774144, 8192),
            Row(422_000, F, 0, 0),
            Row(483_000, D, 491520, 4096),
        ],
    ),
    "blkparse": (
        "Input file sda.blktrace.0 added\n"
        "  8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]\n"
        "  8,0    3        2     0.000001829   697  G   W 223490 + 8 [kjournald]\n"
        "  8,0    3        6     0.000009000   697  D  WS 223490 + 8 [kjournald]\n"
        "  8,0    1        0     0.000009100     0  m   N cfq697 insert_request\n"
        "  8,0    3        7     0.001009000   697  D RSM 100 + 16 [cat]\n"
        "  8,0    3        8     0.001109000     0  C   W 223490 + 8 [0]\n"
        "  8,0    3        9     0.002009000     0  D  FF [kworker]\n"
        "  8,0    3       10     0.003009000     0  D WFS 8 + 8 [jbd2/sda1]\n"
        "  8,0    3       11     0.004009000     0  D  DS 1024 + 2048 [fstrim]\n"
        "  8,0    3       12     0.005009000     0  D   R 36 (12 00 00 00 24 00 ..) [hdparm]\n"
        "CPU3 (sda):\n"
        " Reads Queued:           1,        8KiB\t Writes Queued:           1,        4KiB\n",
        [
            Row(0, W, 223490 * 512, 4096),
            Row(1_000_000, R, 51200, 8192),
            Row(2_000_000, F, 0, 0),
            Row(3_000_000, W, 4096, 4096, True),
            Row(4_000_000, D, 524288, 1 << 20),
        ],
    ),
    "msr": (
        "128166372003061629,hm,0,Read,383496192,32768,413\n"
        "128166372003061639,hm,0,Write,2822144,65536,1288\n",
        [Row(0, R, 383496192, 32768), Row(1000, W, 2822144, 65536)],
    ),
    "csv": (
        "Timestamp,Response,IOType,LUN,Offset,Size\n"
        "1456470000.000000,0.0001,R,3,4096,8192\n"
        "1456470000.000250,,W,3,8192,512\n",
        [Row(0, R, 4096, 8192), Row(250_000, W, 8192, 512)],
    ),
    "mqsim": (
        "1000 0 16 8 1\n4096 0 800 16 0\n",
        [Row(0, R, 8192, 4096), Row(3096, W, 409600, 8192)],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_format_is_read_and_found_by_its_content(name: str, tmp_path: Path) -> None:
    text, expected = GOOD[name]
    assert read(tmp_path, text) == expected
    assert read(tmp_path, text, format_name=name) == expected


def test_blkparse_queue_takes_what_was_queued(tmp_path: Path) -> None:
    text, _ = GOOD["blkparse"]
    assert read(tmp_path, text, format_name="blkparse-queue") == [Row(0, W, 223490 * 512, 4096)]


def test_blkparse_flush_before_a_write_is_a_request_of_its_own(tmp_path: Path) -> None:
    lines = (
        "8,0 3 1 1.000000000 697 Q FWFS 80 + 8 [jbd2/sda1]\n"
        "8,0 3 2 1.000000005 697 Q FWS [jbd2/sda1]\n"
        "8,0 3 3 1.000000006 697 Q FWS 0 + 0 [jbd2/sda1]\n"
    )
    assert read(tmp_path, lines, format_name="blkparse-queue") == [
        Row(0, F, 0, 0),
        Row(0, W, 40960, 4096, True),
        Row(5, F, 0, 0),
        Row(6, F, 0, 0),
    ]


def test_iolog_2_has_the_times_of_its_waits(tmp_path: Path) -> None:
    text = (
        "fio version 2 iolog\n/f add\n/f open\n/f read 0 4096\n/f wait 250 0\n"
        "/f write 4096 4096\n/f datasync\n/f wait 350 0\n/f trim 0 512\n/f close\n"
    )
    assert read(tmp_path, text) == [
        Row(0, R, 0, 4096),
        Row(250_000_000, W, 4096, 4096),
        Row(250_000_000, F, 0, 0),
        Row(350_000_000, D, 0, 512),
    ]


def test_trace_without_times_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("fio version 2 iolog\n/f read 0 4096\n/f read 4096 4096\n")
    assert not read_trace(path).has_arrival_times
    path.write_text("fio version 2 iolog\n/f read 0 4096\n/f wait 1 0\n/f read 4096 4096\n")
    assert read_trace(path).has_arrival_times


def test_what_fio_writes_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    subprocess.run(
        [
            *(require_tool("fio"), "--name=t", f"--filename={tmp_path}/data", "--size=1m"),
            *("--bs=4k", "--rw=randrw", "--number_ios=20", f"--write_iolog={log}"),
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    trace = read_trace(log)
    assert len(trace) == 20
    assert set(trace.operation.tolist()) == {R, W}
    assert set(trace.length_bytes.tolist()) == {4096}
    assert trace.end_bytes <= 1 << 20
    assert trace.has_arrival_times


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("timestamp_us,op,offset,length,disk", "7.25,w,512,1024,x"),
        ("volume,opcode,LBA,sectors,timestamp-ns", "x,WRITE,1,2,7250"),
        ('"Time","RW","Offset Bytes","Size"', '0.00000725,1,"512",1024'),
        ("filetime,type,offset,size", "72,Write,512,1024"),
    ],
)
def test_csv_columns_go_by_their_names(header: str, line: str, tmp_path: Path) -> None:
    hints = Hints(read_code="0")
    first = line.replace("7.25", "0").replace("7250", "0").replace("0.00000725", "0")
    text = f"{first.replace('72,', '0,')}\n{line}\n"
    expected_ns = 7200 if header.startswith("filetime") else 7250
    expected = [Row(0, W, 512, 1024), Row(expected_ns, W, 512, 1024)]
    assert read(tmp_path, f"{header}\n{text}", hints=hints) == expected
    assert read(tmp_path, text, format_name=f"csv:{header}", hints=hints) == expected


def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path) -> None:
    text, expected = GOOD["msr"]
    path = tmp_path / "trace.csv"
    path.write_bytes(gzip.compress(text.encode()))
    assert rows(read_trace(path)) == expected


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("in")
        archive.writestr("in/trace.csv", data)
    return packed.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": _zipped,
    "two gzip": lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:]),
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "utf-16-le": lambda data: data.decode().encode("utf-16-le"),
    "utf-16-be": lambda data: data.decode().encode("utf-16-be"),
    "utf-16 in xz": lambda data: lzma.compress(data.decode().encode("utf-16")),
    "utf-8-sig": lambda data: b"\xef\xbb\xbf" + data,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_text_is_unpacked_and_decoded_whatever_the_name(packer: str, tmp_path: Path) -> None:
    text, expected = GOOD["csv"]
    path = tmp_path / "trace.csv"
    path.write_bytes(PACKERS[packer](text.encode()))
    assert rows(read_trace(path)) == expected


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2", "zstd", "zip"])
def test_damage_of_what_is_packed_is_an_error(packer: str, tmp_path: Path) -> None:
    text = "".join(f"{n * 7919 % 99991},hm,0,Read,{n * 512},512,1\n" for n in range(5000))
    packed = PACKERS[packer](text.encode())
    path = tmp_path / "trace"
    half = len(packed) // 2
    path.write_bytes(packed[:half])
    with pytest.raises(InputError, match=r"trace: .*; name a readable trace"):
        read_trace(path)
    # What a checksum at the end would tell may show in a line before.
    path.write_bytes(packed[:half] + bytes(64) + packed[half + 64 :])
    with pytest.raises(InputError, match=r"trace:"):
        read_trace(path)


def test_zip_of_several_files_is_a_question(tmp_path: Path) -> None:
    path = tmp_path / "traces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    with pytest.raises(InputError, match=f"is a zip archive of 2 files; .*'unzip {path}' and name"):
        read_trace(path)


@pytest.mark.parametrize("read_it", [read_trace, read_latencies])
def test_foreign_files_are_named_with_their_cure(
    read_it: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "trace.dat"
    for known in FORMATS:
        if known.offset_bytes < 0 or known.kind is FileKind.COMPRESSED or known is BLKTRACE:
            continue
        path.write_bytes((bytes(known.offset_bytes) + known.magic).ljust(4096, b"\0"))
        cure = known.command(path)
        expected = f"is {known.name}, not text; convert it with '{cure}'"
        with pytest.raises(InputError, match=re.escape(f"{path}: {expected}")):
            read_it(path)


def test_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_bytes(gzip.compress(GOOD["msr"][0].encode() * 1000)[:-20])
    with pytest.raises(InputError, match=r"trace\.gz: is damaged: .*; name a readable trace"):
        read_trace(path)


def test_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(GOOD["mqsim"][0],))
    writer.start()
    assert rows(read_trace(pipe)) == GOOD["mqsim"][1]
    writer.join()


def test_disk_is_chosen_by_name(tmp_path: Path) -> None:
    text = "0 0 16 8 1\n5000 1 0 8 0\n9000 0 24 8 0\n"
    assert read(tmp_path, text, disk="0") == [Row(0, R, 8192, 4096), Row(9000, W, 12288, 4096)]
    assert read(tmp_path, text, disk="1") == [Row(0, W, 0, 4096)]
    assert complaint(tmp_path, text) == (
        "trace: has 2 disks; choose with --trace-disk: 0 (2 requests), 1 (1 requests)"
    )
    assert complaint(tmp_path, text, disk="2") == (
        "--trace-disk 2: no such disk in trace; available: 0 (2 requests), 1 (1 requests)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "1,hm,0,Read,0,512,1\n\n1,hm,0,Read,0,0,1\n",
            "trace:3: Size '0': must be a whole number from 1 to 8589934592",
        ),
        (
            "1,hm,0,Read,0,512,1\n2,hm,0,Read,0\n",
            "trace:2: line '2,hm,0,Read,0': must have 7 fields: "
            "Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime",
        ),
        (
            "1,hm,0,Read,0,512,1\n2,hm,0,Read,9223372036854775807,512,1\n",
            "trace:2: Offset '9223372036854775807': "
            "the request must end before byte 9223372036854775807",
        ),
        (
            "Timestamp,Type,Offset,Size,fua\n0,R,0,512,maybe\n",
            "trace:2: fua 'maybe': must be 0 or 1",
        ),
        (
            "Timestamp,Type,Offset,Size\n",
            "trace: contains no requests; name another trace or --format",
        ),
        ("", "trace: is empty; name another trace"),
        (
            "fio version 3 iolog\n1 /f seek 1 1\n",
            "trace:2: action 'seek': must be one of: read, write, trim, sync, datasync",
        ),
        (
            "fio version 3 iolog\n/f read 0 4096\n",
            "trace:2: timestamp '/f': must be a whole number from 0 to 9223372036854775807",
        ),
        (
            "fio version 2 iolog\n/f read 0\n",
            "trace:2: line '/f read 0': must have 4 fields: filename action offset length",
        ),
        (
            "8,0 3 1 0.0 697 D W 223490 + [x]\n",
            "trace:1: count '[x]': must be a whole number from 1 to 16777216",
        ),
        (
            "8,0 3 1 0.0 697 D W 223490\n",
            "trace:1: range '223490': must be SECTOR + COUNT",
        ),
        (
            "8,0 3 1 0.0 697 D XY 0 + 8 [x]\n",
            "trace:1: RWBS 'XY': must be made of F, R, W, D, N, A, S, M and B",
        ),
        (
            "8,0 3 1 0.0 697 Q W 0 + 8 [x]\n8,0 3 1 0.0\n",
            "trace:2: line '8,0 3 1 0.0': must begin with: device cpu sequence seconds pid "
            "action RWBS",
        ),
        (
            "8,0 3 1 0.0 697 Q W 0 + 8 [x]\nnonsense\n",
            "trace:2: device 'nonsense': must be MAJOR,MINOR, such as 8,0",
        ),
        (
            "1,hm,0,Read,0,512,1\n2,hm,0,Wrote,0,512,1\n",
            "trace:2: Type 'Wrote': must be one of: Read, Write",
        ),
        (
            "1,hm,0,Read,0,512,1\n2,hm,0,Read,0x10,512,1\n",
            "trace:2: Offset '0x10': must be a whole number from 0 to 9223372036854775807",
        ),
        (
            "Timestamp,Type,Offset,Size\n1e9,R,0,512\n",
            "trace:2: Timestamp '1e9': must be a decimal number, such as 12 or 12.000345",
        ),
        ("0 0 16 8 1\n0 0 16 8 2\n", "trace:2: type '2': must be one of: 0, 1"),
        (
            "0 0 16 8 1\n0 0 16 x 1\n",
            "trace:2: size 'x': must be a whole number from 1 to 16777216",
        ),
        (
            "1,hm,0,Read,0,512,1\n99999999999999999999,hm,0,Read,0,512,1\n",
            "trace:2: Timestamp '99999999999999999999': "
            "must be a whole number from 0 to 9223372036854775807",
        ),
        (
            "Timestamp,Type,Offset,Size\n0,R,0,512\n99999999999,R,0,512\n",
            "trace:3: time '99999999999000000000': too far from the first request's",
        ),
    ],
)
def test_malformed_line_is_named(text: str, expected: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, text) == expected


# Each: what a file has as times, the unit that must be taken, and what of that is said.
TIME_UNITS_FOUND = [
    ("time", "1764361234", "1764361235", 10**9, "time in s, inferred from its size"),
    ("time", "1764361234123", "1764361234124", 10**6, "time in ms, inferred from its size"),
    ("timestamp", "1600000000000000", "1600000000000001", 10**3, "timestamp in us, inferred"),
    ("ts", "1764361234123456789", "1764361234123456790", 1, "ts in ns, inferred from its size"),
    ("Timestamp", "128166372003061629", "128166372003061630", 100, "Timestamp in 100ns, inferred"),
    ("time", "12.5", "13.5", 10**9, "time in s, assumed without a unit (--time-unit)"),
    ("Time (us)", "7", "8", 10**3, ""),
    ("time_sec", "7", "8", 10**9, ""),
    ("Times", "1764361234123", "1764361234124", 10**6, "Times in ms, inferred from its size"),
]


@pytest.mark.parametrize(("name", "first", "second", "unit_ns", "says"), TIME_UNITS_FOUND)
def test_unit_of_times_is_found_and_said(
    name: str, first: str, second: str, unit_ns: int, says: str, tmp_path: Path
) -> None:
    text = f"{name},op,offset,size\n{first},R,0,512\n{second},R,0,512\n"
    assert [row.arrival_ns for row in read(tmp_path, text)] == [0, unit_ns]
    assert says in told(tmp_path, text).summary


def test_unit_of_times_can_be_said(tmp_path: Path) -> None:
    text = "time,op,offset,size\n0,R,0,512\n1000,R,0,512\n"
    assert complaint(tmp_path, text) == (
        "trace: has a request every 1000 s, if its times are in s; give their "
        "unit with --time-unit: s, ms, us, 100ns, ns"
    )
    for unit, unit_ns in {"s": 10**9, "ms": 10**6, "us": 10**3, "100ns": 100, "ns": 1}.items():
        hints = parse_hints(HintOptions(time_unit=unit))
        assert read(tmp_path, text, hints=hints)[1].arrival_ns == 1000 * unit_ns
        assert f"time in {unit}, as given" in told(tmp_path, text, hints=hints).summary
    with pytest.raises(InputError, match="--time-unit h: must be one of: s, ms, us, 100ns, ns"):
        parse_hints(HintOptions(time_unit="h"))


def test_unit_in_a_name_is_held_to_the_times(tmp_path: Path) -> None:
    text = "timestamp_ms,op,offset,size\n1600000000000000,R,0,512\n"
    assert complaint(tmp_path, text) == (
        "trace:2: timestamp_ms '1600000000000000': is a present-day time in us, not in ms; "
        "rename the column to its unit"
    )
    far = "timestamp_s,op,offset,size\n0,R,0,512\n200000,R,0,512\n"
    assert complaint(tmp_path, far).startswith("trace: has a request every 2.315 days, by")


def test_codes_of_operations_are_asked_for(tmp_path: Path) -> None:
    text = "time_us,op,offset,size\n0,2,0,512\n1,7,0,512\n2,2,0,512\n"
    assert complaint(tmp_path, text) == (
        "trace:2: op '2': is a code; give the one for reads: --read-code 0 or 1"
    )
    hints = parse_hints(HintOptions(read_code="2"))
    assert [row.operation for row in read(tmp_path, text, hints=hints)] == [R, W, R]
    assert "op 7 writes" in told(tmp_path, text, hints=hints).summary
    assert complaint(tmp_path, f"{text}3,1,0,512\n", hints=hints) == (
        "trace:5: op '1': is a third code beside 2 for reads and 7; write words, such as read, "
        "write, flush, discard"
    )
    one_kind = "time_us,op,offset,size\n0,7,0,512\n"
    assert told(tmp_path, one_kind, hints=hints).notes == (
        "no request has the read code 2: all are writes",
    )


def test_sizes_that_can_only_be_sectors_are_refused(tmp_path: Path) -> None:
    text = "time_us,op,offset,size\n0,R,5000,8\n"
    assert complaint(tmp_path, text).startswith(
        "trace: size: the longest request has 8 bytes, less than a sector; if they are sectors, "
    )
    assert read(tmp_path, text.replace("size", "size_bytes")) == [Row(0, R, 5000, 8)]


def test_of_a_tracers_events_one_is_taken(tmp_path: Path) -> None:
    header = "time_s,action,rwbs,sector,sectors\n"
    queued = "0.000001,Q,FWFS,8,8\n0.000002,G,WS,8,8\n"
    assert read(tmp_path, header + queued) == [Row(0, F, 0, 0), Row(0, W, 4096, 4096, True)]
    issued = f"{header}{queued}0.000009,D,WS,8,8\n0.000010,D,N,0,0\n"
    assert read(tmp_path, issued) == [Row(0, W, 4096, 4096)]
    assert set(told(tmp_path, issued).notes) == {
        "left out 1 lines with action Q; only D is used",
        "left out 1 lines with action G; only D is used",
        "left out 1 lines that move no blocks",
    }
    assert complaint(tmp_path, f"{header}0.1,C,R,8,8\n").startswith(
        "trace: action: neither D (issued) nor Q (queued) among C; "
    )
    assert read(tmp_path, "time_s,action,lba,sectors\n0,read,8,8\n") == [Row(0, R, 4096, 4096)]


def test_columns_that_are_passed_over_are_named(tmp_path: Path) -> None:
    assert "; columns ignored: Response; " in told(tmp_path, GOOD["csv"][0]).summary


def test_disksim_is_told_from_mqsim_by_decimals_or_pace(tmp_path: Path) -> None:
    assert [row.arrival_ns for row in read(tmp_path, "0 0 16 8 1\n999 0 16 8 1\n")] == [
        0,
        999_000_000,
    ]
    assert [row.arrival_ns for row in read(tmp_path, "0 0 16 8 1\n1000 0 16 8 1\n")] == [0, 1000]
    decimals = "0.5 0 16 8 0\n5000.5 0 16 8 11\n"
    assert read(tmp_path, decimals) == [Row(0, W, 8192, 4096), Row(5 * 10**9, R, 8192, 4096)]
    assert "arrival in ms, DiskSim's" in told(tmp_path, decimals).summary
    as_ns = told(tmp_path, "0 0 16 8 1\n999 0 16 8 1\n", format_name="mqsim")
    assert (as_ns.span_ns, as_ns.format_name) == (999, "mqsim")


# Each: times in us, what they are taken for, and what of that is said.
TIMES_THAT_GO_BACK = {
    "once more": ([0, 10, 20, 0, 10, 20, 30], [0, 10, 20, 30, 40, 50, 60], "2 traces in succ"),
    "thrice": (
        [5, 15, 25, 5, 15, 25, 6, 16, 26],
        [0, 10, 20, 30, 40, 50, 60, 70, 80],
        "3 traces in succession",
    ),
    "in order of completion": (
        [10, 20, 30, 0, 40, 50, 60],
        [0, 10, 20, 30, 40, 50, 60],
        "sorted by time: 1 requests came after later ones, by up to 30 us",
    ),
    "disorder": ([0, 20, 10, 30], [0, 10, 20, 30], "1 requests came after later ones, by up to"),
    "elsewhere": ([100, 120, 10, 20, 30], [0, 10, 20, 90, 110], "sorted by time: 3 requests"),
    "wraps": (
        [2**32 - 20, 2**32 - 10, 0, 10, 5],
        [0, 10, 20, 25, 30],
        "a clock of 32 bits of us wraps once: time continues there",
    ),
    "disorder at the wrap": (
        [2**32 - 20, 0, 2**32 - 10, 10],
        [0, 10, 20, 30],
        "a clock of 32 bits of us wraps",
    ),
}


@pytest.mark.parametrize("name", TIMES_THAT_GO_BACK)
def test_times_that_go_back_are_understood_and_said(name: str, tmp_path: Path) -> None:
    times_us, expected_us, says = TIMES_THAT_GO_BACK[name]
    text = "".join(["time_us,op,offset,size\n", *(f"{at},R,0,512\n" for at in times_us)])
    assert [row.arrival_ns for row in read(tmp_path, text)] == [1000 * at for at in expected_us]
    reading = told(tmp_path, text)
    assert any(says in note for note in reading.notes), reading.notes
    assert "in order of arrival" not in reading.summary


def test_reading_is_summed_up(tmp_path: Path) -> None:
    reading = told(tmp_path, GOOD["msr"][0])
    assert reading.summary == (
        f"{tmp_path}/trace: msr: 2 requests over 1 us, 2000000 per second; disk hm.0; "
        "in order of arrival"
    )


def test_unknown_content_and_unknown_format(tmp_path: Path) -> None:
    assert complaint(tmp_path, "hello world\n").startswith(
        "trace: unknown format, begins with 'hello world'; name one with --format: record, iolog, "
    )
    assert complaint(tmp_path, "x\n", format_name="xyz").startswith(
        "--format xyz: unknown format; available: record, iolog, "
    )
    assert complaint(tmp_path, "x\n", format_name="csv:time,offset,size").startswith(
        "--format csv:time,offset,size: has no operation column; its names are: iotype, "
    )
    assert complaint(tmp_path, "a,b\n", format_name="csv").startswith(
        "trace:1: header 'a,b': has no time column; its names are: "
    )
    assert complaint(tmp_path, "x\n", format_name="iolog") == (
        "trace:1: first line 'x': must be one of: fio version 2 iolog, fio version 3 iolog"
    )


def test_missing_file_and_endless_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory; name a readable trace"):
        read_trace(tmp_path / "absent")
    assert complaint(tmp_path, "x" * 70000) == (
        "trace: a line has more than 65536 characters; is it text?"
    )


def test_progress_reaches_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("0 0 16 8 1\n" * 40_000)
    told: list[tuple[int, int]] = []
    read_trace(path, progress=lambda done, total: told.append((done, total)))
    size_bytes = path.stat().st_size
    assert told[-1] == (size_bytes, size_bytes)
    assert len(told) >= 3
    assert told == sorted(told)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**61),
            st.sampled_from([W, R]),
            st.integers(0, 2**53),
            st.integers(1, 2**20),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_any_order_is_sorted_by_arrival(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[int, Operation, int, int]]
) -> None:
    # The last one comes first, which no appended trace and no clock that wraps begins with.
    requests = [(2**62 - 1, R, 0, 1), *requests]
    path = tmp_path_factory.mktemp("trace") / "trace"
    code = {W: 0, R: 1}
    path.write_text(
        "".join(f"{at} 0 {sector} {count} {code[op]}\n" for at, op, sector, count in requests)
    )
    trace = read_trace(path, format_name="mqsim", hints=parse_hints(HintOptions(time_unit="ns")))
    start_ns = min(at for at, *_ in requests)
    in_order = sorted(requests, key=lambda request: request[0])
    assert rows(trace) == [
        Row(at - start_ns, op, sector * 512, count * 512) for at, op, sector, count in in_order
    ]
    assert trace.arrival_ns.dtype == np.int64


# Each: what fio is told to log, and which of offset and priority is there then.
LATENCY_LOGS = {
    "": False,
    "--log_offset=1": True,
    "--log_prio=1": False,
    "--log_offset=1 --log_prio=1": True,
}


@pytest.mark.parametrize("options", LATENCY_LOGS)
@pytest.mark.parametrize("kind", ["lat", "clat", "slat"])
def test_latency_logs_that_fio_writes_are_read(kind: str, options: str, tmp_path: Path) -> None:
    printed = subprocess.run(
        [
            *(require_tool("fio"), "--name=t", "--filename=data", "--size=1m", "--bs=4k"),
            *("--rw=randrw", "--ioengine=libaio", "--write_lat_log=log", *options.split()),
            "--output-format=json",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    (job,) = json.loads(printed[printed.index("{") :])["jobs"]
    log = read_latency_log(tmp_path / f"log_{kind}.1.log")
    for operation, word in ((R, "read"), (W, "write")):
        logged_ns = log.latency_ns[log.operation == operation]
        assert len(logged_ns) == job[word]["total_ios"]
        assert logged_ns.mean() == pytest.approx(job[word][f"{kind}_ns"]["mean"], rel=1e-6)
    assert set(log.length_bytes.tolist()) == {4096}
    if LATENCY_LOGS[options]:
        assert log.offset_bytes is not None
        assert sorted(log.offset_bytes.tolist()) == list(range(0, 1 << 20, 4096))
    else:
        assert log.offset_bytes is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "log: contains no requests; name a fio latency log"),
        (
            "1, 2, 0, 4096, 0, 0\n1, 2, 0, 4096, 0\n",
            "log:2: line '1, 2, 0, 4096, 0': must have the same fields as all: "
            "time, value, direction, size, offset, priority, issue time",
        ),
        (
            "1, 2, 0\n",
            "log:1: line '1, 2, 0': must have the same fields as all: "
            "time, value, direction, size, offset, priority, issue time",
        ),
        ("1, 2, 7, 4096\n", "log:1: direction '7': must be one of: 0, 1, 2"),
        (
            "1, -2, 0, 4096\n",
            "log:1: value '-2': must be a whole number from 0 to 9223372036854774",
        ),
        (
            "1, 2, 0, 4096, 8192\n",
            "log:1: priority '8192': must be 0, 1 or 0x and four digits",
        ),
    ],
)
def test_malformed_latency_log_is_named(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_latency_log(path)
    assert str(caught.value).replace(f"{tmp_path}/", "") == expected
