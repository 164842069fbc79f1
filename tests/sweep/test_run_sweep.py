# SPDX-License-Identifier: GPL-2.0-or-later
"""Sweeps of runs in a guest: what decides their figures, and that they are the same again."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import freezingtime as ft
from freezingtime.cli.results.sweep import app
from freezingtime.errors import InputError
from freezingtime.explore.sweep import run_unit
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.run_unit import IN_MACHINE, WITHOUT_FIGURES, RunUnit
from freezingtime.option import list_options
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions
from freezingtime.store.machine_identity import MachineIdentity
from freezingtime.store.results.result_store import ResultStore
from freezingtime.store.saved_machine import find_saved, list_saved, remove_saved

JOB = Command(line="dd if=/dev/zero of=/dev/vda bs=4k count=$N oflag=direct")
PREPARE = "echo prepared | dd of=/dev/vda bs=4k conv=sync,fsync 2>/dev/null\n"
#: A part of a plan, by its name in the key, where that is another.
NAMES = {"rate_hz": "cpu_rate_hz", "job_directory": "job", "start_from": "from"}


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No guest is made ready: a machine is what its plan says."""

    def machine(plan: RunPlan) -> MachineIdentity:
        return MachineIdentity(
            version="1",
            image_id=plan.guest,
            memory_bytes=plan.memory_bytes,
            cpu_count=plan.cpu_count,
            board="",
            qemu=str(plan.qemu),
            agent="",
        )

    monkeypatch.setattr(run_unit, "_machine", machine)


@pytest.mark.usefixtures("machines")
def test_every_part_of_a_plan_is_in_the_key_or_decides_nothing() -> None:
    plan = RunUnit(RunOptions(disks=["constant:1us"]), JOB).key().plan
    fields = {field.name for field in dataclasses.fields(RunPlan)}
    in_key = {name for name in fields if NAMES.get(name, name) in plan}
    assert fields == in_key | {*WITHOUT_FIGURES, *IN_MACHINE}
    assert in_key & {*WITHOUT_FIGURES, *IN_MACHINE} == set()


@pytest.mark.usefixtures("machines")
def test_what_decides_the_figures_of_a_run_is_in_its_key(tmp_path: Path) -> None:
    image, job = tmp_path / "disk.img", tmp_path / "job"
    job.mkdir()
    (job / "run").write_text("true\n")
    image.write_bytes(bytes(8192))

    def key(**options: Any) -> str:
        directory = options.pop("job_directory", None)
        unit = RunUnit(RunOptions(**options), options.pop("job", JOB), directory)
        return unit.key().digest

    on_file = [f"constant:1us,medium=file:{image}"]
    others: list[Callable[[], str]] = [
        lambda: key(disks=["constant:1us"]),
        lambda: key(disks=["constant:2us"]),
        lambda: key(disks=["constant:1us,frontend=nvme"]),
        lambda: key(disks=["constant:1us,mount=/data"]),
        lambda: key(disks=on_file),
        lambda: key(cpu_rate="2G"),
        lambda: key(memory="1GiB"),
        lambda: key(cpus=2),
        lambda: key(seed=1),
        lambda: key(env=["N=1"]),
        lambda: key(collect=["*.log"]),
        lambda: key(time_limit="1s"),
        lambda: key(boot=True),
        lambda: key(metrics="none"),
        lambda: key(job_directory=job),
        lambda: RunUnit(RunOptions(), Command(line="true")).key().digest,
    ]
    digests = [each() for each in others]
    assert len({key(), *digests}) == 1 + len(others)
    # Host time decides nothing.
    same = {"real_time_limit": "10s", "medium_deadline": "9s", "boot_deadline": "99s"}
    assert key(**same) == key()
    before = key(disks=on_file), key(job_directory=job)
    image.write_bytes(bytes(8191) + b"x")
    (job / "run").write_text("false\n")
    after = key(disks=on_file), key(job_directory=job)
    assert all(a != b for a, b in zip(before, after, strict=True))
    image.write_bytes(bytes(8192))
    assert key(disks=on_file) == before[0]
    with pytest.raises(InputError, match="writable=yes: runs with results in a store change"):
        key(disks=[f"{on_file[0]},writable=yes"])
    with pytest.raises(InputError, match="--clock kvm: no two such runs are alike"):
        key(clock="kvm")


