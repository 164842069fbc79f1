# SPDX-License-Identifier: GPL-2.0-or-later
"""Small files that were read wrongly once, each with what it must give (``cases/README.md``).

One row for each file and way to read it. ``make cases`` runs these alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from freezingtime.calibrate.fit.sources import read_sources
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers import Reading, parse_hints, read_trace
from tests.conftest import RunProgram

CASES = Path(__file__).parents[1] / "cases"

MS = 10**6
R, W = Operation.READ, Operation.WRITE


@dataclass(frozen=True)
class Hinted:
    """The options of a command that reads a file."""

    format_name: str | None = None
    disk: str | None = None
    time_unit: str | None = None
    read_code: str | None = None


@dataclass(frozen=True)
class Replays:
    """A trace of so many requests over so long, and what else is said of it."""

    requests: int
    span_ns: int | None
    says: str = ""
    operations: str = ""
    """An R or W for each request, if it matters."""
    length_bytes: int | None = None
    """Of the first request, if it matters."""
    options: Hinted = field(default_factory=Hinted)


@dataclass(frozen=True)
class Fits:
    """Latencies: their mean by operation, one depth, and what else is said."""

    mean_ns: Mapping[Operation, float]
    depth: int | None
    """Of all requests; None: it does not matter."""
    says: str = ""
    requests: int | None = None
    options: Hinted = field(default_factory=Hinted)


@dataclass(frozen=True)
class Refused:
    """A question, or a reason with the cure, to ``replay`` or ``fit``."""

    command: str
    says: str
    options: Hinted = field(default_factory=Hinted)


ROWS: list[tuple[str, Replays | Fits | Refused]] = [
    ("qd1", Fits({R: 100_000}, depth=1)),
    ("iodepth4", Fits({R: 400_000}, depth=4)),
    ("numjobs4", Fits({R: 400_000}, depth=4, requests=8000, says="4 concurrent jobs")),
    ("issue_clat.1.log", Fits({R: 100_000}, depth=1)),
    ("fio2x_lat.1.log", Refused("fit", "--time-unit us .* or ns")),
    ("fio2x_lat.1.log", Fits({R: 103_000}, depth=1, options=Hinted(time_unit="us"))),
    ("avgqd_lat.1.log", Refused("fit", "all sizes are 0: averages over time")),
    ("renamed_bw.log", Refused("fit", "by its name is a bw log")),
    (
        "disksim-int.trace",
        Replays(4, 30 * MS, "133.3 per second.*arrival in ms, DiskSim's", operations="RWRR"),
    ),
    ("disksim-dec.trace", Replays(3, 20_500_000, operations="RWR", length_bytes=4096)),
    (
        "ioda.csv",
        Replays(
            *(4, 1500 * MS, "op 0 writes", "RRRW", 4096),
            options=Hinted("csv:time,disk,offset,size,op", read_code="1"),
        ),
    ),
    (
        "ioda.csv",
        Refused(
            "replay",
            r"ioda.csv:1: op '1': is a code; give the one for reads: --read-code",
            Hinted("csv:time,disk,offset,size,op"),
        ),
    ),
    ("ali.csv", Refused("replay", r"choose with --trace-disk: 0 \(3 requests\), 1 \(2 req")),
    ("ali.csv", Replays(3, 280_000, "disk 0 of 2", "WWW", 4096, Hinted(disk="0"))),
    ("cbs.csv", Replays(3, 4000 * MS, "disk 11 of 2", "RRR", 4096, Hinted(disk="11"))),
    ("cbs.csv", Replays(3, 4000 * MS, "iotype 1 writes", "WWW", 4096, Hinted(disk="12"))),
    ("spc.spc", Refused("replay", r"has 3 disks; choose with --trace-disk: 0 .*, 1 .*, 2 ")),
    ("spc.spc", Replays(3, 12 * MS, "disk 1 of 3", "WRW", 8192, Hinted(disk="1"))),
    ("epoch-ms.csv", Replays(2, 100 * MS, "time in ms, inferred from its size")),
    ("cat-two.csv", Replays(6, 5 * MS, "read as 2 traces in succession", "RRRWWW")),
    ("wrap32.csv", Replays(4, 3 * MS, "a clock of 32 bits of us wraps once", "RRRR")),
    ("blkparse-f.csv", Replays(1, None, "left out 1 lines with action Q; only D", "R", 4096)),
    (
        "blkparse-f.csv",
        Replays(
            1, None, "lines with action C", "R", 4096, Hinted("csv:time,action,rwbs,sector,sectors")
        ),
    ),
    ("t-semi.csv", Replays(4, 400_000, operations="RRWR", length_bytes=4096)),
    ("t-tab.tsv", Replays(4, 400_000, operations="RRWR", length_bytes=4096)),
    ("t-hex.csv", Replays(2, 5_000, operations="RR", length_bytes=4096)),
    ("t.csv.xz", Replays(4, 400_000, operations="RRWR", length_bytes=4096)),
    ("t.csv.zst", Replays(4, 400_000, operations="RRWR", length_bytes=4096)),
    ("t-comment.csv", Replays(1, None, operations="R", length_bytes=4096)),
    ("blkparse-clean.txt", Fits({R: 100_000, W: 20_000}, depth=1, requests=600)),
    (
        "blkparse-lost-c.txt",
        Fits(
            {R: 100_000, W: 20_000},
            depth=1,
            requests=599,
            says="left out 1 requests whose completion is not in the trace",
        ),
    ),
    (
        "blkparse-requeue.txt",
        Fits(
            {R: (299 * 100_000 + 80_000) / 300, W: 20_000},
            depth=1,
            requests=600,
            says="1 request requeued .* counted from the last issue",
        ),
    ),
    ("blkparse-requeue.txt", Replays(600, 2_991_000_000, says="counted from the first issue")),
    ("blk-partial.txt", Fits({R: 100_000}, depth=1, requests=200, says="partial completion")),
    ("blkparse-two.txt", Replays(10, 9_000_000, says="2 captures in one file")),
    ("blkparse-trunc.txt", Replays(5, 4_000_000, says="its last line is truncated")),
    ("biosnoop.txt", Fits({R: 100_000, W: 600_000}, depth=None, requests=4)),
    ("biosnoop.txt", Replays(4, 1_500_000, operations="RWWR")),
    ("ftrace.txt", Fits({R: 100_000}, depth=1, requests=1)),
    ("ftrace.txt", Replays(1, None)),
    ("fiu.blkparse", Replays(8, 22_400_000, says="fiu: .*disk 8,1")),
    ("iolog2-wait.log", Replays(4, 3_000_000_000, says="as fio replays them")),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(name, expected, id=f"{name}-{number}")
        for number, (name, expected) in enumerate(ROWS)
    ],
)
def test_case(name: str, expected: Replays | Fits | Refused) -> None:
    told: list[str] = []
    if isinstance(expected, Refused):
        with pytest.raises(InputError) as caught:
            _read(name, expected.command, expected.options, told)
        assert "\n" not in str(caught.value)
        assert re.search(expected.says, str(caught.value)), caught.value
        return
    command = "replay" if isinstance(expected, Replays) else "fit"
    _read(name, command, expected.options, told, expected)
    assert re.search(expected.says, "\n".join(told)), told


def _read(
    name: str,
    command: str,
    options: Hinted,
    told: list[str],
    expected: Replays | Fits | None = None,
) -> None:
    """Read a case as the command does, and hold it to what is expected, if anything is."""

    def tell(reading: Reading) -> None:
        told.extend(reading.lines)

    path = CASES / name
    given = LogOptions(
        time_unit=options.time_unit, read_code=options.read_code, trace_disk=options.disk
    )
    hints = parse_hints(given)
    if command == "fit":
        latencies, _ = read_sources(
            [path],
            given,
            notify=told.append,
            on_reading=tell,
            progress=lambda step, done, total: None,
        )
        if isinstance(expected, Fits):
            assert set(latencies.operation.tolist()) == set(expected.mean_ns)
            for operation, mean_ns in expected.mean_ns.items():
                found_ns = latencies.latency_ns[latencies.operation == operation]
                assert found_ns.mean() == pytest.approx(mean_ns, rel=0.01)
            assert expected.depth is None or set(latencies.depth.tolist()) == {expected.depth}
            assert expected.requests in (None, len(latencies))
        return
    trace = read_trace(
        path,
        format_name=options.format_name,
        disk=options.disk,
        hints=hints,
        notify=told.append,
        on_reading=tell,
    )
    if isinstance(expected, Replays):
        assert (len(trace), trace.span_ns) == (expected.requests, expected.span_ns)
        words = {R: "R", W: "W"}
        found = "".join(words[Operation(code)] for code in trace.operation.tolist())
        assert expected.operations in ("", found)
        assert expected.length_bytes in (None, int(trace.length_bytes[0]))


def test_every_case_has_a_row() -> None:
    names = {path.name for path in CASES.iterdir()}
    assert names - {"README.md"} == {name for name, _ in ROWS}


@pytest.mark.simulation
def test_the_command_says_what_was_read(freezingtime: RunProgram) -> None:
    command = ("replay", CASES / "disksim-int.trace", "--device", "constant:10us", "--json")
    done = freezingtime(*command)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"freezingtime: {CASES}/disksim-int.trace: disksim: 4 requests over 30 ms"
    )
    (device,) = json.loads(done.stdout)["devices"]
    assert device["summaries"][0]["iops"] == pytest.approx(4 / 0.03001)
    assert freezingtime(*command, "-q").stderr == ""
    # What is not as expected is said all the same.
    quiet = freezingtime("replay", CASES / "cat-two.csv", "--device", "constant:10us", "-q")
    assert "read as 2 traces in succession" in quiet.stderr
