# SPDX-License-Identifier: GPL-2.0-or-later
"""What fio's jobs leave: several logs as one load, JSON, and logs that are not of latencies."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from freezingtime.calibrate.fit.fit import FitPlan, fit, parse_missing, simulate_cell
from freezingtime.calibrate.fit.sources import read_sources
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers import Reading
from freezingtime.trace.readers.latencies import Latencies
from freezingtime.trace.readers.read_latencies import read_latencies
from tests.conftest import require_tool

R, W, F = Operation.READ, Operation.WRITE, Operation.FLUSH


def write_log(
    path: Path,
    took_us: int,
    *,
    count: int,
    begin_ms: int = 0,
    in_flight: int = 1,
    columns: str = "0",
) -> Path:
    """A log of a closed loop: ``columns`` are those after the size."""
    path.write_text(
        "".join(
            f"{begin_ms + took_us * number // 1000 // in_flight}, {1000 * took_us}, 0, 4096"
            f"{f', {columns}' if columns else ''}\n"
            for number in range(1, count + 1)
        )
    )
    return path


def read(
    paths: Sequence[Path], *, depth: int | None = None, time_unit: str | None = None
) -> tuple[Latencies, list[Reading]]:
    told: list[Reading] = []
    latencies, _ = read_sources(
        paths,
        LogOptions(depth=depth, time_unit=time_unit),
        notify=pytest.fail,
        on_reading=told.append,
        progress=lambda *step: None,
    )
    return latencies, told


def complaint(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read([path], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_jobs_that_ran_at_once_are_one_load(tmp_path: Path) -> None:
    """Four of depth 1 at 400 us are 10,000 IOPS at depth 4, from a directory or by name."""
    logs = [write_log(tmp_path / f"q_lat.{n}.log", 400, count=2000) for n in range(1, 5)]
    for paths in ([tmp_path], logs):
        latencies, told = read(paths)
        assert set(latencies.depth.tolist()) == {4}
        assert told[0].notes == (
            "q_lat.1.log to q_lat.4.log: 4 concurrent jobs, which are one load; if they ran "
            "one after the other, give --depth",
        )
        assert not any(reading.notes for reading in told[1:])
    fitted = fit(latencies, [], FitPlan(missing=parse_missing(["write=read"]), summary="x"))
    (cell,) = fitted.cells
    simulated_ns = simulate_cell(fitted.describe(), cell.cell, seed=1)
    assert cell.cell.depth * 1e9 / simulated_ns.mean() == pytest.approx(10_000, rel=0.001)
    assert set(read(logs, depth=1)[0].depth.tolist()) == {1}


def test_of_jobs_of_other_lengths_those_count_that_still_run(tmp_path: Path) -> None:
    write_log(tmp_path / "q_clat.1.log", 100, count=2000)
    write_log(tmp_path / "q_clat.2.log", 100, count=6000)
    latencies, _ = read([tmp_path])
    depths = latencies.depth.reshape(-1)
    assert set(depths[:2000].tolist()) == {2}
    assert np.unique(depths[2000:], return_counts=True)[1].tolist() == pytest.approx(
        [4000, 2000], abs=20
    )


def test_jobs_whose_logs_were_written_far_apart_ran_one_after_the_other(tmp_path: Path) -> None:
    for number in range(1, 5):
        path = write_log(tmp_path / f"q_lat.{number}.log", 1000, count=3000)
        written_s = 1_700_000_000 + 3 * (number // 3)
        os.utime(path, (written_s, written_s))
    latencies, told = read([tmp_path])
    assert set(latencies.depth.tolist()) == {2}
    assert told[0].notes == (
        "q_lat.1.log to q_lat.4.log: written so far apart that 2 of them ran one after the other; "
        "if all ran at once, give --depth",
    )


def test_jobs_that_share_a_log_are_one_load(tmp_path: Path) -> None:
    one = write_log(tmp_path / "one", 400, count=2000).read_text()
    (tmp_path / "q_lat.log").write_text(one * 3)
    latencies, (reading,) = read([tmp_path / "q_lat.log"])
    assert set(latencies.depth.tolist()) == {3}
    assert reading.notes[0].startswith("q_lat.log: its times begin again at 2 places: 3 jobs")


def test_logs_of_different_runs_are_different_loads(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / f"{name}_lat.1.log", 100, count=2000) for name in ("a", "b")]
    latencies, told = read(logs)
    assert set(latencies.depth.tolist()) == {1}
    assert not any(reading.notes for reading in told)


def test_issue_times_say_the_depth_of_each_request(tmp_path: Path) -> None:
    """With offsets and without, from a bursty load: 3 at once, then one."""
    rows = [(0, 900), (100, 900), (200, 900), (5000, 100)] * 100
    for offset in ("4096, ", ""):
        text = "".join(
            f"{(10_000 * (n // 4) + at + took) // 1000}, {1000 * took}, 0, 4096, {offset}0x0000, "
            f"{1000 * (10_000 * (n // 4) + at)}\n"
            for n, (at, took) in enumerate(rows)
        )
        (tmp_path / "log").write_text(text)
        latencies, _ = read([tmp_path / "log"])
        assert latencies.depth.tolist() == [1, 2, 3, 1] * 100


def test_four_columns_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{n // 10}, {100 + n % 7}, 0, 4096\n" for n in range(2000)))
    assert complaint(path) == (
        "log: has four columns, as fio 2 has, whose latencies are us, and fio 3.0 to 3.16, whose "
        "are ns; say --time-unit us (a mean of 103 us, 1 in flight) or ns (0.001 in flight)"
    )
    for unit, mean_ns in (("us", 102_994), ("ns", 102.994)):
        latencies, _ = read([path], time_unit=unit)
        assert latencies.latency_ns.mean() == pytest.approx(mean_ns, rel=1e-4)
    path.write_text("0, 100000, 0, 4096, 0\n")
    assert complaint(path, time_unit="us").startswith("--time-unit: ")


AVERAGES = "all sizes are 0: averages over time (log_avg_msec)"
NOT_LATENCIES = {
    "averages": ("lat", ("--log_avg_msec=1",), AVERAGES),
    "bandwidth": ("bw", (), "every value is a size over a whole number of ns: a log of bandwidth"),
    "IOPS": ("iops", (), "all values are 1: a log of IOPS, not of latencies"),
}


@pytest.mark.parametrize("name", NOT_LATENCIES)
def test_logs_of_fio_that_are_no_latencies_are_known_by_their_content(
    name: str, tmp_path: Path
) -> None:
    """The real fio writes them; under another name they look like logs of latencies."""
    kind, options, expected = NOT_LATENCIES[name]
    subprocess.run(
        [
            *(require_tool("fio"), "--name=t", "--filename=data", "--size=1m", "--bs=4k"),
            *("--rw=randread", "--ioengine=psync", "--number_ios=3000", "--io_size=1g"),
            *("--norandommap", "--write_lat_log=t", "--write_bw_log=t", "--write_iops_log=t"),
            *options,
        ],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    found = (tmp_path / f"t_{kind}.1.log").rename(tmp_path / "renamed.log")
    assert complaint(found).startswith(f"renamed.log: {expected}")
    if not options:
        assert len(read([tmp_path / "t_clat.1.log"])[0]) == 3000


def test_a_log_of_bandwidth_of_a_slow_device_is_asked_about(tmp_path: Path) -> None:
    """Small numbers are quotients often; but these are a loop as bandwidths, and idle as ns."""
    path = tmp_path / "log"
    took_us = np.random.default_rng(1).integers(9_000, 11_000, 500)
    ends_ms = np.cumsum(took_us) // 1000
    values = 4096 * 10**3 // took_us
    lines = zip(ends_ms.tolist(), values.tolist(), strict=True)
    path.write_text("".join(f"{end}, {value}, 0, 4096, 0\n" for end, value in lines))
    assert complaint(path).startswith(
        "log: looks like a log of bandwidth: as kB/s its values mean 1 in flight all the time, as "
        "ns of latency 4.1e-05; "
    )
    assert len(read([path], depth=1)[0]) == 500
    # A host that is slow leaves a device idle, too; then fio's name for the log says what it is.
    assert len(read([path.rename(tmp_path / "t_clat.1.log")])[0]) == 500


@pytest.mark.parametrize("kind", ["bw", "iops", "slat", "clat_hist"])
@pytest.mark.parametrize("number", ["", ".1"])
def test_other_logs_of_fio_are_known_by_their_names(kind: str, number: str, tmp_path: Path) -> None:
    path = write_log(tmp_path / f"job_{kind}{number}.log", 80, count=1)
    assert complaint(path) == (
        f"{path.name}: by its name is a {kind} log; name the _lat or _clat log"
    )


def job(
    group: int = 0, *, bins: dict[str, int], mean_ns: float, runtime_ms: int, file: str = "data"
) -> dict[str, Any]:
    count = sum(bins.values())
    return {
        "groupid": group,
        "job options": {"filename": file},
        "read": {
            "total_ios": count,
            "io_bytes": 4096 * count,
            "runtime": runtime_ms,
            "lat_ns": {"mean": mean_ns},
            "clat_ns": {"bins": bins},
        },
    }


def json_of(path: Path, *jobs: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"fio version": "fio-3.33", "jobs": jobs}))
    return path


@pytest.mark.parametrize(
    ("group", "file", "depth"), [(0, "data", 2), (1, "data", 1), (0, "/dev/sdb", 1)]
)
def test_jobs_in_json_are_one_load_if_they_run_at_once_on_one_device(
    group: int, file: str, depth: int, tmp_path: Path
) -> None:
    kinds = {"bins": {"400000": 1000}, "mean_ns": 400_000, "runtime_ms": 400}
    second = job(group, file=file, **kinds)
    path = json_of(tmp_path / "log", job(**kinds), second)  # type: ignore[arg-type]
    latencies, (reading,) = read([path])
    assert set(latencies.depth.tolist()) == {depth}
    loads = "one load" if depth == 2 else "2 loads"
    said = f"2 jobs, of which those of one group and device ran at once: {loads}"
    assert said in reading.facts


def test_json_of_real_jobs_has_the_depth_of_all(tmp_path: Path) -> None:
    """With and without group_reporting; a job with ``stonewall`` is a load of its own."""
    (tmp_path / "jobs.fio").write_text(
        "[global]\nioengine=psync\nfilename=data\nsize=1m\nbs=4k\nrw=randread\ntime_based\n"
        "runtime=400ms\nthinktime=5ms\nthinktime_iotime=0\n"
        "[all]\nnumjobs=3\n[alone]\nstonewall\n"
    )
    for option in ((), ("--group_reporting",)):
        subprocess.run(
            [
                *(require_tool("fio"), "jobs.fio", "--output-format=json+", "--output=out.json"),
                *option,
            ],
            check=True,
            capture_output=True,
            cwd=tmp_path,
        )
        document = json.loads((tmp_path / "out.json").read_text())
        # What fio measured is replaced: the host's speed is not what this is about.
        for one in document["jobs"]:
            count, listed = one["read"]["total_ios"], 1 if option else 3
            jobs_count = 1 if one["jobname"] == "alone" else 3
            one["read"]["lat_ns"]["mean"] = (
                1e6 * one["read"]["runtime"] * jobs_count / listed / count
                if one["jobname"] == "all" and not option
                else 1e6 * one["read"]["runtime"] * jobs_count / count
            )
        (tmp_path / "out.json").write_text(json.dumps(document))
        latencies = read_latencies(tmp_path / "out.json")
        assert sorted(set(latencies.depth.tolist())) == [1, 3]


def test_no_quantile_of_a_long_histogram_moves(tmp_path: Path) -> None:
    """10 million lognormal requests in bins; each bin rounded up made p99.99 46 % too long."""
    edges_ns = np.exp(np.arange(7, 18, 1 / 128))
    below = stats.lognorm(0.8, scale=80_000).cdf(edges_ns)
    counts = np.rint(np.diff(below) * 1e7).astype(np.int64)
    values_ns = np.rint(np.sqrt(edges_ns[1:] * edges_ns[:-1])).astype(np.int64)
    bins = dict(zip(map(str, values_ns.tolist()), counts.tolist(), strict=True))
    path = json_of(tmp_path / "log", job(bins=bins, mean_ns=1e5, runtime_ms=1000))
    found_ns = read_latencies(path).latency_ns
    assert len(found_ns) == 200_000
    up_to = np.cumsum(counts) / counts.sum()
    for share in (0.5, 0.99, 0.999, 0.9999):
        expected_ns = values_ns[np.searchsorted(up_to, share)]
        assert np.quantile(found_ns, share) == pytest.approx(expected_ns, rel=0.008)
    assert found_ns.mean() == pytest.approx((values_ns * counts).sum() / counts.sum(), rel=1e-4)


def test_jobs_weigh_as_many_requests_as_they_made(tmp_path: Path) -> None:
    """Of two jobs of one kind, 900,000 fast requests and 300,000 slow ones."""
    fast = job(bins={"100000": 900_000}, mean_ns=100_000, runtime_ms=90_000)
    slow = job(bins={"300000": 300_000}, mean_ns=300_000, runtime_ms=90_000)
    latencies = read_latencies(json_of(tmp_path / "log", fast, slow))
    assert latencies.latency_ns.mean() == 150_000
    assert len(latencies) == 200_000


def test_json_of_mixed_directions_is_refused(tmp_path: Path) -> None:
    path = json_of(tmp_path / "log", {"mixed": {"total_ios": 5}})
    assert complaint(path) == (
        "log: jobs[0]: reads and writes are one; leave out unified_rw_reporting, or let it be both"
    )
