# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of all formats into columns, and what is said of malformed ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers import HintOptions, Hints, parse_hints, read_trace
from tests.conftest import require_tool
from tests.trace.readerlib import GOOD, D, F, R, Row, W, complaint, read, rows, told


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


def test_disk_is_chosen_by_name(tmp_path: Path) -> None:
    text = "0 0 16 8 1\n5000 1 0 8 0\n9000 0 24 8 0\n"
    assert read(tmp_path, text, disk="0") == [Row(0, R, 8192, 4096), Row(9000, W, 12288, 4096)]
    assert read(tmp_path, text, disk="1") == [Row(0, W, 0, 4096)]
    assert complaint(tmp_path, text) == (
        "trace: has 2 disks; choose with --trace-disk: 0 (2 requests), 1 (1 request)"
    )
    assert complaint(tmp_path, text, disk="2") == (
        "--trace-disk 2: no such disk in trace; available: 0 (2 requests), 1 (1 request)"
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
