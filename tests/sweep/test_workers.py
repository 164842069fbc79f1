# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps that workers on several machines run from one directory: in this process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from freezingtime.cli.results.sweep import app as sweep_app
from freezingtime.cli.results.worker import app as worker_app
from freezingtime.device import own_model
from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.cluster import queue_engine, work
from freezingtime.explore.sweep.cluster import work_queue as queue_module
from freezingtime.explore.sweep.cluster.lease import Leases
from freezingtime.explore.sweep.cluster.request_document import parse_request, request_document
from freezingtime.explore.sweep.cluster.work_queue import read_queue
from freezingtime.explore.sweep.pool import execute_here
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.worker import execute
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions
from tests.conftest import PROGRAM, require_root, require_tool
from tests.sweep.test_replay_sweep import full_disk

DEVICE = 'model = "constant"\n[parameters]\nread = "{}"\n'
#: The account of nobody.
OTHER_ID = 65534
POINTS = ("--workload", "randread,count=20", "--set", "disk=dev.toml,constant:2us")
POINTS += ("--set", "seed=range(3)")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sweeps are enqueued; workers run their points in this process."""
    path = tmp_path / "place"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setattr(work, "execute_all", execute_here)
    Path("dev.toml").write_text(DEVICE.format("1us"))
    return path


def sweep(*arguments: str) -> Any:
    result = CliRunner().invoke(sweep_app, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def run_worker(path: str | Path, *arguments: str) -> str:
    command = [str(path), "--workers", "1", *arguments]
    result = CliRunner().invoke(worker_app, command, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == 0
    return result.output


def test_workers_alone_finish_an_enqueued_sweep(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = sweep("--enqueue", *POINTS, "--out", "s")
    assert result.return_value == 0
    assert "6 points: 0 from the store, 6 enqueued, 0 failed" in result.output
    assert "freezingtime worker s" in result.output
    # Elsewhere: all that is named is where it was, as seen from the sweep's directory.
    elsewhere = place.with_name("elsewhere")
    place.rename(elsewhere)
    monkeypatch.chdir("/")
    assert "all 6 points have been run, 6 here, 0 failed here" in run_worker(elsewhere / "s")
    assert "all 6 points have been run, 0 here, 0 failed here" in run_worker(elsewhere / "s")
    assert list((elsewhere / "s" / "work" / "leases").iterdir()) == []
    # The table of workers is that of a sweep on one machine, to the byte; and the same command
    # reads all of it back.
    monkeypatch.chdir(elsewhere)
    sweep(*POINTS, "--out", "alone", "--store", "other", "--workers", "1")
    assert Path("s/results.parquet").read_bytes() == Path("alone/results.parquet").read_bytes()
    again = json.loads(sweep(*POINTS, "--out", "s", "--json", "-q").stdout)["points"]
    assert [point["from_store"] for point in again] == [True] * 6


def test_who_waits_for_workers_gets_their_results(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_engine, "_LOOK_S", 0.05)
    monkeypatch.setattr(queue_engine, "_TICK_S", 0.01)

    def work_when_there_is_a_queue() -> None:
        deadline_s = time.monotonic() + 60
        while not Path("s/work/queue.json").exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        work.work_on(read_queue(Path("s")), workers=1, lease_s=60, observe=lambda progress: None)

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work_when_there_is_a_queue)
        done = sweep("--workers", "0", *POINTS, "--out", "s", "--json")
        worker.result()
    assert done.return_value == 0
    points = json.loads(done.stdout)["points"]
    assert [point["status"] for point in points] == ["ok"] * 6
    assert [point["from_store"] for point in points] == [False] * 6
    assert "6 run, 0 failed" in done.stderr


FAILING = """
from pathlib import Path
from freezingtime.device.constant import ConstantDevice
class Mine(ConstantDevice):
    def __init__(self, seed):
        if Path("broken").exists():
            raise ValueError("broken")
        super().__init__(read_ns=1000, write_ns=1, flush_ns=0, discard_ns=0)
