# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime replay` from the command line to its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from freezingtime.cli.device.replay import app
from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.errors import InputError
from freezingtime.trace.readers import read_trace

MQSIM = "".join(f"{n * 50_000} 0 {n * 8} 8 {n % 2}\n" for n in range(100))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """100 requests of 4 KiB, one each 50 us: writes and reads in turn."""
    path = tmp_path / "trace"
    path.write_text(MQSIM)
    return path


def replay(*arguments: str | Path) -> str:
    """Run the command; return its output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def figures(*arguments: str | Path) -> list[dict[str, Any]]:
    """The devices of the JSON document."""
    devices: list[dict[str, Any]] = json.loads(replay(*arguments, "--json"))["devices"]
    return devices


def test_qd_1_on_100_us_is_exactly_10_000_iops() -> None:
    [device] = figures("--workload", "randread,count=1k", "--device", "constant:100us")
    [summary] = device["summaries"]
    assert summary["iops"] == 10_000
    assert summary["p99_99_ns"] == 100_000
    assert device["duration_ns"] == 1000 * 100_000


def test_open_loop_keeps_the_times_of_a_trace(trace: Path) -> None:
    [device] = figures(trace, "--device", "constant:10us")
    assert device["duration_ns"] == 99 * 50_000 + 10_000
    assert [(s["operation"], s["count"]) for s in device["summaries"]] == [
        ("all", 100),
        ("read", 50),
        ("write", 50),
    ]


def test_speed_up_divides_the_times_of_a_trace(trace: Path) -> None:
    [device] = figures(trace, "--device", "constant:10us", "--speed-up", "2.5")
    assert device["duration_ns"] == 99 * 20_000 + 10_000


def test_closed_loop_forgets_the_times_of_a_trace(trace: Path) -> None:
    [device] = figures(trace, "--device", "constant:10us", "--closed-loop", "4")
    assert device["duration_ns"] == 100 // 4 * 10_000


def test_devices_are_compared_in_a_table() -> None:
    output = replay(
        *("--workload", "randrw,bs=64k,qd=4,count=2k"),
        *("--device", "constant:100us", "--device", "constant:read=1ms,write=12us"),
    )
    header, *rows = [line.split() for line in output.splitlines()]
    assert header[:5] == ["device", "operation", "requests", "IOPS", "MB/s"]
    assert [row[:2] for row in rows] == [
        ["constant:100us", "all"],
        ["constant:100us", "read"],
        ["constant:100us", "write"],
        ["constant:read=1ms,write=12us", "all"],
        ["constant:read=1ms,write=12us", "read"],
        ["constant:read=1ms,write=12us", "write"],
    ]
    assert rows[0][2:7] == ["2000", "40000", "2621", "0ns", "100us"]
    assert rows[4][6:] == ["1ms"] * 7
    assert len({len(line) for line in output.splitlines()}) == 1


def test_same_seed_same_figures() -> None:
    line = ("--workload", "randrw,rate=9k,count=2k", "--device", "constant:read=1us,write=2us")

    def without_host_time(seed: str) -> list[dict[str, Any]]:
        devices = figures(*line, "--seed", seed)
        for device in devices:
            del device["host_s"]
        return devices

    assert without_host_time("1") == without_host_time("1")
    assert without_host_time("1") != without_host_time("2")


#: Columns that are null where a device says nothing, as ``constant``.
SAID_BY_THE_DEVICE = (
    *("service_start_ns", "held_ns", "held_by", "served_from", "die", "channel", "member"),
)


def test_record_can_be_replayed(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    devices = ("--device", "constant:read=1us,write=90us", "--device", "constant:5us")
    replay(trace, *devices, "--out", out)
    again = read_trace(out, disk="constant:read=1us,write=90us")
    original = read_trace(trace)
    assert again.arrival_ns.tolist() == original.arrival_ns.tolist()
    assert again.offset_bytes.tolist() == original.offset_bytes.tolist()
    assert again.operation.tolist() == original.operation.tolist()
    assert len(read_trace(out, disk="constant:5us")) == 100
    assert pq.read_table(out).to_pylist()[0] == {
        "disk": "constant:read=1us,write=90us",
        "operation": "read",
        "offset_bytes": 4096,
        "length_bytes": 4096,
        "fua": False,
        "queue_depth": 2,
        "arrival_ns": 50_000,
        "completion_ns": 51_000,
        "delivery_ns": 51_000,
        "warped_ns": 0,
        "frozen_host_ns": 0,
        "medium_host_ns": 0,
        "on_time": True,
        "sequence": 1,
        **dict.fromkeys(SAID_BY_THE_DEVICE),
    }


def test_workload_without_a_size_uses_all_of_each_device(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    small, large = "constant:1us,size=1000KiB", "constant:1us,size=1GiB"
    workload = "randrw,rate=10k,count=70k"
    replay("--workload", workload, "--out", out, "--device", small, "--device", large)
    on_small, on_large = (read_trace(out, disk=name) for name in (small, large))
    assert on_small.end_bytes == 1000 << 10
    assert on_large.end_bytes > 1023 << 20
    assert on_small.arrival_ns.tolist() == on_large.arrival_ns.tolist()
    assert on_small.operation.tolist() == on_large.operation.tolist()


def test_workload_that_does_not_fit_is_refused_before_anything_runs(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError, match="does not fit on a disk of 1048576 bytes"):
        replay(
            *("--workload", "read,size=2MiB,count=9", "--out", out),
            *("--device", "constant:1us", "--device", "constant:1us,size=1MiB"),
        )
    assert not out.exists()


OWN_MODEL = """
from freezingtime.device.base import TimedDevice


