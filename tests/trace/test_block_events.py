# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's block events, of blkparse, ftrace and biosnoop: pairs, parts, losses, captures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers import Reading, read_trace
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.read_latencies import read_latencies

R, W, F = Operation.READ, Operation.WRITE, Operation.FLUSH

Event = tuple[int, str, str, int, int]
"""When in us, the action, RWBS, the sector and how many."""


def blkparse_text(events: Sequence[Event], error: str = "0") -> str:
    return "".join(
        f"  8,0    0 {number:8d} {at // 10**6:5d}.{at % 10**6:06d}000  1234  {action} {rwbs:>3} "
        f"{sector} + {count} [{error if action == 'C' else 'fio'}]\n"
        for number, (at, action, rwbs, sector, count) in enumerate(events, start=1)
    )


def ftrace_text(events: Sequence[Event], error: str = "0") -> str:
    names = {"D": "issue", "C": "complete", "R": "requeue"}
    return "# tracer: nop\n#\n" + "".join(
        f"     my task-12  [000] d..1.  {at // 10**6}.{at % 10**6:06d}: block_rq_{names[action]}: "
        f"8,0 {rwbs} {f'{512 * count} ' if action == 'D' else ''}() {sector} + {count} "
        f"[{error if action == 'C' else 'fio'}]\n"
        for at, action, rwbs, sector, count in events
    )


TEXTS = {"blkparse": blkparse_text, "ftrace": ftrace_text}


@pytest.fixture(params=TEXTS)
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def latencies_of(path: Path, text: str) -> Latencies:
    path.write_text(text)
    return read_latencies(path)


def rows(latencies: Latencies) -> list[tuple[Operation, int, int]]:
    columns = latencies.operation, latencies.length_bytes, latencies.latency_ns
    listed = zip(*(column.tolist() for column in columns), strict=True)
    return [(Operation(operation), length, took) for operation, length, took in listed]


def arrivals(path: Path, text: str, **options: str) -> tuple[list[int], Reading]:
    path.write_text(text)
    told: list[Reading] = []
    trace = read_trace(path, on_reading=told.append, **options)  # type: ignore[arg-type]
    return trace.arrival_ns.tolist(), told[0]


