# SPDX-License-Identifier: GPL-2.0-or-later
"""Validation: a device in a guest against logs of known distributions, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import freezingtime as ft
from freezingtime.calibrate.fit.sources import Source, read_sources
from freezingtime.calibrate.latency_cells import Cell
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.calibrate.validate.in_guest import DEPTH_MAX, guest_script, reason_not_comparable
from freezingtime.calibrate.validate.options import ValidateOptions, make_validate_plan
from freezingtime.calibrate.validate.validate import ValidatePlan, Validation, validate
from freezingtime.device.trace_device import OperationClass
from freezingtime.errors import InputError
from freezingtime.trace.readers.latencies import Latencies
from tests.conftest import RunProgram
from tests.simulate.test_fit import draws, no_notes, write_fio_log, write_log_pair

READ, WRITE = OperationClass.READ, OperationClass.WRITE


def read(*paths: Path) -> tuple[Latencies, list[Source]]:
    return read_sources(
        paths,
        LogOptions(),
        notify=pytest.fail,
        on_reading=no_notes,
        progress=lambda *step: None,
    )


def validated(plan: ValidatePlan, *paths: Path) -> Validation:
    return validate(*read(*paths), plan)


@pytest.mark.guest
def test_a_guest_is_given_what_was_measured_within_chance(tmp_path: Path) -> None:
    """Half of 10,000 draws make the device; 1,000 requests of each kind come back."""
    logs = write_log_pair(tmp_path, "normal")
    options = ValidateOptions(cpus="1", requests=1000, delay="0")
    found = validated(make_validate_plan(options=options), *logs)
    read_cell, write_cell = found.cells
    assert (read_cell.cell.name, write_cell.cell.name) == (
        "read 4KiB depth 1",
        "write 4KiB depth 1",
    )
    for cell in found.cells:
        assert len(cell.fitted_ns) + len(cell.held_out_ns) == 10_000
        apart = cell.distances[1]
        assert apart.actual_count == 1000
        assert abs(apart.error("mean")) < 0.005
        assert abs(apart.error("p99")) < 0.02
        assert apart.ks < 0.06
        assert not cell.misses()
    assert found.request_counts[1] >= 2000
    assert found.left_out == []


@pytest.mark.guest
def test_another_device_is_judged_and_its_misses_are_told(
    tmp_path: Path, freezingtime: RunProgram
) -> None:
    """Reads of 100 us that are emulated in 120: 20 % too slow, over a medium of 1 ms."""
    log = write_fio_log(tmp_path / "r_lat.1.log", np.full(2000, 100_000))
    command = [
        *("validate", "constant:120us", "--against", log, "--cpus", "1", "--requests", "200"),
        *("--delay", "1ms", "--out", tmp_path / "out", "-q"),
    ]
    done = freezingtime(*command, "--figures", tmp_path / "figures")
    assert done.returncode == 0, done.stderr
    assert "guest, 1 CPU, against B       200       +20.0%!  +20.0%  +20.0%  +20.0%!" in done.stdout
    assert (
        "reads, 1 CPU: mean error 20.00%; by request 20.00 %, 95 % within +20.0 to" in done.stdout
    )
    assert "0 of 2 figures within the aim (mean 3%, p99 10%)" in done.stdout
    assert "! read 4KiB depth 1, 1 CPU: mean is off by +20.0%. Of the measurement" in done.stdout
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    names = ("distributions", "drift", "error-distributions", "errors", "quantiles")
    assert figures == [f"validate-{name}.svg" for name in names]
    assert (tmp_path / "out" / "run-1-cpus" / "requests.parquet").is_file()


@pytest.mark.guest
def test_from_python(tmp_path: Path) -> None:
    logs = write_log_pair(tmp_path, "normal")
    device = ft.Disk("constant:read=100us,write=20us", write_cache=False)
    found = ft.validate(device, against=logs, cpus=[1], requests=100)
    assert found.validation.device == device.spec
    assert found.summary.against.tolist() == 2 * ["halves", "in time", "guest with 1 CPU"]
    guest = found.summary.query("against == 'guest with 1 CPU'")
    assert (guest.mean_error.abs() < 0.01).all()
    assert (guest.p99_error < -0.05).all()
    assert found.within_aim
    assert (found.path / "run-1-cpus" / "run.json").is_file()


@pytest.mark.guest
@pytest.mark.slow
def test_queues_and_several_cpus_are_within_the_aim(tmp_path: Path) -> None:
    """Two sizes and three depths, at 1 and 4 CPUs, over a medium twice as slow."""
    paths = [
        write_fio_log(
            tmp_path / f"{direction}-{size}-{depth}_lat.1.log",
            depth * (draws("gamma", seed=depth + size + direction) + size),
            direction=direction,
            size=size,
            depth=depth,
        )
        for direction in (0, 1)
        for size in (4096, 65536)
        for depth in (1, 4, 16)
    ]
    found = validated(make_validate_plan(options=ValidateOptions(requests=5000)), *paths)
    assert len(found.cells) == 12
    assert set(found.frozen_host_ns) == {1, 4}
    assert all(frozen_ns > 0 for frozen_ns in found.frozen_host_ns.values())
    for cell in found.cells:
        for cpus, apart in cell.distances.items():
            assert abs(apart.error("mean")) < 0.03, (cell.cell.name, cpus)
            assert abs(apart.error("p99")) < 0.10, (cell.cell.name, cpus)


@pytest.mark.guest
@pytest.mark.slow
def test_a_file_is_measured_and_validated(tmp_path: Path, freezingtime: RunProgram) -> None:
    """The whole way on this machine's own disk; its figures are its own, so only their shape."""
    done = freezingtime(
        *("validate", "fit", "--against", tmp_path / "probe", "--create", "64MiB", "--write"),
        *("--yes", "--rounds", "4", "--runtime", "500ms", "--requests", "2000", "--json", "-q"),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [cell["operation"] for cell in document["cells"]] == ["read", "write"]
    for cell in document["cells"]:
        assert set(cell["guest_against_held_out"]) == {"1", "4"}
        assert cell["guest_against_held_out"]["1"]["ks"] < 0.3
    (left_out,) = document["left_out"]
    assert left_out.startswith("flush depth 1: ")
    assert not (tmp_path / "probe").exists()


def test_the_script_runs_each_cell_on_a_disk_of_its_own() -> None:
    cells = [Cell(READ, 4096, 1, np.ones(1)), Cell(WRITE, 65536, 16, np.ones(1))]
    script = guest_script(cells, [500, 700], seed=3)
    assert script.startswith("#!/bin/sh\nset -e\nfio ")
    first, second = script.splitlines()[2:]
    assert "--filename=/dev/vda --rw=randread --bs=4096 --iodepth=1 --number_ios=500 " in first
    assert "--filename=/dev/vdb --rw=randwrite --bs=65536 --iodepth=16 --number_ios=700" in second


def test_what_a_guest_cannot_do_is_left_out() -> None:
    nothing = np.ones(1)
    assert reason_not_comparable(Cell(READ, 4096, DEPTH_MAX, nothing)) is None
    deep = reason_not_comparable(Cell(READ, 4096, DEPTH_MAX + 1, nothing))
    assert deep == f"a guest's disk has a queue of {DEPTH_MAX}"
    assert reason_not_comparable(Cell(OperationClass.FLUSH, 0, 1, nothing)) == (
        "the guest only runs reads and writes"
    )
    assert reason_not_comparable(Cell(READ, 1000, 1, nothing)) is not None
    assert reason_not_comparable(Cell(READ, 2 << 20, 1, nothing)) is not None


def refusal(*paths: Path, device: str = "fit") -> str:
    with pytest.raises(InputError) as caught:
        validated(make_validate_plan(device), *paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_too_little_to_hold_out_is_refused(tmp_path: Path) -> None:
    short = write_fio_log(tmp_path / "short_lat.1.log", 10 * draws("uniform")[:150])
    assert refusal(short) == (
        "the log has nothing to compare: read 4KiB depth 1: too few requests: 150; 200 are "
        "needed, half of them held out"
    )
    deep = write_fio_log(tmp_path / "deep_lat.1.log", 64 * draws("uniform"), depth=512)
    assert refusal(deep) == (
        "the log has nothing to compare: read 4KiB depth 512: a guest's disk has a queue of "
        f"{DEPTH_MAX}"
    )
    bins = {"80000": 500, "90000": 500}
    table = {"total_ios": 1000, "io_bytes": 4096000, "runtime": 85, "clat_ns": {"bins": bins}}
    histogram = tmp_path / "fio.json"
    histogram.write_text(json.dumps({"fio version": "fio-3.33", "jobs": [{"read": table}]}))
    assert refusal(histogram).startswith(
        "the log has nothing to compare: read 4KiB depth 1: from a histogram, which has no single"
    )


def test_the_command_refuses_in_one_line(tmp_path: Path, freezingtime: RunProgram) -> None:
    log = write_fio_log(tmp_path / "r_lat.1.log", draws("uniform"))
    other = tmp_path / "notes.txt"
    other.write_text("hello\n")
    cases = {
        ("nothing", log): "unknown device 'nothing'; 'freezingtime devices",
        ("constant:1us,size=1GiB", log): "constant:1us,size=1GiB: name a device without disk",
        ("fit", log, "--cpus", "0"): "--cpus 0: must be numbers from 1 to 16, such as 1,4",
        ("fit", log, "--cpus", "1,2,3,4,5,6"): "--cpus 1,2,3,4,5,6: must be at most 5",
        ("fit", log, "--requests", "1"): "--requests 1: must be from 100 to 10000000",
        ("fit", log, "--delay", "1"): "--delay 1: bad time '1'",
        ("fit", log, "--model", "best"): "--model best: must be one of: empirical, latency",
        ("fit", other, "--yes"): f"{other}: has 6 bytes; 16MiB is the minimum",
        ("fit", tmp_path / "none", "--yes"): f"{tmp_path}/none: No such file or directory; name",
    }
    for (device, against, *options), expected in cases.items():
        done = freezingtime("validate", device, "--against", against, *options, "-q")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith(f"freezingtime: {expected}"), done.stderr
        assert done.stderr.count("\n") == 1
