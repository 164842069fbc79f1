# SPDX-License-Identifier: GPL-2.0-or-later
"""The first screen of a report: what stands beside each other, under which names, as what rows."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from freezingtime.report.answer import WIDTH, answer
from freezingtime.report.command import command_of
from freezingtime.report.figures.run_figures import (
    LATENCY_DISTRIBUTION,
    LATENCY_OVER_TIME,
    draw_page_figure,
)
from freezingtime.report.figures.run_panels import always_0, operations_shown
from freezingtime.report.page import notices, report_page
from freezingtime.report.run_data import RunData
from freezingtime.report.side_by_side import DEVICE, side_by_side
from freezingtime.request import Operation
from freezingtime.trace.record_file import RecordFile
from freezingtime.trace.record_header import RecordedDisk, RecordHeader
from tests.cli.conftest import RunHere
from tests.results.test_report_data import read
from tests.support.recordlib import completed

R, F, D = Operation.READ, Operation.FLUSH, Operation.DISCARD


def recorded(path: Path, specs: list[str], cpu_rate_hz: int | None = None) -> RunData:
    """A record of 100 reads for each disk: 10 us on the first, 20 us on the second, and so on."""
    disks = [RecordedDisk(f"disk{number}", spec) for number, spec in enumerate(specs, start=1)]
    header = RecordHeader(disks=disks, seed=0, cpu_rate_hz=cpu_rate_hz)
    with RecordFile(path, header) as file:
        for index in range(len(specs)):
            latency_ns = 10_000 * (index + 1)
            rows = [
                completed(
                    disk_index=index,
                    operation=R if number < 97 else D,
                    arrival_ns=number * 100_000,
                    completion_ns=number * 100_000 + latency_ns,
                    delivery_ns=number * 100_000 + latency_ns,
                    sequence=number,
                )
                for number in range(100)
            ]
            file.append(file.batches.of_requests(rows, 0))
    return read(path)


@pytest.fixture
def replayed(tmp_path: Path) -> RunData:
    return recorded(tmp_path / "six.parquet", ["constant:10us", "aws-gp3,delay=1ms", "my/own.toml"])


def test_devices_of_one_replay_stand_side_by_side(replayed: RunData) -> None:
    runs = side_by_side([replayed])
    assert [run.label for run in runs] == ["constant:10us", "aws-gp3", "own.toml"]
    assert [list(run.disks) for run in runs] == [[DEVICE]] * 3
    assert [run.disks[DEVICE].operations["read"].figures.max_ns for run in runs] == [
        10_000,
        20_000,
        30_000,
    ]
    # As those of several replays do.
    assert [run.label for run in side_by_side(runs)] == [run.label for run in runs]


def test_labels_are_letters_where_devices_do_not_tell_runs_apart(tmp_path: Path) -> None:
    same = recorded(tmp_path / "same", ["constant:10us"] * 2)
    guest = recorded(tmp_path / "guest", ["constant:10us"], 4 * 10**9)
    assert [run.label for run in side_by_side([same])] == ["A", "B"]
    assert [run.label for run in side_by_side([guest, guest])] == ["A", "B"]
    assert [run.label for run in side_by_side([guest])] == [guest.name]
    assert len(side_by_side([recorded(tmp_path / "many", ["constant:1us"] * 7)])) == 1


def test_rows_have_figures_differences_and_bars_on_one_axis(replayed: RunData) -> None:
    found = answer(side_by_side([replayed]))
    assert [(row.subject, row.label, row.difference) for row in found.rows] == [
        ("read", "constant:10us", ""),
        ("", "aws-gp3", "+100.0%"),
        ("", "own.toml", "x 3"),
    ]
    assert found.rows[1].cells == ["9778", "40.05", "20us", "20us", "20us"]
    assert found.rows[1].bar.title == "aws-gp3: p50 20us, p99 20us, p99.9 20us"
    places = [row.bar.p50 for row in found.rows]
    assert 0 < places[0] < places[1] < places[2] < WIDTH
    # As far from 10 to 20 us as from 20 to 40, on a logarithmic axis: here to 30.
    assert (places[2] - places[1]) / (places[1] - places[0]) == pytest.approx(0.585, abs=0.01)
    assert (found.axis, found.left_out) == ("10us to 30us", 1)


def test_what_is_always_0_is_said_and_not_drawn(tmp_path: Path) -> None:
    run = recorded(tmp_path / "guest", ["constant:10us"], 4 * 10**9)
    page = report_page([run])
    assert "Deviation from the model: 0 in all 100 requests." in page
    assert "deviation from the model</text>" not in page
    assert "exact:</strong> 100 of 100 requests on time<" in page
    assert "frozen</text>" not in page


def test_a_latency_that_is_always_0_has_no_place_on_a_logarithmic_axis(tmp_path: Path) -> None:
    header = RecordHeader(disks=[RecordedDisk("data", "aws-gp3")], seed=0, cpu_rate_hz=10**9)
    rows = [
        completed(
            operation=(R, F)[number % 2],
            arrival_ns=number * 1000,
            completion_ns=number * 1000 + (100, 0)[number % 2],
            delivery_ns=number * 1000 + (100, 0)[number % 2],
            sequence=number,
        )
        for number in range(100)
    ]
    with RecordFile(tmp_path / "run", header) as file:
        file.append(file.batches.of_requests(rows, 0))
    run = read(tmp_path / "run")
    assert list(always_0([run])) == [("data", "flush", "", 50)]
    for figure in (LATENCY_DISTRIBUTION, LATENCY_OVER_TIME):
        assert [panel.title for panel in figure.panels([run])] == ["data: read"]
    assert "<p>data: flush: 0 in all 50 requests.</p>" in report_page([run])


def test_values_behind_the_lines_are_those_of_the_run(replayed: RunData) -> None:
    """Where the pointer is, a page says them."""
    drawn = draw_page_figure(LATENCY_OVER_TIME, side_by_side([replayed]))
    assert drawn is not None
    (panel,) = drawn[1]
    left, top, right, bottom = panel.box
    assert panel.outer[0] < left < right <= panel.outer[0] + panel.outer[2]
    assert panel.outer[1] < top < bottom < panel.outer[1] + panel.outer[3]
    assert {(color, name): set(values) for color, name, _, _, values in panel.lines} == {
        (color, name): {f"{10 * (color + 1)}us"}
        for color in range(3)
        for name in ("median", "p99", "max")
    }
    for _, _, places, where, _ in panel.lines:
        assert list(places) == sorted(places)
        assert left < places[0] < places[-1] < right
        assert len(places) == len(where) == 97
    distribution = draw_page_figure(LATENCY_DISTRIBUTION, side_by_side([replayed]))
    assert distribution is not None
    (panel,) = distribution[1]
    assert panel.is_vertical
    assert {value for line in panel.lines for value in line[4]} == {"10us", "20us", "30us"}
    assert panel.lines[0][3][0].endswith(" %")


def test_a_replay_names_its_trace(tmp_path: Path, run_here: RunHere) -> None:
    trace = tmp_path / "my <trace>.csv"
    trace.write_text("timestamp,op,offset,size\n0.001,read,0,4096\n0.002,write,4096,4096\n")
    for name, load in (("a", [trace]), ("b", ["--workload", "randread,count=30"])):
        out = ["--device", "constant:1us", "--quiet", "--out", tmp_path / name]
        assert run_here("replay", *load, *out).returncode == 0
    a, b = (read(tmp_path / name) for name in "ab")
    assert (a.header.source, b.header.source) == ("my <trace>.csv", "randread,count=30")
    assert "Replay of <strong>my &lt;trace&gt;.csv</strong>" in report_page([a])
    both = report_page([a, b])
    assert "Replay of" not in both
    assert f"{b.name}: randread,count=30: constant:1us</dd>" in both


def test_a_replay_has_no_panels_of_a_guest_nor_of_three_discards(replayed: RunData) -> None:
    runs = side_by_side([replayed])
    assert operations_shown(runs) == [(DEVICE, "read")]
    assert notices(runs) == []
    page = report_page([replayed])
    assert "discard" in page  # in the tables
    assert "simulated:</strong> 300 requests, without a guest<" in page
    for name in ("service", "freeze-and-warp", "output"):
        assert f'id="{name}"' not in page


def document(**plan: Any) -> dict[str, Any]:
    return {"plan": {"disks": ["constant:100us,name=a b"], "script": "", **plan}}


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (
            {"script": "#!/bin/sh\nexec dd if=/dev/vda 'of=/dev/null x'\n"},
            "freezingtime run --disk 'constant:100us,name=a b' -- dd if=/dev/vda 'of=/dev/null x'",
        ),
        (
            {"script": "#!/bin/sh\ndd if=/dev/vda | wc -c\n", "cpus": 2, "memory_bytes": 1 << 30},
            "freezingtime run --disk 'constant:100us,name=a b' --memory 1GiB --cpus 2 -- "
            "'dd if=/dev/vda | wc -c'",
        ),
        (
            {"script": "#!/bin/sh\ntrue\nEND\n", "from": "db", "environment": ["T=1 2"]},
            "freezingtime run --disk 'constant:100us,name=a b' --from db --env 'T=1 2' --script "
            "/dev/stdin <<'END_'\n#!/bin/sh\ntrue\nEND\nEND_",
        ),
        (
            {"script": "#!/bin/sh\nexec /job/run\n", "job_directory": "my job"},
            "freezingtime run --disk 'constant:100us,name=a b' --job 'my job'",
        ),
        ({"script": "#!/bin/sh\nexec true\n", "system": {"disk": "x"}}, ""),
        ({"script": 7}, ""),
    ],
)
def test_the_command_of_a_run_can_be_copied(plan: dict[str, Any], expected: str) -> None:
    assert command_of(document(**plan)) == expected
    if expected:
        words = shlex.split(expected.partition(" <<")[0])
        assert words[:4] == ["freezingtime", "run", "--disk", "constant:100us,name=a b"]
        assert subprocess.run(["sh", "-n", "-c", expected], check=False).returncode == 0
    assert command_of(None) == ""