@given(
    latencies_us=st.lists(st.integers(1, 900), min_size=2, max_size=40),
    lost=st.integers(0, 39),
    what=st.sampled_from("DC"),
)
def test_one_lost_event_costs_one_request(
    latencies_us: list[int], lost: int, what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All requests are at one sector, where a lost event could shift all later pairs."""
    lost %= len(latencies_us)
    events = [
        (1000 * number + (took if action == "C" else 0), action, "R", 8, 8)
        for number, took in enumerate(latencies_us)
        for action in "DC"
        if (number, action) != (lost, what)
    ]
    path = tmp_path_factory.mktemp("events") / "trace"
    latencies = latencies_of(path, blkparse_text(events)) if len(events) > 2 else None
    kept = [1000 * took for number, took in enumerate(latencies_us) if number != lost]
    if latencies is not None:
        assert latencies.latency_ns.tolist() == kept
        half = "requests whose completion" if what == "C" else "completions whose request"
        assert latencies.notes == (f"left out 1 {half} is not in the trace",)


def test_a_request_ends_with_its_last_part(tool: str, tmp_path: Path) -> None:
    events = [
        (0, "D", "R", 100, 24),
        (10, "D", "R", 100, 8),
        (20, "C", "R", 100, 8),
        (30, "C", "R", 100, 16),
        (50, "C", "R", 116, 8),
    ]
    latencies = latencies_of(tmp_path / "trace", TEXTS[tool](events))
    assert rows(latencies) == [(R, 12288, 50_000), (R, 4096, 10_000)]
    assert latencies.depth.tolist() == [1, 2]
    assert latencies.notes == ("1 partial completion: a request ends with its last one",)


def test_a_requeued_request_counts_from_its_last_issue(tool: str, tmp_path: Path) -> None:
    events = [
        (0, "D", "W", 8, 8),
        (5, "R", "W", 8, 8),
        (20, "D", "W", 8, 8),
        (100, "C", "W", 8, 8),
        # A part was done when the rest went back.
        (200, "D", "R", 64, 16),
        (220, "C", "R", 64, 8),
        (230, "R", "R", 72, 8),
        (240, "D", "R", 72, 8),
        (270, "C", "R", 72, 8),
    ]
    path, text = tmp_path / "trace", TEXTS[tool](events)
    latencies = latencies_of(path, text)
    assert rows(latencies) == [(W, 4096, 80_000), (R, 4096, 30_000)]
    assert "2 requests requeued (R): counted from the last issue" in (latencies.notes)
    # Of the load, it is one request, at the time at which it was issued first.
    at_ns, reading = arrivals(path, text)
    assert at_ns == [0, 200_000]
    assert reading.notes == ("2 requests requeued (R): counted from the first issue",)


def test_requests_that_fail_are_no_latencies(tool: str, tmp_path: Path) -> None:
    good = [(0, "D", "R", 8, 8), (100, "C", "R", 8, 8)]
    bad = [(200, "D", "R", 8, 8), (210, "C", "R", 8, 8)]
    text = TEXTS[tool](good) + TEXTS[tool](bad, error="-5")
    latencies = latencies_of(tmp_path / "trace", text)
    assert latencies.latency_ns.tolist() == [100_000]
    assert "left out 1 requests that failed" in latencies.notes


SUMMARY = (
    "CPU0 (8,0):\n Reads Queued:           0,        0KiB\t Writes Queued:           0,  0KiB\n"
    "\nThroughput (R/W): 0KiB/s / 0KiB/s\nEvents (8,0): 4 entries\n"
    "Skips: 2 forward (1,234 -   3.1%)\n"
)


@pytest.mark.parametrize("between", [SUMMARY, "", "Input file a.blktrace.0 added\n"])
def test_captures_in_one_file_are_read_one_after_the_other(between: str, tmp_path: Path) -> None:
    """A request that the first leaves open is not ended by the second."""
    first = [(0, "D", "R", 8, 8), (100, "C", "R", 8, 8), (1000, "D", "R", 16, 8)]
    second = [(50, "D", "R", 16, 8), (250, "C", "R", 16, 8), (1050, "D", "W", 32, 8)]
    path, text = tmp_path / "trace", blkparse_text(first) + between + blkparse_text(second)
    at_ns, reading = arrivals(path, text)
    assert at_ns == [0, 1_000_000, 2_000_000, 3_000_000]
    said = "2 captures in one file are read one after the other"
    assert said in reading.notes
    assert ("blktrace itself lost 1,234 events" in reading.notes) == (between == SUMMARY)
    latencies = latencies_of(path, text)
    assert latencies.latency_ns.tolist() == [100_000, 200_000]
    assert said in latencies.notes
    assert "left out 2 requests whose completion is not in the trace" in latencies.notes


def test_a_cut_off_last_line_is_left_out_wherever_it_ends(tmp_path: Path) -> None:
    """Even where the rest would be a request of another size."""
    kept = blkparse_text([(0, "D", "R", 8, 8), (100, "C", "R", 8, 8)])
    last = blkparse_text([(200, "D", "R", 100, 128)]).strip()
    for length in range(1, len(last)):
        text = kept + last[:length]
        at_ns, reading = arrivals(tmp_path / "trace", text)
        assert at_ns == [0], text
        said = ("its last line is truncated, and skipped",)
        assert reading.notes == said
        assert latencies_of(tmp_path / "trace", text).notes == said
    assert arrivals(tmp_path / "trace", kept + last)[0] == [0, 200_000]


def test_a_wrong_line_is_an_error_where_it_is_not_cut_off(tmp_path: Path) -> None:
    text = blkparse_text([(0, "D", "R", 8, 8)]) + "  8,0    0     2  0.0050\n"
    (tmp_path / "trace").write_text(text)
    with pytest.raises(InputError, match=r"trace:2: line .*: must begin with: device cpu"):
        read_trace(tmp_path / "trace")


def test_forms_of_ftrace_lines(tmp_path: Path) -> None:
    """``trace-cmd report``, ``perf script``, a kernel with priorities, flushes, other events."""
    text = (
        "cpus=2\n"
        "fio-1 [001] 5.000000: block_rq_issue: 8,0 RA 4096 () 1000 + 8 [a b]\n"
        "CPU:1 [LOST 77 EVENTS]\n"
        "   sh 12 [000] 5.000010: sched_switch: prev_comm=block_rq_issue\n"
        " fio  1 [001] 5.000040: block:block_rq_complete: 8,0 RA () 1000 + 8 [0]\n"
        " k-1 [001] d..1. 5.000100: block_rq_issue: 8,0 FF 0 () 18446744073709551615 + 0 [k]\n"
        " <idle>-0 (-------) [001] d.h1. 5.000300: block_rq_complete: 8,0 FF () "
        "18446744073709551615 + 0 [0]\n"
        " k-1 [001] ..... 5.001000: block_rq_issue: 8,0 WS 512 () 9 + 1 none,0,0 [k]\n"
        " k-1 [001] ..... 5.001007: block_rq_complete: 8,0 WS () 9 + 1 none,0,0 [0]\n"
    )
    latencies = latencies_of(tmp_path / "trace", text)
    assert rows(latencies) == [(R, 4096, 40_000), (F, 0, 200_000), (W, 512, 7_000)]
    assert latencies.notes == ("left out 77 events that the kernel's buffer lost",)
    at_ns, _ = arrivals(tmp_path / "trace", text)
    assert at_ns == [0, 100_000, 1_000_000]
    wrong = text.replace("1000 + 8 [a b]", "1000 [a b]")
    (tmp_path / "trace").write_text(wrong)
    with pytest.raises(InputError, match=r"trace:2: event 'issue: 8,0 RA.*': must be MAJOR,MINOR"):
        read_trace(tmp_path / "trace")


@pytest.mark.parametrize(
    "task",
    [
        "fio-12 [001]",
        "fio 12 [001]",
        "fio 12/13 [001]",
        "my task-12 (     12) [001] d..2.",
        "<...>-12 (-------) [001] .N..1",
        "kworker/0:1H-k-7 [000] .....",
    ],
)
def test_ftrace_is_known_by_any_event(task: str, tmp_path: Path) -> None:
    text = f"{task} 1.5: sched_switch: prev_comm=a\n" + ftrace_text([(0, "D", "R", 8, 8)])
    at_ns, reading = arrivals(tmp_path / "trace", text)
    assert (len(at_ns), reading.format_name) == (1, "ftrace")


def test_biosnoop_with_queues_and_names_of_any_kind(tmp_path: Path) -> None:
    """A name with blanks, none at all, a flush, and the header once more."""
    header = "TIME(s)     COMM  PID    DISK  T    SECTOR  BYTES  QUE(ms) LAT(ms)\n"
    text = (
        f"{header}"
        "0.001000 Web Content 12 nvme0n1 R 8 4096 0.005 0.200\n"
        "0.002000 0 nvme0n1 WS 16 512 0.001 0.050\n"
        "0.003000 jbd2 7 nvme0n1 FF 0 0 0.001 1.500\n"
        "0.004000 x 7 nvme0n1 N 0 0 0.001 1.500\n"
        f"{header}"
        "0.000500 a 7 nvme0n1 R 8 4096 0.001 0.100\n"
    )
    latencies = latencies_of(tmp_path / "log", text)
    assert rows(latencies) == [
        (R, 4096, 200_000),
        (F, 0, 1_500_000),
        (W, 512, 50_000),
        (R, 4096, 100_000),
    ]
    assert latencies.depth.tolist() == [1, 1, 2, 1]
    assert latencies.notes == (
        "left out 1 requests that move no bytes",
        "2 captures in one file are read one after the other",
    )
    at_ns, reading = arrivals(tmp_path / "log", text)
    assert np.diff(at_ns).tolist() == [700_000, 450_000, 2_950_000]
    assert reading.format_name == "biosnoop"


def test_fiu(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 2
    text = f"70 5 a proc 8 8 R 8 1 {digest}\n1070 5 b 64 16 W 8 1 {digest}\n"
    at_ns, reading = arrivals(tmp_path / "trace", text)
    assert (at_ns, reading.format_name, reading.disk) == ([0, 1000], "fiu", "8,1")
    trace = read_trace(tmp_path / "trace")
    assert trace.offset_bytes.tolist() == [4096, 32768]
    assert trace.length_bytes.tolist() == [4096, 8192]
    (tmp_path / "trace").write_text(f"{text}71 5 a 8 8 R 8\n")
    with pytest.raises(InputError, match="trace:3: line '71 5 a 8 8 R 8': must be: TIME PID PROC"):
        read_trace(tmp_path / "trace")


@pytest.mark.parametrize(
    "line", ["1 1 a" + " " * 60_000, "-" * 60_000, "a-1 [0] 1.0: block_rq_issue: " + "[" * 60_000]
)
def test_a_line_that_is_too_long_for_a_pattern_is_refused_at_once(
    line: str, tmp_path: Path
) -> None:
    """By the square of its length it would take minutes."""
    path = tmp_path / "trace"
    path.write_text(f"{line}.\n")
    with pytest.raises(InputError, match="trace: unknown format, begins with"):
        read_trace(path)
    path.write_text(f"cpus=1\n{line}.\n")
    with pytest.raises(InputError, match=r"contains no requests|must be MAJOR,MINOR"):
        read_trace(path)
