# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans of sweeps: a file says what the command line says, and is refused as clearly."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import freezingtime as ft
from freezingtime.cli.results.sweep import app
from freezingtime.cli.results.sweep_plan import AskedSweep, take_plan
from freezingtime.errors import InputError
from freezingtime.explore.sweep.plan.plan_file import PLAN_SCHEMA_FILE
from freezingtime.explore.sweep.plan.read_plan import read_plan
from freezingtime.explore.sweep.plan.schema import plan_schema
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.report.sweep.read import read_sweep_data
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions
from tests.support.doclib import blocks_of, read_page

PLAN = """
workload = "randread,bs=4k,count=200"
seeds = 2
metrics = ["read.p99", "read.iops"]

[base]
disk = "constant:10us"
seed = 7

[set]
workload.qd = [1, 4]
"disk.parameters.read" = "choice(1us,3us)"
"""
FULL = """
command = ["fio", "job.fio"]
zip = [["cpus", "memory"]]
sample = "lhs:4"
prepare = "load.sh"

[base]
disk = ["aws-gp3,name=data", "constant:5us"]
fault = "data:error=EIO,sectors=0..7"
env = ["A=1"]
boot = true
cpu-rate = "2G"

[set]
cpus = [1, 2]
memory = ["512MiB", "1GiB"]
"disk.member[1].parameters.read.fixed" = "interval(10us,20us)"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


def sweep(tmp_path: Path, *arguments: object, status: int = 0) -> Any:
    fixed = ["--store", tmp_path / "store", "--workers", "1", "--quiet", "--json"]
    command = [*map(str, [*arguments, *fixed])]
    result = CliRunner().invoke(app, command, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert result.return_value == status
    return json.loads(result.stdout)["points"]


def test_a_plan_is_run_and_the_command_line_overrides_it(tmp_path: Path) -> None:
    plan, out = write(tmp_path, PLAN), tmp_path / "out"
    points = sweep(
        tmp_path, plan, "--out", out, "--set", "workload.qd=2", "--set", "disk.size=1GiB"
    )
    assert [each["point"] for each in points] == [
        {"workload.qd": "2", "disk.parameters.read": read, "seed": seed, "disk.size": "1GiB"}
        for read in ("1us", "3us")
        for seed in ("0", "1")
    ]
    assert points[0]["figures"]["read.p99"] == 1000
    assert points[3]["figures"]["read.p99"] == 3000
    table = pq.read_table(out / "results.parquet")
    assert table.column_names[1:5] == ["workload.qd", "disk.parameters.read", "seed", "disk.size"]
    # The report has the plan's metrics.
    data = read_sweep_data(out, (), lambda key: None, "--metric")
    assert [metric.name for metric in data.metrics] == ["read.p99", "read.iops"]


def test_a_default_that_is_given_counts(tmp_path: Path) -> None:
    asked = AskedSweep(
        command=(),
        script=None,
        job=None,
        workload=None,
        trace=None,
        varied=[],
        zipped=(),
        sample=None,
        options=RunOptions(),
        replays=ReplayOptions(),
    )
    plan = read_plan(write(tmp_path, PLAN))
    assert take_plan(asked, plan, frozenset()).options.seed == 7
    assert take_plan(asked, plan, frozenset({"seed"})).options.seed == 0
    assert take_plan(asked, plan, frozenset({"trace"})).workload is None
    full = take_plan(asked, read_plan(write(tmp_path, FULL)), frozenset())
    assert full.command == ("fio", "job.fio")
    assert full.zipped == ["cpus,memory"]
    assert full.prepare == Path("load.sh")
    assert (
        take_plan(asked, read_plan(tmp_path / "plan.toml"), frozenset({"prepare"})).prepare is None
    )
    assert (full.sample, full.options.cpu_rate) == ("lhs:4", "2G")
    assert full.options.faults == ("data:error=EIO,sectors=0..7",)
    assert [each.described() for each in full.varied] == [
        ["cpus", "1", "2"],
        ["memory", "512MiB", "1GiB"],
        ["disk.member[1].parameters.read.fixed", "interval(10us,20us)"],
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seeds = 2", "seeds = 0", r"plan\.toml: seeds = 0: must be a whole number from 1 to"),
        ("seeds = 2", "sedes = 2", r"plan\.toml: sedes: unknown key; did you mean seeds\?"),
        ("seeds = 2", 'trace = "t"', r"plan\.toml: trace = 't': goes not with workload; keep one"),
        ('["read.p99", "read.iops"]', '"read.p99"', r"plan\.toml: metrics = 'read\.p99': must be"),
        ("seed = 7", "seed = -1", r"plan\.toml: base\.seed = -1: must be a whole number, 0 or"),
        ("seed = 7", "sed = 7", r"plan\.toml: base\.sed: is no option of run or replay; did you"),
        ("seed = 7", "boot = 1", r"plan\.toml: base\.boot = 1: must be true or false"),
        ('"constant:10us"', "[1]", r"plan\.toml: base\.disk: must be a text or a list of texts"),
        ("[1, 4]", "[]", r"plan\.toml: set\.workload\.qd = \[\]: must be a list of values, or"),
        ("[1, 4]", "[[1]]", r"plan\.toml: set\.workload\.qd = \[\[1\]\]: must be a list of values"),
        (
            '"choice(1us,3us)"',
            '"rnge(1)"',
            r"set\.disk\.parameters\.read = 'rnge\(1\)': rnge\(\.\.\.\) is",
        ),
        ("workload.qd", "workload.seed = [1]\nseed", r"plan\.toml: seeds = 2: set has seed, too"),
        ("[1, 4]", "[1, 1]", r"plan\.toml: --set workload\.qd: 1 is given twice; keep one"),
        ("seeds = 2", "seeds = ", r"plan\.toml: not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_value(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in PLAN
    plan = write(tmp_path, PLAN.replace(old, new, 1))
    with pytest.raises(InputError, match=problem):
        sweep(tmp_path, plan, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_preparation_is_for_runs(tmp_path: Path) -> None:
    plan = write(tmp_path, PLAN.replace("seeds = 2", 'prepare = "load.sh"'))
    with pytest.raises(InputError, match=r"plan\.toml: --prepare load\.sh: is for runs in a guest"):
        sweep(tmp_path, plan, "--out", tmp_path / "out")


def test_a_plan_that_is_not_first_is_no_command(tmp_path: Path) -> None:
    plan = write(tmp_path, PLAN)
    for arguments in (["--out", tmp_path / "out", plan], [plan, plan]):
        with pytest.raises(InputError, match=r"plan\.toml: a plan is the first argument"):
            sweep(tmp_path, *arguments)


def test_a_metric_that_no_point_has_is_named(tmp_path: Path, capsys: Any) -> None:
    plan, out = write(tmp_path, PLAN.replace("read.iops", "read.iop")), tmp_path / "out"
    with pytest.raises(InputError, match=r"metrics: read\.iop: no point .*did you mean read\.iops"):
        sweep(tmp_path, plan, "--out", out)
    assert pq.read_table(out / "results.parquet").num_rows == 8
    # For the report, a metric says which direction is better.
    plan.write_text(PLAN.replace("read.iops", "read.iops=higher"))
    sweep(tmp_path, plan, "--out", tmp_path / "other")


def test_editors_check_plans_by_what_is_declared() -> None:
    schema = plan_schema()
    written = resources.files("freezingtime.explore.sweep.plan").joinpath(PLAN_SCHEMA_FILE)
    text = written.read_text(encoding="utf-8")
    assert text == json.dumps(schema, indent=2) + "\n", "run 'make schema'"
    validator = jsonschema.Draft7Validator(schema)
    for plan in (PLAN, FULL):
        validator.validate(tomllib.loads(plan))
    for wrong in ("sedes = 2", "seeds = 0", "[base]\nsed = 1", "[set]\nqd = []", "metrics = 'x'"):
        assert list(validator.iter_errors(tomllib.loads(wrong))), wrong


def test_a_job_and_all_around_it_can_be_varied(tmp_path: Path) -> None:
    script, job = tmp_path / "run.sh", tmp_path / "job"
    script.write_text("#!/bin/sh\ntrue\n")
    job.mkdir()
    (job / "run").write_text("#!/bin/sh\n")
    (job / "run").chmod(0o755)
    request = RunRequest(RunOptions(disks=["mirror.toml"], env=["A=1"]), Command())
    unit = request.unit(
        {
            "command": "sync; true",
            "disk.member[2].parameters.read.fixed": "5us",
            "disk.fs": "xfs",
            "disk.mount": "/mnt",
            "disk.medium": "file:/nowhere",
            "cpus": "2",
            "fault": "error=EIO,sectors=0..7",
            "env.B": "2",
        }
    )
    assert unit.job == Command(line="sync; true")
    assert unit.options.disks == (
        "mirror.toml,member[2].parameters.read.fixed=5us,medium=file:/nowhere,mount=/mnt,fs=xfs",
    )
    assert (unit.options.cpus, unit.options.faults) == (2, ("error=EIO,sectors=0..7",))
    assert unit.options.env == ("A=1", "B=2")
    assert request.unit({"script": str(script)}).job == b"#!/bin/sh\ntrue\n"
    assert request.unit({"job": str(job)}).job_directory == job
    with pytest.raises(InputError, match=r"--set script=/nowhere: --script /nowhere: No such file"):
        request.unit({"script": "/nowhere"})


@pytest.mark.parametrize("page", ["how-to/sweep", "reference/sweep"])
def test_the_plan_of_the_page_can_be_copied(page: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    [text] = [block.text for block in blocks_of(read_page(page)) if block.file == path.name]
    path.write_text(text)
    assert read_plan(path)


def test_python_takes_a_plan_as_the_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(PLAN)
    arguments = ["plan.toml", "--quiet", "--store", "store", "--workers", "1", "--out", "command"]
    result = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    plans: list[Any] = ["plan.toml", Path("plan.toml"), tomllib.loads(PLAN)]
    for number, plan in enumerate(plans):
        swept = ft.sweep(plan=plan, store="store", workers=1, out=f"python{number}")
        assert (swept.path / "results.parquet").read_bytes() == (
            Path("command/results.parquet").read_bytes()
        )
        assert read_sweep_data(swept.path, (), lambda key: None, "metric").metrics
    # What the call says goes before it, also where that is a default.
    changed = {"vary": {"workload.qd": "2", "disk.size": ["1GiB"]}, "disks": ["constant:9us"]}
    table = ft.sweep(plan="plan.toml", store="store", workers=1, **changed).table
    assert list(table.columns[1:5]) == ["workload.qd", "disk.parameters.read", "seed", "disk.size"]
    assert set(table["workload.qd"]) == {2}
    one = {key: value for key, value in tomllib.loads(PLAN).items() if key != "seeds"}
    seeds = [
        json.loads(Path(out, "sweep.json").read_text())["sweep"]["seed"]
        for out, given in (("seven", {}), ("zero", {"seed": 0}))
        for _ in [ft.sweep(plan=one, store="store", workers=1, out=out, **given)]
    ]
    assert seeds == [7, 0]
    with pytest.raises(InputError, match=r"^plan: set.workload.qd = \[\]: must be a list"):
        ft.sweep(plan={"workload": "read", "set": {"workload.qd": []}})
    with pytest.raises(InputError, match=r"^nowhere.toml: No such file"):
        ft.sweep(plan="nowhere.toml")
    wrong: Any = ["plan.toml"]
    with pytest.raises(InputError, match=r"^plan: .* is no plan; give the path of its file"):
        ft.sweep(plan=wrong)
    with pytest.raises(InputError, match="or give a plan with"):
        ft.sweep(plan={"workload": "randread,bs=4k"})
    with pytest.raises(InputError, match=r"^plan: metrics: read.p9: no point has such a figure"):
        ft.sweep(plan={**one, "metrics": ["read.p9"]}, store="store", workers=1)
