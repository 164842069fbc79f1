# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps of replays, and the store that they are read back from: in this process, but for one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from freezingtime.cli.results.sweep import app
from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep import replay_unit
from freezingtime.explore.sweep import sweep as sweep_module
from freezingtime.explore.sweep.points import Point, make_points
from freezingtime.explore.sweep.pool import execute_here
from freezingtime.explore.sweep.replay_unit import ReplayUnit
from freezingtime.explore.sweep.request import ReplayRequest
from freezingtime.explore.sweep.sweep import SweepObserver, SweepOptions, new_sweep, run_sweep
from freezingtime.explore.sweep.values import parse_set
from freezingtime.explore.sweep.worker import Status, Task, execute
from freezingtime.simulate.options import ReplayOptions
from freezingtime.simulate.replay import TraceSource, read_source
from freezingtime.simulate.workload import Workload, parse_workload
from freezingtime.store.results.result_store import ResultStore, StoredResult, damage
from freezingtime.trace.record_digest import record_digest

LINE = "randrw,qd=4,count=200"
SSD = "micron-7450-pro-960gb"


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "store")


def sweep(tmp_path: Path, *arguments: str, status: int = 0, out: str = "out") -> Any:
    """Run the command in this process; return its JSON document."""
    fixed = ["--out", str(tmp_path / out), "--store", str(tmp_path / "store"), "--workers", "1"]
    command = [*fixed, "--json", "--quiet", *arguments]
    result = CliRunner().invoke(app, command, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status
    return json.loads(result.stdout)["points"]


def execute_unit(store: ResultStore, unit: ReplayUnit, **task: Any) -> Any:
    return execute(Task(unit, unit.key().digest, store, **task))


def test_a_sweep_has_a_row_for_each_point_and_is_read_back(tmp_path: Path) -> None:
    arguments = (
        *("--workload", LINE, "--disk", "constant:read=10us,write=20us"),
        *("--set", "workload.qd=1,2", "--set", "disk.read=10us,30us", "--set", "seed=0,1"),
    )
    first = sweep(tmp_path, *arguments)
    written = (tmp_path / "out" / "results.parquet").read_bytes()
    assert [point["from_store"] for point in first] == [False] * 8
    again = sweep(tmp_path, *arguments)
    assert [point["from_store"] for point in again] == [True] * 8
    assert [point["figures"] for point in again] == [point["figures"] for point in first]
    # What is found makes the same table, to the byte.
    assert (tmp_path / "out" / "results.parquet").read_bytes() == written
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert table.column_names[:8] == [
        *("point", "workload.qd", "disk.read", "seed", "status", "reason", "result", "all.count"),
    ]
    assert table["workload.qd"].to_pylist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert table["disk.read"].to_pylist()[:4] == ["10us", "10us", "30us", "30us"]
    assert table["read.p99_ns"].to_pylist() == [10_000, 10_000, 30_000, 30_000] * 2
    assert table["write.max_ns"].to_pylist() == [20_000] * 8
    assert table.schema.field("read.p99_ns").metadata == {b"figure": b"read.p99", b"unit": b"ns"}
    # A rate's name says already what it counts.
    assert {"all.iops", "all.bandwidth_bytes_per_s"} <= set(table.column_names)
    store = ResultStore(tmp_path / "store")
    for point in first:
        found = store.find(point["result"])
        assert found is not None
        assert damage(found.directory) is None
        digest = record_digest(found.run_path)
        assert digest == found.content.identity["requests"]


def test_part_of_what_was_swept_is_not_run_again(tmp_path: Path) -> None:
    base = ("--workload", LINE, "--disk", "constant:10us")
    sweep(tmp_path, *base, "--set", "workload.qd=1,4")
    more = sweep(tmp_path, *base, "--set", "workload.qd=1,2,4", out="other")
    assert [point["from_store"] for point in more] == [True, False, True]
    fresh = sweep(tmp_path, *base, "--set", "workload.qd=1,2,4", "--refresh", out="other")
    assert [point["from_store"] for point in fresh] == [False] * 3
    shutil.rmtree(tmp_path / "store")
    arguments = ["--workload", LINE, "--disk", "constant:10us", "--set", "seed=0,1", "--no-store"]
    arguments += ["--out", str(tmp_path / "third"), "--workers", "1"]
    assert CliRunner().invoke(app, arguments, standalone_mode=False).return_value == 0
    assert not (tmp_path / "store").exists()


def test_the_server_of_processes_is_started_for_what_is_missing_only(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the other points are planned; what is all there starts nothing."""
    planned: list[Point] = []
    started_after: list[int] = []

    class Request(ReplayRequest):
        def unit(self, point: Point) -> ReplayUnit:
            planned.append(point)
            return super().unit(point)

    request = Request(["constant:1us"], LINE, None, ReplayOptions())
    options = SweepOptions(store=store, workers=2)
    monkeypatch.setattr(sweep_module, "start_server", lambda: started_after.append(len(planned)))
    monkeypatch.setattr(sweep_module, "execute_all", execute_here)
    for count in (3, 3, 4):
        points = make_points([parse_set(f"seed=range({count})")])
        planned.clear()
        run_sweep(new_sweep(points), request, options, SweepObserver())
    before = 1  # the first point's preview
    assert started_after == [before + 1, before + 4]


def test_a_point_that_fails_is_a_result_like_others(tmp_path: Path) -> None:
    points = sweep(
        tmp_path,
        *("--workload", LINE, "--set", f"disk=constant:1us,{SSD}x", "--set", "seed=0"),
        status=1,
    )
    assert [point["status"] for point in points] == ["ok", "error"]
    assert points[1]["reason"].startswith(f"--disk {SSD}x: unknown device")
    assert points[1]["figures"] is None
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert table["status"].to_pylist() == ["ok", "error"]
    assert table["all.count"].to_pylist() == [200, None]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--set", "nope=1"], "--set nope: is nothing that can be varied"),
        (["--set", "workload.qd=0,0.5"], "qd=0: must be"),
        (["--set", "seed=x"], "--set seed=x: must be a whole number"),
        (["--set", "disk3.read=1us"], "--set disk3.read: there is no disk 3; add --disk"),
        (["--set", "disk.size=x"], "size=x: bad size"),
        (["--set", "seed=1", "--disk", "constant:2us"], "--disk: name one device"),
        ([], "give at least one --set"),
        (["--set", "seed=1", "--verify-cache", "1"], "--verify-cache 1: write a share"),
        (["--set", "seed=1", "--verify-cache", "101%"], "--verify-cache 101%: write a share"),
        (["--set", "seed=1", "--workers", "x"], "--workers x: write a number"),
        (["--set", "seed=1", "--no-store"], "goes not with --no-store"),
        (["--set", "seed=1", "--trace", "x"], "give either --trace FILE or --workload LINE"),
        (["--set", "speed-up=2"], "--speed-up 2: cannot be combined with a workload"),
    ],
)
def test_what_cannot_be_swept_is_named(tmp_path: Path, arguments: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        sweep(tmp_path, "--workload", LINE, "--disk", "constant:1us", *arguments)


def test_a_worker_reads_a_trace_once_until_it_changes(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    read: list[TraceSource] = []

    def counted(source: TraceSource, *arguments: Any) -> Any:
        read.append(source)
        return read_source(source, *arguments)

    monkeypatch.setattr(replay_unit, "read_source", counted)

    def longest(device: str, **changes: Any) -> int:
        outcome = execute_unit(store, ReplayUnit(TraceSource(trace, **changes), device, 0))
        return int(outcome.figures.figures["all.count"])

    trace.write_text("0 0 0 8 1\n50 0 8 8 1\n")
    counts = [longest("constant:1us"), longest("constant:2us")]
    counts += [longest("constant:1us", queue_depth=2)]
    assert (counts, len(read)) == ([2, 2, 2], 1)
    trace.write_text("0 0 0 8 1\n50 0 8 8 1\n99 0 8 8 1\n")
    assert (longest("constant:1us"), len(read)) == (3, 2)


def test_another_directory_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = []
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("HOME", str(tmp_path / name))
        Path("device.toml").write_text('model = "constant"\n[parameters]\nread = "7us"\n')
        unit = ReplayUnit(parse_workload(LINE), "device.toml", 0)
        stores.append(stored(ResultStore(tmp_path / name / "store"), unit))
    assert stores[0].key == stores[1].key
    files = [sorted(path for path in each.directory.rglob("*.*")) for each in stores]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one


def test_how_a_trace_is_read_is_said_once(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text("".join(f"{n * 50_000} 0 {n * 8} 8 {n % 2}\n" for n in range(20)))
    arguments = ["--trace", str(trace), "--set", "disk=constant:1us,constant:2us", "--workers", "1"]
    arguments += ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert result.return_value == 0, result.exception
    assert result.output.count("requests") == 1
    assert f"{trace}" in result.output
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert table["all.max_ns"].to_pylist() == [1000, 2000]


def test_many_failures_are_not_all_printed(tmp_path: Path) -> None:
    arguments = ["--workload", LINE, "--set", "disk=constant:1us,nope", "--set", "seed=range(21)"]
    arguments += ["--out", str(tmp_path / "out"), "--no-store", "--workers", "1", "--quiet"]
    result = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert result.return_value == 1
    assert result.output.count("error: disk=nope") == 20
    assert "1 more failed; results.parquet has the reasons" in result.output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--set", "workload.qd=0,abc"), "workload"),
        (("--set", "cpsu=1,2"), "cpsu"),
        (("--set", "seed=1", "--store", "file"), "the store file: is not a directory"),
    ],
)
def test_what_is_refused_is_not_in_the_way_of_the_right_command(
    tmp_path: Path, wrong: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    base = ("--workload", LINE, "--disk", "constant:1us")
    with pytest.raises(InputError, match=message):
        sweep(tmp_path, *base, *wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    assert len(sweep(tmp_path, *base, "--set", "seed=1,2")) == 2


def test_another_sweep_s_directory_is_left_alone(tmp_path: Path) -> None:
    base = ("--workload", LINE, "--disk", "constant:1us")
    sweep(tmp_path, *base, "--set", "seed=0")
    with pytest.raises(InputError, match="has a sweep with another set; name another directory"):
        sweep(tmp_path, *base, "--set", "seed=1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(InputError, match="is not empty, and has no sweep"):
        sweep(tmp_path, *base, "--set", "seed=1", out="mine")


def request(**values: Any) -> ReplayRequest:
    given: dict[str, Any] = {"disks": [], "workload": LINE, "trace": None}
    return ReplayRequest(**{**given, "options": ReplayOptions(), **values})


def test_a_point_s_values_are_put_where_they_belong(tmp_path: Path) -> None:
    disk = Disk(SSD, size="1GiB", parameters={"parameters.servers": 7})
    unit = request(disks=[disk]).unit({"workload.qd": "9", "workload.bs": "8k", "seed": "5"})
    assert unit.device == f"{SSD},parameters.servers=7,size=1GiB"
    assert isinstance(unit.source, Workload)
    assert (unit.source.text, unit.seed) == ("randrw,qd=9,count=200,bs=8k", 5)
    point = {"disk.read.fixed": "60us", "disk.size": "2GiB", "disk": "aws-gp3"}
    # The device first, wherever it stands; its own parameters go with it.
    assert request(disks=[disk]).unit(point).device == "aws-gp3,read.fixed=60us,size=2GiB"
    assert request().unit({"disk": "aws-gp3"}).device == "aws-gp3"
    trace = request(workload=None, trace=tmp_path / "t", disks=["aws-gp3"])
    source = trace.unit({"closed-loop": "8", "time-unit": "us"}).source
    assert isinstance(source, TraceSource)
    assert (source.queue_depth, source.hints.time_digits) == (8, 3)


MEMBERS = """
model = "mirror"
[[parameters.member]]
device = "member.toml"
[[parameters.member]]
device = "constant:1us"
"""
OWN = """
from freezingtime.device.constant import ConstantDevice
import {helper}
class Mine(ConstantDevice):
    def __init__(self, seed):
        super().__init__(read_ns={helper}.NS, write_ns=0, flush_ns=0, discard_ns=0)
"""


def test_everything_that_decides_the_figures_is_in_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    trace = Path("t.trace")
    member = 'model = "constant"\n[parameters]\nread = "{}"\n'
    Path("raid.toml").write_text(MEMBERS)
    Path("member.toml").write_text(member.format("1us"))
    Path("helper_of_mine.py").write_text("NS = 5\n")
    Path("mine.py").write_text(OWN.format(helper="helper_of_mine"))
    trace.write_text("0 0 0 8 1\n")

    def key(device: str, line: str | None = LINE, seed: int = 0) -> str:
        source = TraceSource(trace) if line is None else parse_workload(line)
        return ReplayUnit(source, device, seed).key().digest

    def keys() -> list[str]:
        devices = (key("raid.toml"), key("mine.py:Mine"), key(SSD), key(f"{SSD},size=1GiB"))
        return [*devices, key(SSD, seed=1), key(SSD, "read"), key(SSD, None)]

    first = keys()
    assert len(set(first)) == len(first)
    assert keys() == first
    Path("member.toml").write_text(member.format("2us"))
    Path("helper_of_mine.py").write_text("NS = 6\n")
    trace.write_text("0 0 0 8 0\n")
    changed = keys()
    same = [a == b for a, b in zip(first, changed, strict=True)]
    assert same == [False, False, True, True, True, True, False]
    # What is only said of a device decides nothing.
    Path("member.toml").write_text(member.format("2us") + '[notes]\nby = "me"\n')
    assert keys() == changed


def test_a_killed_builder_leaves_nothing_that_passes_for_a_result(store: ResultStore) -> None:
    unit = ReplayUnit(parse_workload(LINE), "constant:1us", 0)
    with store.building() as run_path:
        unit.execute(run_path)
        store.remove_leftovers()
        assert run_path.exists()  # its builder lives
        copy = run_path.parent.with_name(f"{run_path.parent.name}-dead")
        shutil.copytree(run_path.parent, copy)
        # Of another host, whose locks are perhaps not seen here.
        elsewhere = run_path.parent.with_name(".unfinished-00000000-x")
        shutil.copytree(run_path.parent, elsewhere)
    assert store.find(unit.key().digest) is None
    store.remove_leftovers()
    assert list((store.root / "results").iterdir()) == [elsewhere]
    os.utime(elsewhere, (0, 0))
    store.remove_leftovers()
    assert list((store.root / "results").iterdir()) == []


def stored(store: ResultStore, unit: ReplayUnit) -> StoredResult:
    outcome = execute_unit(store, unit)
    assert outcome.status is Status.OK
    found = store.find(outcome.key)
    assert found is not None
    return found


def test_a_damaged_result_counts_as_none_and_is_replaced(store: ResultStore) -> None:
    unit = ReplayUnit(parse_workload(LINE), "constant:1us", 0)
    found = stored(store, unit)
    file = found.directory / "result.json"
    right = file.read_bytes()
    file.write_bytes(right.replace(b"1000", b"1001", 1))
    assert store.find(found.key) is None
    assert damage(found.directory) is not None
    assert stored(store, unit).content == found.content
    assert file.read_bytes() == right
    record = found.run_path / "requests.parquet"
    record.write_bytes(record.read_bytes()[:-1])
    assert "requests.parquet: its checksum" in (damage(found.directory) or "")


def test_a_result_that_is_not_the_same_again_is_an_error(
    store: ResultStore, tmp_path: Path
) -> None:
    """A model that reads a file which nobody knows of."""
    secret = tmp_path / "secret"
    secret.write_text("1000")
    model = tmp_path / "mine.py"
    model.write_text(
        "from pathlib import Path\n"
        "from freezingtime.device.constant import ConstantDevice\n"
        "class Mine(ConstantDevice):\n"
        "    def __init__(self, seed):\n"
        f"        ns = int(Path({str(secret)!r}).read_text())\n"
        "        super().__init__(read_ns=ns, write_ns=1, flush_ns=0, discard_ns=0)\n"
    )
    unit = ReplayUnit(parse_workload("randread,count=5"), f"{model}:Mine", 0)
    found = stored(store, unit)
    assert execute_unit(store, unit, verified=found).status is Status.OK
    secret.write_text("1001")
    for again in (execute_unit(store, unit, verified=found), execute_unit(store, unit)):
        assert again.status is Status.ERROR
        assert (
            "was run again, and differs in requests, replay, figures: something decides"
            in again.reason
        )
        assert "the first differing request is number 0 of" in again.reason
        assert again.reason.endswith("latency_ns 1000 and now 1001")
    assert store.find(found.key) == found
    replaced = execute_unit(store, unit, replaces=True)
    assert replaced.figures.figures["all.max"] == 1001


def test_a_record_that_was_changed_in_the_store_is_found(store: ResultStore) -> None:
    """Its figures are as they were, and so is all that is looked at to read it back."""
    unit = ReplayUnit(parse_workload(LINE), "constant:1us", 0)
    found = stored(store, unit)
    record = found.run_path / "requests.parquet"
    table = pq.read_table(record)
    at = table.schema.get_field_index("delivery_ns")
    times = table["delivery_ns"].to_numpy().copy()
    times[table["sequence"].to_numpy() == 42] += 7
    changed = table.set_column(at, table.schema.field(at), [times])
    pq.write_table(changed, record)
    assert store.find(found.key) is not None
    outcome = execute_unit(store, unit, verified=found)
    assert outcome.status is Status.ERROR
    assert "is damaged: run/requests.parquet: its checksum is" in outcome.reason
    assert "--refresh runs it anew; the first differing request is number 42 of" in outcome.reason
    assert outcome.reason.endswith("latency_ns 1007 and now 1000")
    record.write_bytes(record.read_bytes()[:100])
    assert "requests.parquet: is damaged" in execute_unit(store, unit, verified=found).reason
    assert execute_unit(store, unit, replaces=True).status is Status.OK
    assert execute_unit(store, unit, verified=store.find(found.key)).status is Status.OK


def test_a_file_that_changes_meanwhile_leaves_no_result(store: ResultStore, tmp_path: Path) -> None:
    device = tmp_path / "device.toml"
    device.write_text('model = "constant"\n[parameters]\nread = "1us"\n')
    unit = ReplayUnit(parse_workload(LINE), str(device), 0)
    digest = unit.key().digest
    device.write_text('model = "constant"\n[parameters]\nread = "2us"\n')
    outcome = execute(Task(unit, digest, store))
    assert outcome.reason == "one of its files was changed meanwhile; nothing is stored"
    assert store.find(digest) is store.find(unit.key().digest) is None


@contextlib.contextmanager
def full_disk(size_bytes: int) -> Iterator[None]:
    """A disk on which no file can have more than this: writes fail where they would go beyond."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_costs_nothing_but_the_point(store: ResultStore) -> None:
    """Wherever it gets full: in the record, the key, the figures, the checksums."""
    unit = ReplayUnit(parse_workload(LINE), "constant:1us", 0)
    key = unit.key().digest
    right = execute_unit(ResultStore(store.root.with_name("whole")), unit).figures
    reasons = []
    for size_bytes in (0, 300, 600, 900, 1500, 3000, 6000, 12000, 50_000, 1 << 20):
        with full_disk(size_bytes):
            outcome = execute_unit(store, unit)
        if outcome.status is Status.OK:
            break
        reasons.append(outcome.reason)
        assert store.find(key) is None
        assert list((store.root / "results").iterdir()) in ([], [store.place(key).parent])
    assert outcome.status is Status.OK
    assert len(reasons) > 2
    assert all("File too large" in reason for reason in reasons), reasons
    found = store.find(key)
    assert found is not None
    assert found.content == right
    assert damage(found.directory) is None


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    unit = ReplayUnit(parse_workload(LINE), "constant:1us", 0)
    outcome = execute_unit(ResultStore(tmp_path / "file"), unit)
    assert re.search(r"the store .*/file: cannot be written to \(Not a directory\)", outcome.reason)

    # A sweep says so before any point is run.
    sweep = new_sweep([{"seed": "1"}, {"seed": "2"}])
    request = ReplayRequest(["constant:1us"], LINE, None, ReplayOptions())
    options = SweepOptions(store=ResultStore(Path("/proc/none")), workers=1)
    with pytest.raises(InputError, match=r"the store /proc/none: cannot be written to"):
        run_sweep(sweep, request, options, SweepObserver())
    assert not sweep.progress.executed


DYING = """
import os
from pathlib import Path
from freezingtime.device.constant import ConstantDevice
class Mine(ConstantDevice):
    def __init__(self, seed):
        if seed == 1 or (seed == 2 and not Path({once!r}).exists()):
            Path({once!r}).touch()
            os.kill(os.getpid(), 9)
        super().__init__(read_ns=1000 + seed, write_ns=1, flush_ns=0, discard_ns=0)
"""


@pytest.mark.slow
def test_a_worker_that_dies_costs_no_result(tmp_path: Path) -> None:
    """Of two workers: one point kills its process always, one once, the others never."""
    model = tmp_path / "mine.py"
    model.write_text(DYING.format(once=str(tmp_path / "once")))
    arguments = ("--workload", "randread,count=5", "--disk", f"{model}:Mine", "--workers", "2")
    points = sweep(tmp_path, *arguments, "--set", "seed=range(5)", status=1)
    assert [point["status"] for point in points] == ["ok", "error", "ok", "ok", "ok"]
    assert points[1]["reason"] == "its process died, twice; out of memory?"
    times = [point["figures"]["all.max"] for point in points if point["figures"]]
    assert times == [1000, 1002, 1003, 1004]
    # The same command goes on where it stopped.
    again = sweep(tmp_path, *arguments, "--set", "seed=range(5)", status=1)
    assert [point["from_store"] for point in again] == [True, False, True, True, True]


def test_the_first_to_finish_has_its_result_kept(store: ResultStore) -> None:
    unit = ReplayUnit(parse_workload(LINE), "constant:1us", 0)
    key = unit.key()
    with store.building() as one, store.building() as two:
        figures = [unit.execute(path) for path in (one, two)]
        first = store.publish(one, key, figures[0])
        second = store.publish(two, key, figures[1])
    assert first == second
    assert [path.name for path in (store.root / "results").glob(".*")] == []
    other = type(figures[0])(figures={}, units={}, identity={"requests": "0"})
    with store.building() as three:
        unit.execute(three)
        with pytest.raises(RunError, match="differs in requests, replay, figures"):
            store.publish(three, key, other)
