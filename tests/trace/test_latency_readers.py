# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs of latencies of all kinds into columns, and what is said of what is none."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.emulator.loop import CompletedRequest
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers import HintOptions, parse_hints
from freezingtime.trace.readers.latencies import Latencies, likely_depth
from freezingtime.trace.readers.read_latencies import read_latencies
from freezingtime.trace.writers.export import export
from tests.conftest import require_tool
from tests.support.recordlib import requests, write_record

R, W, F, D = Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD


class Row(NamedTuple):
    operation: Operation
    length_bytes: int
    depth: int
    latency_ns: int


def rows(latencies: Latencies) -> list[Row]:
    columns = (
        latencies.operation,
        latencies.length_bytes,
        latencies.depth,
        latencies.latency_ns,
    )
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [Row(Operation(operation), *others) for operation, *others in values]


def read(tmp_path: Path, text: str, name: str = "log", **options: Any) -> list[Row]:
    (tmp_path / name).write_text(text)
    return rows(read_latencies(tmp_path / name, **options))


def complaint(tmp_path: Path, text: str, name: str = "log", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


BLKPARSE = (
    "  8,0    3        1     0.000000000   697  Q   W 8 + 8 [a]\n"
    "  8,0    3        2     0.000001000   697  D   W 8 + 8 [a]\n"
    "  8,0    3        3     0.000002000   697  D   R 64 + 16 [a]\n"
    "  8,0    3        4     0.000052000     0  C   R 64 + 16 [0]\n"
    "  8,0    3        5     0.000101000     0  C   W 8 + 8 [0]\n"
    "  8,0    3        6     0.000200000     0  D  FF [a]\n"
    "  8,0    3        7     0.001200000     0  C  FF 0 [0]\n"
    "  8,0    3        8     0.001300000     0  D   R 8 + 8 [a]\n"
    "  8,0    3        9     0.001400000     0  C   W 800 + 8 [0]\n"
)

# Each: name, text, and the requests in it.
GOOD = {
    "fio log": (
        "0, 80000, 0, 4096, 0\n80, 20000, 1, 8192, 0\n",
        [Row(R, 4096, 1, 80_000), Row(W, 8192, 1, 20_000)],
    ),
    "blkparse": (
        BLKPARSE,
        [Row(W, 4096, 1, 100_000), Row(R, 8192, 2, 50_000), Row(F, 0, 1, 1_000_000)],
    ),
    "SYSTOR": (
        "Timestamp,Response,IOType,LUN,Offset,Size\n"
        "1456470000.000000,0.0003,R,3,4096,8192\n"
        "1456470000.000200,0.0001,W,3,8192,512\n"
        "1456470000.000900,,W,3,8192,512\n",
        [Row(R, 8192, 1, 300_000), Row(W, 512, 2, 100_000)],
    ),
    "MSR": (
        "128166372003061629,hm,0,Read,383496192,32768,413\n"
        "128166372003061639,hm,0,Write,2822144,65536,1288\n",
        [Row(R, 32768, 1, 41_300), Row(W, 65536, 2, 128_800)],
    ),
    "plain CSV": (
        "op,size,latency_us,qd\nread,4096,81.5,4\nflush,0,1000,1\ntrim,65536,7,1\n",
        [Row(R, 4096, 4, 81_500), Row(F, 0, 1, 1_000_000), Row(D, 65536, 1, 7_000)],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_logs_are_read(name: str, tmp_path: Path) -> None:
    text, expected = GOOD[name]
    assert read(tmp_path, text) == expected
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert rows(read_latencies(packed)) == expected
    assert [row.depth for row in rows(read_latencies(packed, depth=8))] == [8] * len(expected)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text, *notes in (
        (
            BLKPARSE,
            "left out 1 requests whose completion is not in the trace",
            "left out 1 completions whose request is not in the trace",
        ),
        (GOOD["SYSTOR"][0], "left out 1 lines without a latency"),
        ("op,size,latency_us\nread,4096,80\n", "depth 1 is assumed"),
    ):
        path.write_text(text)
        found = read_latencies(path).notes
        assert len(found) == len(notes)
        assert all(note in said for note, said in zip(notes, found, strict=True))


@given(made=requests())
@settings(max_examples=25)
def test_a_record_and_its_exports_have_the_same_latencies(
    tmp_path_factory: pytest.TempPathFactory, made: list[CompletedRequest]
) -> None:
    """CSV and blkparse's text have all of it, and blkparse's depths are the requests' own."""
    directory = tmp_path_factory.mktemp("log")
    record = write_record(directory / "record", made)
    expected = sorted(
        (row.operation, row.length_bytes, row.delivery_ns - row.arrival_ns) for row in made
    )

    def seen(path: Path) -> list[tuple[Operation, int, int]]:
        read = rows(read_latencies(path))
        return sorted((row.operation, row.length_bytes, row.latency_ns) for row in read)

    assert seen(record) == expected
    as_csv = export(record, "csv", directory / "csv", disk=None, notify=pytest.fail)
    assert seen(as_csv) == expected
    # blkparse knows requests by their sector: of two at one, which completed is not known.
    places = [(row.operation, row.offset_bytes) for row in made]
    if len(set(places)) == len(places):
        text = export(record, "blkparse", directory / "text", disk=None, notify=pytest.fail)
        zeros = {Operation.WRITE_ZEROES: W}
        plain = sorted((zeros.get(what, what), *others) for what, *others in expected)
        assert seen(text) == plain
        order = sorted(made, key=lambda row: row.arrival_ns)
        depths = read_latencies(text).depth
        for place, row in enumerate(order):
            later = [other for other in order[: place + 1] if other.delivery_ns > row.arrival_ns]
            assert depths[place] == max(1, len(later)) or _is_tied(order, place)


def _is_tied(order: list[CompletedRequest], place: int) -> bool:
    """Whether others arrive at the same instant, so that the order among them is open."""
    return [row.arrival_ns for row in order].count(order[place].arrival_ns) > 1


@given(text=st.text(max_size=200))
@settings(max_examples=100)
def test_no_text_is_misread_or_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(InputError):
        assert len(read_latencies(path))


@given(depth=st.integers(1, 1024), busy=st.floats(0.85, 1.0))
def test_powers_of_two_are_found_from_the_mean_in_flight(depth: int, busy: float) -> None:
    power = 1 << (depth.bit_length() - 1)
    assert likely_depth(power * busy) == power


def test_a_real_fio_log_and_its_json_say_the_same(tmp_path: Path) -> None:
    """Two requests in flight; the JSON's histogram is within its bins of the log."""
    subprocess.run(
        [
            *(require_tool("fio"), "--name=t", "--filename=data", "--size=4m", "--bs=4k"),
            *("--rw=randrw", "--ioengine=null", "--number_ios=4000", "--write_lat_log=log"),
            *("--io_size=1g", "--norandommap", "--output-format=json+", "--output=out.json"),
        ],
        check=True,
        cwd=tmp_path,
    )
    (job,) = json.loads((tmp_path / "out.json").read_text())["jobs"]
    log = read_latencies(tmp_path / "log_clat.1.log")
    histogram = read_latencies(tmp_path / "out.json")
    for operation, word in ((R, "read"), (W, "write")):
        logged = log.latency_ns[log.operation == operation]
        counted = histogram.latency_ns[histogram.operation == operation]
        assert len(logged) == len(counted) == job[word]["total_ios"]
        assert counted.mean() == pytest.approx(logged.mean(), rel=0.01)
    assert set(histogram.length_bytes.tolist()) == {4096}
    assert log.is_ordered.all()
    assert not histogram.is_ordered.any()


#: More than a reader takes at once of a pipe.
_MANY = 6_000


@pytest.mark.parametrize(
    ("kind", "is_packed"),
    [("fio-log", False), ("fio-log", True), ("fio-json", False), ("csv", False)],
)
def test_nothing_of_a_pipe_is_lost(kind: str, is_packed: bool, tmp_path: Path) -> None:
    text = {
        "fio-log": "".join(f"{n}, {1000 * n + 1}, 0, 4096, 0\n" for n in range(_MANY)),
        # In one line, longer than one of a text may be.
        "fio-json": "\n"
        + fio_json(total_ios=_MANY, clat_ns={"bins": {str(1000 + n): 1 for n in range(_MANY)}}),
        "csv": "op,size,latency_ns\n" + "".join(f"read,4096,{n}\n" for n in range(_MANY)),
    }[kind]
    log = tmp_path / "log"
    log.write_bytes(gzip.compress(text.encode()) if is_packed else text.encode())
    with subprocess.Popen(["cat", log], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        piped = rows(read_latencies(Path(f"/dev/fd/{writer.stdout.fileno()}"), depth=1))
    assert piped == rows(read_latencies(log, depth=1))
    assert len(piped) == _MANY


def fio_json(**direction: Any) -> str:
    table = {"total_ios": 1000, "io_bytes": 4096000, "runtime": 100, **direction}
    return json.dumps({"fio version": "fio-3.33", "jobs": [{"read": table}]})


def test_percentiles_are_joined_by_lines(tmp_path: Path) -> None:
    percentiles = {"50.000000": 100_000, "90.000000": 200_000}
    found = read(
        tmp_path,
        fio_json(
            lat_ns={"mean": 400_000.0},
            clat_ns={"min": 50_000, "max": 300_000, "N": 1000, "percentile": percentiles},
        ),
    )
    times = np.array([row.latency_ns for row in found])
    assert {row[:3] for row in found} == {(R, 4096, 4)}
    assert len(found) == 1000
    for share, time_ns in ((0.0, 50_000), (0.25, 75_000), (0.5, 100_000), (0.95, 250_000)):
        assert np.quantile(times, share) == pytest.approx(time_ns, abs=500)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "log: has no latencies: it is empty; available: "),
        ("hello\n", "log: has no latencies: it begins with 'hello'; available: "),
        ("fio version 3 iolog\n", "log: has no latencies: it begins with 'fio version 3 iolog'"),
        ("op,size,latency\nread,4096\n", "log:2: line 'read,4096': must have 3 fields"),
        ("op,size,latency_us\nread,4096,-1\n", "log:2: latency_us '-1': must be a decimal number"),
        ("op,size,latency_us\nread,0,1\n", "log:2: size '0': must be a whole number from 1"),
        ("op,size,latency_us,qd\nread,512,1,0\n", "log:2: qd '0': must be a whole number from 1"),
        (
            "op,size,latency,disk\nread,512,1,a\nread,512,1,b\n",
            "log: has several disks; choose with --trace-disk: a, b",
        ),
        ("{}", "log: is not fio's JSON: it has no 'fio version'"),
        ("{", "log: is not JSON: "),
        (fio_json(), "log: jobs[0].read: has neither bins nor percentiles"),
        (
            fio_json(total_ios="x"),
            "log: jobs[0].read: total_ios: 'x': must be a non-negative number",
        ),
        (fio_json(clat_ns={"bins": {"a": 1}}), "log: jobs[0].read.clat_ns.bins: must be a table"),
        (BLKPARSE.replace("C", "m").replace("D", "m"), "log: contains no request with a latency"),
    ],
)
def test_what_is_wrong_is_named(text: str, expected: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, text).startswith(expected)


def test_a_disk_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = complaint(tmp_path, BLKPARSE, disk="9,9")
    assert found == "--trace-disk 9,9: no such disk in log; available: 8,0"
    assert len(read(tmp_path, BLKPARSE, disk="8,0")) == 3


def test_latencies_in_an_assumed_unit_are_said_or_refused(tmp_path: Path) -> None:
    text = "op,size,latency,depth\nR,4096,100,1\nR,4096,120,1\n"
    assert complaint(tmp_path, text) == (
        "log: latency: in seconds, the mean request takes 110 s; give the unit with "
        "--time-unit ms, us or ns"
    )
    hints = parse_hints(HintOptions(time_unit="us"))
    assert [row.latency_ns for row in read(tmp_path, text, hints=hints)] == [100_000, 120_000]
    (tmp_path / "log").write_text(text.replace("100", "0.1").replace("120", "0.12"))
    assert "latency in s, assumed without a unit (--time-unit)" in (
        read_latencies(tmp_path / "log").facts
    )
    coded = "op;size;latency_us;depth\n1;4k;100;1\n0;4k;120;1\n"
    assert complaint(tmp_path, coded) == (
        "log:2: op '1': is a code; give the one for reads: --read-code 0 or 1"
    )
    assert read(tmp_path, coded, hints=parse_hints(HintOptions(read_code="1"))) == [
        Row(R, 4096, 1, 100_000),
        Row(W, 4096, 1, 120_000),
    ]