class Counting(TimedDevice):
    def __init__(self, seed):
        super().__init__()
        self.count = 0

    def completion_ns(self, request, now_ns):
        self.count += 1
        return now_ns + 1000

    def statistics(self):
        return {"requests_seen": float(self.count), "failures": 0.0, "1.writes": 7.0}
"""


def test_own_model_and_what_it_says_of_itself(tmp_path: Path) -> None:
    model = tmp_path / "own.py"
    model.write_text(OWN_MODEL)
    arguments = ("--workload", "read,count=50", "--device", f"{model}:Counting")
    [device] = figures(*arguments)
    assert device["statistics"] == {"requests_seen": 50.0, "failures": 0.0, "1.writes": 7.0}
    *_, blank, shown, more = replay(*arguments).splitlines()
    assert (blank, shown.split()) == ("", [f"{model}:Counting", "requests_seen", "50"])
    assert more == "2 more statistics, of members or 0; --verbose prints them"
    *_, first, second, third = replay(*arguments, "--verbose").splitlines()
    assert first.split()[1:] == ["requests_seen", "50"]
    assert [second.split()[1:], third.split()[1:]] == [["failures", "0"], ["1.writes", "7"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--workload", "read"), "name at least one --device, such as --device constant:100us"),
        (("--device", "constant:1us"), "give either a TRACE or --workload LINE, not both"),
        (
            ("TRACE", "--workload", "read", "--device", "constant:1us"),
            "give either a TRACE or --workload LINE, not both",
        ),
        (
            ("--workload", "read", "--closed-loop", "3", "--device", "constant:1us"),
            "--closed-loop 3: cannot be combined with a workload; write qd= in the workload",
        ),
        (
            ("--workload", "read", "--speed-up", "3", "--device", "constant:1us"),
            "--speed-up 3: cannot be combined with a workload; change rate= in the workload",
        ),
        (
            ("--workload", "read", "--format", "msr", "--device", "constant:1us"),
            "--format msr: cannot be combined with a workload; is for traces",
        ),
        (
            ("TRACE", "--speed-up", "2", "--closed-loop", "3", "--device", "constant:1us"),
            "--speed-up 2: a closed loop has no arrival times; leave one out",
        ),
        (
            ("TRACE", "--speed-up", "0", "--device", "constant:1us"),
            "--speed-up 0: must be a number from 0.000001 to 999999, such as 10 or 0.5",
        ),
        (
            ("TRACE", "--device", "constant:1us", "--out", "TRACE"),
            "--out TRACE: is the trace itself; name another file",
        ),
        (
            ("TRACE", "--device", "constant:1us", "--out", "TRACE/x"),
            "--out TRACE/x: no directory TRACE; create it first",
        ),
        (
            ("TRACE", "--device", "constant:1us,size=64KiB"),
            "--device constant:1us,size=64KiB: has 65536 bytes, but TRACE reaches 409600; "
            "use a larger device or add size=",
        ),
        (
            ("TRACE", "--device", "constant:1us,delay=1ms"),
            "--device constant:1us,delay=1ms: replay moves no data; of the disk's "
            "keys, only size= applies",
        ),
        (
            ("TRACE", "--device", "constant:fast"),
            "--device constant:fast: bad time 'fast': write a number and a unit "
            "(ns, us, ms, s), such as 10us, 2.5ms or 1s",
        ),
        (
            ("--workload", "read,rate=1,time=1ns,seed=1", "--device", "constant:1us"),
            "--workload: read,rate=1,time=1ns,seed=1: no request arrives; raise time=",
        ),
        (
            ("--workload", "read,size=1GiB", "--device", "constant:1us,size=1MiB"),
            "--workload: read,size=1GiB: does not fit on a disk of 1048576 bytes; "
            "change size= or offset=",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: tuple[str, ...], expected: str, trace: Path
) -> None:
    with pytest.raises(InputError) as caught:
        replay(*(argument.replace("TRACE", str(trace)) for argument in arguments))
    assert str(caught.value) == expected.replace("TRACE", str(trace)).replace(
        f"either a {trace}", "either a TRACE"
    )


def test_trace_without_times_needs_a_closed_loop(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("fio version 2 iolog\n/f read 0 4096\n/f read 4096 4096\n")
    with pytest.raises(InputError, match=r"so there are no times to keep; use --closed-loop QD"):
        replay(log, "--device", "constant:1us")
    [device] = figures(log, "--device", "constant:1us", "--closed-loop", "1")
    assert device["duration_ns"] == 2000


def test_bad_input_leaves_no_record(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError):
        replay(trace, "--device", "constant:1us,size=64KiB", "--out", out)
    assert not out.exists()


def test_progress_is_shown_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("freezingtime.cli.device.replay_progress._PLAIN_PERIOD_S", 0.0)
    with ReplayProgress(quiet=False) as progress:
        progress("reading trace", 1, 4)
        progress("building constant:1us", 0, 0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "freezingtime: reading trace: 25%",
        "freezingtime: building constant:1us",
    ]
    with ReplayProgress(quiet=True) as progress:
        progress("reading trace", 1, 4)
    assert capsys.readouterr().err == ""