def test_a_point_s_values_are_put_where_they_belong() -> None:
    options = RunOptions(disks=["constant:1us,name=data"], env=["N=1", "M=2"], memory="1GiB")
    point = {"env.N": "5", "cpus": "2", "disk.size": "1GiB", "cpu-rate": "2G", "boot": "yes"}
    unit = RunRequest(options, JOB).unit({**point, "disk2": "aws-gp3", "from": "saved"})
    assert unit.options == dataclasses.replace(
        options,
        disks=["constant:1us,size=1GiB,name=data", "aws-gp3"],
        env=["N=5", "M=2"],
        cpus=2,
        cpu_rate="2G",
        boot=True,
        start_from="saved",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--set", "out=a"], "--set out: cannot be varied"),
        (["--set", "cpus=x"], "--set cpus=x: must be a whole number"),
        (["--set", "boot=1"], "--set boot=1: write yes or no"),
        (["--set", "memroy=1GiB"], "did you mean memory?"),
        (["--set", "memory=1"], "--memory 1"),
        (["--set", "seed=1", "--workload", "read"], "give either a job, or --workload"),
    ],
)
def test_what_cannot_be_swept_is_named(tmp_path: Path, arguments: list[str], problem: str) -> None:
    fixed = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--quiet"]
    result = CliRunner().invoke(app, [*fixed, *arguments, "--", "true"], standalone_mode=False)
    assert isinstance(result.exception, InputError)
    assert problem in str(result.exception)


def test_options_of_runs_are_refused_for_replays(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    arguments = ["--out", out, "--set", "seed=1", "--workload", "read", "--memory", "1GiB"]
    result = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert "--memory: is for runs in a guest" in str(result.exception)
    with pytest.raises(InputError, match=r"memory='1GiB': is for runs in a guest; give a job"):
        ft.sweep(vary={"seed": [1]}, workload="read", memory="1GiB", out=out)
    with pytest.raises(InputError, match=re.escape("speed_up=2: is for replays")):
        ft.sweep(vary={"seed": [1]}, job="true", speed_up=2, out=out)
    options = {name: option.default for name, option in list_options(ReplayOptions).items()}
    with pytest.raises(InputError, match=r"vary: workload\.qd: 4 is no list; write \[4\]"):
        ft.sweep(vary={"workload.qd": 4}, workload="read", out=out)  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"^--disk nosuch: unknown device"):
        ft.sweep(vary={"seed": [1]}, workload="read", disks=["nosuch"], out=out)
    with pytest.raises(InputError, match=r"^--disk constant:1us,x=1: unknown key 'x'"):
        ft.sweep(vary={"seed": [1]}, workload="read", disks=["constant:1us,x=1"], out=out)
    taken = inspect.signature(ft.sweep).parameters
    assert {name: taken[name].default for name in options} == options


