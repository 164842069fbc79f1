# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime devices`: which devices are listed, in which order, on which width."""

from __future__ import annotations

import json
from pathlib import Path

from freezingtime.cli.output.columns import narrowed
from tests.cli.conftest import RunHere


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


def test_a_class_and_a_capacity_select(run_here: RunHere) -> None:
    optane = ["intel-optane-p4800x-750gb", "intel-optane-p5800x-1.6tb"]
    assert names(run_here("devices", "optane", "--class", "scm").stdout) == optane
    larger = run_here("devices", "optane", "--min-capacity", "750000000001").stdout
    assert names(larger) == optane[1:]
    assert names(run_here("devices", "optane", "--min-capacity", "750GB").stdout) == optane


def test_latencies_are_simulated_sorted_by_and_shown(run_here: RunHere, tmp_path: Path) -> None:
    """A device that is named beside a pattern is listed as well; the same twice is one."""
    slow = tmp_path / "slow.toml"
    slow.write_text('model = "constant"\n[parameters]\nread = "2ms"\n')
    devices = (slow, "optane", "constant:1us", "constant:1us", slow)
    header, *rows = (
        line.split() for line in run_here("devices", *devices, "--sort", "p99").stdout.splitlines()
    )
    latencies = ["mean", "p50", "p99", "p99.9"]
    assert header == ["name", "class", "model", "capacity", *latencies, "summary"]
    listed = ["constant:1us", "intel-optane-p5800x-1.6tb", "intel-optane-p4800x-750gb", "slow"]
    assert [row[0] for row in rows] == listed
    assert rows[0][4:8] == ["1us"] * 4
    as_json = json.loads(run_here("devices", *devices, "--sort", "mean", "--json").stdout)
    assert [device["name"] for device in as_json] == listed
    assert as_json[-1]["read_latency"]["p99_ns"] == 2_000_000
    by_capacity = names(run_here("devices", *devices, "--sort", "capacity").stdout)
    assert by_capacity == [*reversed(listed[1:3]), "constant:1us", "slow"]  # two have none


def test_what_is_around_a_device_is_listed_and_not_in_its_figures(
    run_here: RunHere, tmp_path: Path
) -> None:
    file = tmp_path / "tired.toml"
    file.write_text(
        'model = "constant"\nparameters = {read = "100us"}\n'
        '[[at]]\ntime = "4ms"\nparameters.read = "2ms"\n'
        '[[fault]]\nslow_by = "9ms"\nnth = 3\n'
    )
    lines = run_here("devices", file).stdout.splitlines()
    assert lines[lines.index("Changes while it runs") + 1] == "4ms read=2ms"
    assert lines[lines.index("Rules of faults") + 1] == "slow_by=9ms,nth=3"
    assert "Predicted and published figures, without these" in lines
    as_json = json.loads(run_here("devices", file, "--json").stdout)
    assert (as_json["changes"], as_json["faults"]) == (["4ms read=2ms"], ["slow_by=9ms,nth=3"])
    predicted = {each["metric"]: each["predicted"] for each in as_json["predictions"]}
    assert predicted["read_latency"] == 100_000


def test_what_is_too_wide_is_taken_from_the_columns_in_turn() -> None:
    assert narrowed([20, 30, 40], 94, [2, 1]) == [20, 30, 40]
    assert narrowed([20, 30, 40], 93, [2, 1]) == [20, 30, 39]
    assert narrowed([20, 30, 40], 60, [2, 1]) == [20, 26, 10]
    assert narrowed([20, 30, 40], 10, [2, 1]) == [20, 10, 10]
    assert narrowed([20, 5, 40], 10, [1]) == [20, 5, 40]
