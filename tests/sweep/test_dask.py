# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps on a Dask cluster: its scheduler and workers are processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import freezingtime as ft
from freezingtime.cli.results.sweep import app
from freezingtime.errors import InputError, RunError
from freezingtime.store.results.result_store import ResultStore
from tests.conftest import skip

_DEADLINE_S = 180.0
POINTS = ("--workload", "randrw,qd=8,count=2k", "--disk", "dev.toml")
DEVICE = 'model = "constant"\n[parameters]\nread = "1us"\nwrite = "2us"\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sweeps are begun; no worker of a cluster is started there."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    Path("dev.toml").write_text(DEVICE)
    return place


def sweep(*arguments: str, out: str = "out") -> Any:
    command = [*arguments, "--out", out, "--json"]
    result = CliRunner().invoke(app, command, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)["points"]


def test_without_dask_it_is_said_how_to_get_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"--dask local: needs .*pip install 'freezingtime\[dask"):
        sweep(*POINTS, "--set", "seed=1", "--dask", "local", "--no-store")
    with pytest.raises(InputError, match="name a store=DIR that all its workers share"):
        ft.sweep(vary={"seed": [1]}, workload="read", disks=["dev.toml"], dask="tcp://a:1")
    assert not Path("out").exists()


class Cluster:
    """A scheduler, and workers, which may be killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.begin()

    def begin(self) -> None:
        """Start a scheduler and two workers."""
        self._file.unlink(missing_ok=True)
        arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        self._start("scheduler", *arguments, "--scheduler-file", str(self._file))
        deadline_s = time.monotonic() + _DEADLINE_S
        while not (self._file.exists() and self._file.read_text().strip().endswith("}")):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        for _ in range(2):
            self.add_worker()

    def add_worker(self) -> None:
        """Start a worker, a process of one thread, without anybody who would start it again."""
        arguments = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "20")
        self._start("worker", *arguments, "--host", "127.0.0.1", self.address)

    @property
    def address(self) -> str:
        return str(json.loads(self._file.read_text())["address"])

    def kill(self, number: int) -> None:
        """Kill a process: the scheduler is the first."""
        self.processes[number].send_signal(signal.SIGKILL)
        self.processes.pop(number).wait()

    def end(self) -> None:
        while self.processes:
            self.kill(0)

    def _start(self, role: str, *arguments: str) -> None:
        module = f"distributed.cli.dask_{role}"
        command = [sys.executable, "-m", module, *arguments, "--local-directory", str(self._path)]
        if role == "scheduler":
            command = command[:-2]
        log = (self._path / "log").open("ab")
        with log:
            self.processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=self._path, env=os.environ)
            )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    try:
        import distributed  # noqa: F401
    except ImportError:
        skip("the package distributed is missing: pip install 'freezingtime[dask]'")
    (tmp_path / "cluster").mkdir()
    made = Cluster(tmp_path / "cluster")
    try:
        yield made
    finally:
        made.end()


@pytest.mark.slow
def test_the_results_of_a_cluster_are_those_of_this_machine(place: Path, cluster: Cluster) -> None:
    varied = ("--set", "disk=dev.toml,nope,constant:3us", "--set", "seed=range(4)")
    points = sweep(*POINTS, *varied, "--dask", cluster.address)
    assert [point["status"] for point in points] == ["ok"] * 4 + ["error"] * 4 + ["ok"] * 4
    sweep(*POINTS, *varied, "--workers", "1", "--store", "other", out="alone")
    assert Path("out/results.parquet").read_bytes() == Path("alone/results.parquet").read_bytes()
    # Results are in the sweep's directory, where all of them can write.
    assert ResultStore(Path("out/store")).find(points[0]["result"]) is not None
    again = sweep(*POINTS, *varied, "--dask", cluster.address, "--verify-cache", "100%")
    assert [point["from_store"] for point in again] == [True] * 4 + [False] * 4 + [True] * 4
    assert [point["status"] for point in again] == [point["status"] for point in points]
    swept = ft.sweep(
        vary={"seed": [1, 2]},
        workload="randrw,qd=8,count=2k",
        disks=["dev.toml"],
        dask=cluster.address,
        store="out/store",
        progress=False,
    )
    assert list(swept.table["status"]) == ["ok"] * 2


SLOW = """
import os, time
from pathlib import Path
from freezingtime.device.constant import ConstantDevice
class Mine(ConstantDevice):
    def __init__(self, seed):
        Path(f"begun-{seed}").touch()
        while not Path("go").exists():
            time.sleep(0.02)
        super().__init__(read_ns=1000 + seed, write_ns=1, flush_ns=0, discard_ns=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "scheduler"])
def test_what_dies_of_a_cluster_costs_no_result(place: Path, cluster: Cluster, victim: str) -> None:
    """A killed worker's point is run by another; without its scheduler a sweep ends and says so."""
    from concurrent.futures import ThreadPoolExecutor

    Path("mine.py").write_text(SLOW)
    points = ("--workload", "randread,count=5", "--disk", "mine.py:Mine", "--set", "seed=range(6)")

    def kill_when_two_have_begun() -> None:
        deadline_s = time.monotonic() + _DEADLINE_S
        while len(list(place.glob("begun-*"))) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        cluster.kill(0 if victim == "scheduler" else 1)
        (place / "go").touch()

    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill_when_two_have_begun)
        if victim == "worker":
            ended = sweep(*points, "--dask", cluster.address)
        else:
            with pytest.raises(RunError, match=r"the scheduler is gone; .* the same command goes"):
                sweep(*points, "--dask", cluster.address)
            cluster.end()
            cluster.begin()
            ended = sweep(*points, "--dask", cluster.address)
        killer.result()
    assert [point["status"] for point in ended] == ["ok"] * 6
    times = pq.read_table("out/results.parquet")["read.max_ns"].to_pylist()
    assert times == [1000 + seed for seed in range(6)]