@pytest.mark.guest
@pytest.mark.slow
def test_runs_in_a_guest_are_kept_and_the_same_again(tmp_path: Path) -> None:
    fixed = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--json", "-q"]
    fixed += ["--disk", "constant:10us,name=data", "--workers", "2"]
    fixed += ["--set", "disk.parameters.write=5us,20us", "--set", "env.N=50,100"]
    job = (
        "dd if=/dev/zero of=/dev/vda bs=4k count=$N oflag=direct; echo METRIC n $N; exit $((N/100))"
    )

    def sweep(*arguments: str) -> Any:
        command = [*fixed, *arguments, "--", job]
        result = CliRunner().invoke(app, command, standalone_mode=False)
        assert result.return_value == 1, result.exception
        return json.loads(result.stdout)["points"]

    points = sweep()
    assert [point["status"] for point in points] == ["ok", "failed"] * 2
    assert points[1]["reason"] == "its job ended with exit status 1"
    assert [point["figures"]["app.n"] for point in points] == [50, 100, 50, 100]
    assert [point["figures"]["write.max"] for point in points] == [5_000] * 2 + [20_000] * 2
    again = sweep("--verify-cache", "100%")
    assert [point["from_store"] for point in again] == [True] * 4
    assert [point["figures"] for point in again] == [point["figures"] for point in points]
    run = ft.open_sweep(tmp_path / "out").open(2)
    assert run.valid
    assert run.metrics == {"n": 50}
    assert (run.requests.query("operation == 'write'").latency_ns == 20_000).all()
    alone = ft.run(disks=["constant:10us,parameters.write=20us,name=data"], job=job, env=["N=50"])
    assert alone.guest_ns == points[2]["figures"]["guest_time"]
    assert ResultStore(tmp_path / "store").find(points[0]["result"]) is not None


@pytest.mark.guest
@pytest.mark.slow
def test_all_points_go_on_from_one_prepared_machine(tmp_path: Path) -> None:
    prepare = tmp_path / "prepare.sh"
    # Its own, so that no earlier run of this test has left it.
    mark = str(time.time_ns())
    prepare.write_text(f"#!/bin/sh\necho {mark} > /tmp/prepared\n" + PREPARE)
    fixed = ["--store", str(tmp_path / "store"), "--json", "-q", "--prepare", str(prepare)]
    fixed += ["--disk", "constant:10us,name=data,size=1MiB", "--workers", "1"]
    job = "cat /tmp/prepared; dd if=/dev/vda bs=4k count=1 2>/dev/null | tr -d '\\0'"

    def sweep(out: str, *arguments: str) -> Any:
        command = ["--out", str(tmp_path / out), *fixed, *arguments, "--", job]
        result = CliRunner().invoke(app, command, standalone_mode=False)
        assert result.return_value == 0, result.exception
        return json.loads(result.stdout)["points"]

    before = {saved.name for saved in list_saved()[0]}
    points = sweep("one", "--set", "disk.read=5us,20us")
    [name] = {saved.name for saved in list_saved()[0]} - before
    try:
        assert re.fullmatch("prepared-[0-9a-f]{40}", name)
        made_ns = find_saved(name).directory.stat().st_mtime_ns
        for number in range(2):
            output = ft.open_sweep(tmp_path / "one").open(number).stdout
            assert output == f"{mark}\nprepared\n"
        assert [point["figures"]["read.max"] for point in points] == [5_000, 20_000]
        # Another sweep finds it, and what is known is read back.
        again = sweep("two", "--set", "disk.read=5us,20us,30us")
        assert [point["from_store"] for point in again] == [True, True, False]
        assert find_saved(name).directory.stat().st_mtime_ns == made_ns
        # A machine prepared anew, as on another host, is as good as the one before.
        remove_saved(name)
        verified = sweep("two", "--set", "disk.read=5us,20us,30us", "--verify-cache", "100%")
        assert [point["from_store"] for point in verified] == [True] * 3
        assert find_saved(name).directory.stat().st_mtime_ns != made_ns
    finally:
        remove_saved(name)


def test_what_cannot_be_prepared_is_named(tmp_path: Path) -> None:
    script = tmp_path / "prepare"
    fixed = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--quiet"]
    fixed += ["--prepare", str(script), "--set", "seed=1"]
    for given, text, problem in (
        (["--", "true"], None, "--prepare: it .*prepare: No such file"),
        (["--", "true"], "true\n", "--prepare: it .*prepare: must begin with '#!'"),
        (["--workload", "read"], "#!/bin/sh\n", "is for runs in a guest"),
    ):
        if text is not None:
            script.write_text(text)
        result = CliRunner().invoke(app, [*fixed, *given], standalone_mode=False)
        assert isinstance(result.exception, InputError)
        assert re.search(problem, str(result.exception))
    assert not (tmp_path / "out").exists()
