# SPDX-License-Identifier: GPL-2.0-or-later
"""`import freezingtime`: the names, what they return, and that they cost nothing unused."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import freezingtime as ft
from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.trace.record_schema import COLUMNS
from tests.conftest import RunProgram
from tests.support.doclib import read_page, run_examples
from tests.support.recordlib import completed, stream_of, write_record

WORKLOAD = "randrw,bs=4k,qd=4,count=500"
FAST, SLOW = "constant:read=80us,write=20us", "constant:1ms"


def test_unused_it_imports_nothing() -> None:
    program = (
        "import sys, freezingtime; "
        "print([name for name in sys.modules if name.startswith('freezingtime.')], "
        "'pandas' in sys.modules, 'pyarrow' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "[] False False\n"


def test_every_name_is_there() -> None:
    for name in ft.__all__:
        assert getattr(ft, name).__doc__
    assert set(ft.__all__) <= set(dir(ft))
    with pytest.raises(AttributeError, match="no attribute 'jump'"):
        ft.jump  # noqa: B018
    assert ft.__version__


def test_the_table_of_names_is_complete() -> None:
    page = read_page("reference/python/index")
    for name in ft.__all__:
        assert f"`{name}" in page


class TestDisk:
    def test_text(self) -> None:
        assert ft.Disk("constant:10us").spec == "constant:10us"
        disk = ft.Disk(
            Path("a,b.toml"), "data", "disk,1.img", "1GiB", writable=True, direct=True, delay=5
        )
        assert disk.spec == (
            "a\\,b.toml,medium=file:disk\\,1.img,size=1GiB,writable=yes,direct=yes,delay=5ns,"
            "name=data"
        )
        other = ft.Disk("constant:1us", frontend="nvme", queue_depth=64, queues=4)
        assert other.spec == "constant:1us,frontend=nvme,queue-depth=64,queues=4"
        assert ft.Disk("constant:1us", write_cache=False).spec == "constant:1us,write-cache=off"


class TestReplay:
    def test_frames_are_the_record_and_the_command(
        self, freezingtime: RunProgram, tmp_path: Path
    ) -> None:
        result = ft.replay(WORKLOAD, devices=[FAST, ft.Disk(SLOW)], out=tmp_path / "record")
        assert list(result.requests) == [*COLUMNS.names, "latency_ns"]
        assert len(result.requests) == 1000
        assert result.table.num_rows == 1000
        assert set(result.requests.disk) == {FAST, SLOW}
        options = "--workload", WORKLOAD, "--device", FAST, "--device", SLOW, "--json"
        devices = json.loads(freezingtime("replay", *options).stdout)["devices"]
        printed = [
            {"disk": device["device"], **summary}
            for device in devices
            for summary in device["summaries"]
        ]
        assert result.summary.to_dict("records") == printed
        again = ft.open_run(tmp_path / "record")
        assert again.summary.equals(result.summary)
        assert again.requests.equals(result.requests)
        assert "1000 requests" in repr(again)
        assert "p99_ns" in again._repr_html_()
        assert (again.guest_ns, again.valid, again.document, again.stdout) == (None, None, None, "")

    def test_the_hosts_part_is_in_the_summary_only(self) -> None:
        result = ft.replay("randread,qd=8,queue=1,count=100", devices=["constant:10us"])
        assert result.summary.p50_ns.tolist() == [80_000, 80_000]
        assert result.requests.latency_ns.max() == 10_000

    def test_a_run_of_one_is_a_trace_of_the_next(self, tmp_path: Path) -> None:
        ft.replay(WORKLOAD, devices=[FAST], out=tmp_path / "record")
        again = ft.replay(tmp_path / "record", devices=[FAST])
        assert ft.compare(tmp_path / "record", again).is_identical
        other = ft.replay(str(tmp_path / "record"), devices=[FAST], speed_up=2)
        assert not ft.compare(again, other).is_identical
        with pytest.raises(ft.InputError, match="is the trace itself"):
            ft.replay(tmp_path / "record", devices=[FAST], out=tmp_path / "record")

    def test_what_nobody_named_goes_away(self) -> None:
        result = ft.replay(WORKLOAD, devices=[FAST])
        path = result.path
        assert path.is_file()
        del result
        gc.collect()
        assert not path.parent.exists()

    def test_requests_have_what_the_devices_say(self) -> None:
        """3,000 requests a second: at depth 8 each waits for those before it, 333 us apart."""
        requests = ft.replay("randread,qd=8,count=200,size=1m", devices=["aws-gp3", FAST]).requests
        limited = requests[requests["disk"] == "aws-gp3"]
        assert limited["held_by"].iloc[0] == "nothing"
        assert (limited["held_by"] == "iops_limit").sum() > 190
        assert limited["service_start_ns"].tolist() == sorted(limited["service_start_ns"])
        assert limited["held_ns"].max() > 1_000_000
        assert requests[requests["disk"] == FAST]["held_by"].isna().all()

    def test_statistics(self) -> None:
        result = ft.replay("randwrite,qd=2,count=50,size=1m", devices=["hgst-ultrastar-7k8-8tb"])
        (statistics,) = result.statistics.values()
        assert statistics

    @pytest.mark.parametrize(
        ("source", "options", "problem"),
        [
            (WORKLOAD, {"devices": []}, "devices: must be a non-empty list"),
            (WORKLOAD, {"devices": FAST}, "devices: must be a non-empty list"),
            (WORKLOAD, {"devices": [FAST, FAST]}, "without duplicates"),
            (WORKLOAD, {"devices": ["none-such"]}, "--device none-such: "),
            (
                WORKLOAD,
                {"devices": [FAST], "closed_loop": 3},
                "--closed-loop 3: cannot be combined with a workload; write qd=",
            ),
            ("none.trace", {"devices": [FAST]}, "none.trace: "),
            ("randread,count=x", {"devices": [FAST]}, "count=x"),
            (WORKLOAD, {"devices": [FAST], "out": "/none/such"}, "--out /none/such: "),
        ],
    )
    def test_bad_input(self, source: str, options: dict[str, object], problem: str) -> None:
        with pytest.raises(ft.InputError) as raised:
            ft.replay(source, **options)  # type: ignore[arg-type]
        assert problem in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_progress(self, capsys: pytest.CaptureFixture[str]) -> None:
        ft.replay(WORKLOAD, devices=[FAST])
        assert capsys.readouterr().err == ""
        ft.replay(WORKLOAD, devices=[FAST], progress=True)
        shown = capsys.readouterr().err
        # No terminal, no notebook: lines that stay, and nothing that is written over.
        assert "\r" not in shown
        assert shown.startswith(f"freezingtime: building {FAST}\n")
        assert shown.endswith("\n")


def test_devices() -> None:
    frame = ft.devices()
    assert frame.name.tolist() == catalogue_names()
    assert list(frame) == ["name", "class", "model", "capacity_bytes", "summary"]


def test_a_killed_run_is_said_to_be_one(tmp_path: Path) -> None:
    stream_of(tmp_path / "record", [[completed()]])
    with pytest.warns(UserWarning, match="was killed, or is still running"):
        result = ft.open_run(tmp_path / "record")
    assert result.summary.query("operation == 'read' and disk == 'data'")["count"].item() == 1


def test_an_empty_record_has_empty_frames(tmp_path: Path) -> None:
    result = ft.open_run(write_record(tmp_path / "record", []))
    assert len(result.requests) == len(result.summary) == 0
    assert "p99_ns" in result.summary


@pytest.mark.guest
def test_a_result_writes_its_report(tmp_path: Path) -> None:
    result = ft.replay(WORKLOAD, devices=[FAST])
    page = result.report(tmp_path / "report.html")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [page]


class TestRun:
    def test_in_an_event_loop(self) -> None:
        """As a notebook's cell is."""

        async def cell() -> ft.Result:
            return ft.run(["constant:10us"], job="echo out; echo err >&2; exit 7")

        result = asyncio.run(cell())
        assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 7)
        assert result.valid
        assert result.document is not None
        assert result.document["plan"]["disks"] == ["constant:10us"]

    def test_an_interrupted_cell_ends_its_run(self) -> None:
        """Not when the job ends, which it never does."""

        def interrupt(_number: int, _frame: object) -> None:
            raise KeyboardInterrupt

        async def cell() -> None:
            ft.run(job="while :; do :; done", real_time_limit="120s")

        before = signal.signal(signal.SIGUSR1, interrupt)
        timer = threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGUSR1))
        start_s = time.monotonic()
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                asyncio.run(cell())
        finally:
            timer.cancel()
            signal.signal(signal.SIGUSR1, before)
        assert time.monotonic() - start_s < 60
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("run")]

    def test_jobs(self, tmp_path: Path) -> None:
        assert ft.run(job=["echo", "a  b"]).stdout == "a  b\n"
        script = tmp_path / "run"
        script.write_text("#!/bin/sh\npwd\n")
        script.chmod(0o755)
        assert ft.run(job=script).exit_status == 0
        assert ft.run(job=tmp_path, progress=False).stdout == "/job\n"

    def test_bad_input(self, tmp_path: Path) -> None:
        for options in ({"cpu_rate": "99G"}, {"memory": "1"}, {"time_limit": "x"}):
            with pytest.raises(ft.InputError, match=r"^--(cpu-rate|memory|time-limit)"):
                ft.run(**options)  # type: ignore[arg-type]
        with pytest.raises(ft.TimeLimitError):
            ft.run(job="sleep 100", time_limit="1s")

    @pytest.mark.simulation
    def test_every_example_of_the_page_runs(self, tmp_path: Path) -> None:
        assert len(list(run_examples(read_page("reference/python/index"), tmp_path))) == 5


@pytest.mark.parametrize(
    "call",
    [
        lambda: ft.run(["samsng-870-evo"]),
        lambda: ft.replay("randread,count=1", ["samsng-870-evo"]),
        lambda: ft.run([ft.Disk("constant:1us")], cpu_rate="fast"),
        lambda: ft.compare("nosuch", "nosuch"),
    ],
)
def test_bad_input_is_one_exception_with_a_short_traceback(call: Callable[[], object]) -> None:
    with pytest.raises(ft.InputError) as raised:
        call()
    lines = "".join(traceback.format_exception(raised.value)).splitlines()
    assert len(lines) <= 16, "\n".join(lines)
    assert sum("Traceback" in line for line in lines) == 1
    assert raised.value.__cause__ is None