"""


def test_what_fails_is_told_and_tried_once_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text(FAILING)
    points = ("--workload", "randread,count=5", "--set", "disk=constant:1us,mine.py:Mine")
    sweep("--enqueue", *points, "--out", "s", "--quiet")
    with pytest.raises(InputError, match=r"mine.py:Mine: is Python code; --allow-code runs it"):
        run_worker("s")
    monkeypatch.setattr(own_model, "_is_code_allowed", True)
    Path("broken").touch()
    assert "all 2 points have been run, " in run_worker("s")
    monkeypatch.chdir(place)
    table = pq.read_table("s/results.parquet")
    assert table["status"].to_pylist() == ["ok", "error"]
    assert "ValueError: broken" in table["reason"].to_pylist()[1]
    # Nobody tries again, until the sweep is enqueued again.
    Path("broken").unlink()
    assert "all 2 points have been run, 0 here" in run_worker("s")
    sweep("--enqueue", *points, "--out", "s", "--quiet")
    assert "all 2 points have been run, 1 here, 0 failed here" in run_worker("s")
    assert pq.read_table("s/results.parquet")["status"].to_pylist() == ["ok", "ok"]


def test_a_table_whose_writer_has_died_is_written(place: Path) -> None:
    sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    Path("s/work/leases/table.0").write_text('{"lease_s": 0.3, "host": "gone", "pid": 1}')
    before = Path("s/results.parquet").stat().st_mtime_ns
    run_worker("s", "--lease", "1s", "--quiet")
    assert Path("s/results.parquet").stat().st_mtime_ns > before
    assert set(pq.read_table("s/results.parquet")["status"].to_pylist()) == {"ok"}
    assert Path("s/work/finished").exists()
    assert not list(Path("s/work/leases").iterdir())


def test_a_point_may_end_while_others_are_handed_out(place: Path) -> None:
    sweep(
        "--enqueue",
        "--workload",
        "randread,count=9",
        "--disk",
        "dev.toml",
        "--out",
        "s",
        *("--set", "seed=range(2)"),
    )
    queue = read_queue(Path("s"))
    first, second = (str(queued.key) for queued in queue.points)
    other = Leases(queue.leases_path, 60)
    assert other.claim(first) is not None
    with Leases(queue.leases_path, 0.2) as leases:
        left = {first: 0, second: 1}
        claiming = work._Work(queue, leases, work.WorkProgress(2), left, reads_results=True)
        claims = claiming.claims()
        _, task = next(claims) or pytest.fail("no task")
        assert task.digest == second
        assert next(claims) is None
        other.release(first)
        _, later = next(each for each in claims if each is not None)
        assert later.digest == first
        # The second ends while the first is handed out, and the look goes on behind the first.
        claiming.ended(execute(task))
        assert next(claims) is None
        claiming.ended(execute(later))
        assert next(claims, "end") in (None, "end")
        assert not left


def test_a_machine_that_is_not_the_same_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    Path("dev.toml").write_text(DEVICE.format("3us"))
    with pytest.raises(
        InputError, match=r"seed=\d: is not what was enqueued: its device differs on this machine"
    ):
        run_worker("s")
    Path("dev.toml").unlink()
    with pytest.raises(InputError, match=r"seed=\d: cannot be run on this machine: .*dev.toml"):
        run_worker("s")
    # Nothing is noted, and nothing kept from others.
    assert list(Path("s/work/failures").iterdir()) == list(Path("s/work/leases").iterdir()) == []
    Path("dev.toml").write_text(DEVICE.format("1us"))
    assert "0 failed here" in run_worker("s")
    monkeypatch.setattr(queue_module, "code_identity", lambda: {"numpy": "0.1"})
    with pytest.raises(
        InputError, match=r"was enqueued with another freezingtime \(\w{12}, here n"
    ):
        run_worker("s")


def test_a_result_that_is_damaged_is_run_anew(place: Path) -> None:
    sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    run_worker("s")
    queue = read_queue(Path("s"))
    first = Path("s/results.parquet").read_bytes()
    file = queue.store.place(queue.points[2].key or "") / "result.json"
    file.write_bytes(file.read_bytes()[:-9])
    sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    assert Path("s/results.parquet").read_bytes() != first
    assert "all 6 points have been run, 1 here" in run_worker("s")
    assert Path("s/results.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--enqueue", "--no-store"], "--no-store: other machines leave their results in the"),
        (["--dask", "tcp://a:1", "--no-store"], "--no-store: other machines leave their"),
        (["--enqueue", "--dask", "local"], "--dask: goes not with --enqueue or --workers 0"),
        (["--dask", "tcp://a:1", "--workers", "2"], "--workers 2: is the cluster's to say"),
        (["--workers", "0", "--refresh"], "--refresh: goes not with"),
        (["--enqueue", "--verify-cache", "1%"], "--verify-cache: goes not with"),
        (["--workers", "-1"], "--workers -1: write a number from 0 to 9999, or auto"),
    ],
)
def test_what_no_queue_can_have_is_named(place: Path, arguments: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        sweep(*arguments, *POINTS, "--out", "s")
    assert not Path("s").exists()


def test_what_is_no_queue_is_named(place: Path) -> None:
    with pytest.raises(InputError, match=r"s: has no queue for workers; name the --out of"):
        run_worker("s")
    sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    file = Path("s/work/queue.json")
    right = file.read_text()
    for wrong, problem in (
        (right[:99], "enqueue the sweep again"),
        (right.replace('"format":1', '"format":7', 1), "written by another version"),
        (right.replace('"options":{}', '"options":{"nope":1}'), "has the option 'nope'"),
        (right.replace('"options":{}', '"options":{"format":1}'), "option 'format' cannot be 1"),
    ):
        file.write_text(wrong)
        with pytest.raises(InputError, match=problem):
            run_worker("s")
    file.write_text(right)
    shutil.copytree("s", "deep/er/s")
    with pytest.raises(InputError, match="cannot be run on this machine"):
        run_worker("deep/er/s")
    for lease in ("0s", "86401s"):
        with pytest.raises(InputError, match=f"--lease {lease}"):
            run_worker("s", "--lease", lease)


@pytest.mark.parametrize(
    "request_",
    [
        ReplayRequest(("aws-gp3",), "read", None, ReplayOptions(), 3),
        ReplayRequest(
            (), None, Path("t"), ReplayOptions(closed_loop=2, speed_up=Fraction(1, 3), format="fio")
        ),
        RunRequest(RunOptions(disks=("a,size=1GiB",), env=("A=1",), cpus=2), Command(("a", "b c"))),
        RunRequest(RunOptions(boot=True, memory="1GiB"), b"#!/bin/sh\n\xff\n", Path("job")),
        RunRequest(RunOptions(), Command(line="echo 1")),
        RunRequest(RunOptions(), Command(line="echo 1"), prepare=Path("load.sh")),
    ],
)
def test_a_request_goes_through_its_document(request_: SweepRequest) -> None:
    document = json.loads(json.dumps(request_document(request_)))
    assert parse_request(document) == request_


def test_a_disk_goes_through_its_document_as_text() -> None:
    disk = Disk("constant:1us", size=4096, parameters={"read": "2us"}, faults=["error=EIO"])
    document = request_document(ReplayRequest([disk], "read", None, ReplayOptions()))
    again = parse_request(document)
    assert isinstance(again, ReplayRequest)
    assert again.disks == (disk.spec,)


def test_a_full_disk_is_named_and_the_same_command_goes_on(place: Path) -> None:
    with full_disk(0), pytest.raises(RunError, match=r"cannot write to .*: File too large; free"):
        sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    sweep("--enqueue", *POINTS, "--out", "s", "--quiet")
    with full_disk(0), pytest.raises(RunError, match="File too large; free space, and start the"):
        run_worker("s")
    assert list(Path("s/work/leases").iterdir()) == []
    assert "all 6 points have been run, 6 here, 0 failed here" in run_worker("s")


@pytest.mark.slow
def test_another_account_in_another_directory_has_the_same_bytes(tmp_path: Path) -> None:
    """A worker of each, for the same queue: every file of every result is the same."""
    require_root()
    require_tool("setpriv")
    for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        path.chmod(0o755)
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "dev.toml").write_text(DEVICE.format("1us"))
    program = [str(PROGRAM), "sweep", "--enqueue", *POINTS, "--out", "s", "--quiet"]
    subprocess.run(program, cwd=one, check=True)
    shutil.copytree(one, other)
    for path in (other, *other.rglob("*")):
        os.chown(path, OTHER_ID, OTHER_ID)
    home = {"HOME": str(other), "TMPDIR": str(other), "XDG_CACHE_HOME": str(other / "cache")}
    ids = ["setpriv", f"--reuid={OTHER_ID}", f"--regid={OTHER_ID}", "--clear-groups"]
    # Python may lie in root's own directory: it is to be found there, and no more.
    ids += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    worker = [str(PROGRAM), "worker", "--quiet"]
    subprocess.run([*worker, str(one / "s")], check=True, cwd="/")
    subprocess.run(
        [*ids, *worker, str(other / "s")], check=True, cwd="/", env={**os.environ, **home}
    )
    files = [
        {
            path.relative_to(each): path.read_bytes()
            for path in (each / "s" / "store" / "results").rglob("*")
            if path.is_file()
        }
        for each in (one, other)
    ]
    assert len(files[0]) == 6 * 4
    assert files[0] == files[1]
    owners = {path.stat().st_uid for path in (other / "s" / "store" / "results").rglob("*")}
    assert owners == {OTHER_ID}
    tables = [(each / "s" / "results.parquet").read_bytes() for each in (one, other)]
    assert tables[0] == tables[1]
