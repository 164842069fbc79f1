# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime sweep`: the same at many points, those that are known read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from freezingtime.cli.declared_options import GivenNames, Only, takes_options
from freezingtime.cli.guest.run import job_script
from freezingtime.cli.options import (
    AllowCodeOption,
    JobOption,
    JsonOption,
    QuietOption,
    ScriptOption,
    command_app,
)
from freezingtime.cli.output.json_stream import print_json
from freezingtime.cli.results.compare import EXIT_FAILED_IF
from freezingtime.cli.results.sweep_plan import (
    AskedSweep,
    PlanFirst,
    refuse_late_plan,
    take_plan,
)
from freezingtime.errors import InputError, about
from freezingtime.explore.sweep.names import DASK_LOCAL, JOBS, NOT_VARIED
from freezingtime.option import Argument, Option, flag_of, list_options
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions
from freezingtime.trace.explored.sweep_files import SHARED_STORE_NAME, TABLE_NAME

if TYPE_CHECKING:
    from freezingtime.explore.sweep.request import SweepRequest
    from freezingtime.explore.sweep.sweep import Engine
    from freezingtime.store.results.result_store import ResultStore

_OUT = Path("sweep-results")
_MACHINE = Only(tuple(name for name in list_options(RunOptions) if name not in NOT_VARIED))
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")


@takes_options(then={"workload": "disks", "trace": "workload"})
def sweep_command(
    command: Annotated[
        Sequence[str],
        Argument("-- COMMAND", "Run a job in a guest, as `run` does."),
    ] = (),
    *,
    script: ScriptOption = None,
    job: JobOption = None,
    vary: Annotated[
        Sequence[str],
        Option(
            "KEY=VALUES",
            "Vary a key: `a,b,c`, `choice(a,b)`, `range(START,STOP,STEP)` (up to below STOP), or, "
            "with `--sample`, `interval(LOW,HIGH)` or `tag(log,interval(LOW,HIGH))`. KEY: `disk`, "
            "`disk.KEY` (a key of `--disk`, or a parameter of the device by its path), "
            "`disk2.KEY`, `workload.KEY`, `workload`, `seed`, `env.NAME`, or another option "
            "without dashes. "
            "Repeatable: every combination is a point.",
            flag="--set",
        ),
    ] = (),
    plan: Annotated[
        Path | None,
        Option(
            "FILE",
            "Take what is not given here from a plan, a file `NAME.toml`. As the first argument it "
            "needs no `--plan`.",
        ),
    ] = None,
    zip_keys: Annotated[
        Sequence[str],
        Option(
            "KEY,KEY",
            "Take the values of these keys side by side instead of in every combination. "
            "Repeatable.",
            flag="--zip",
        ),
    ] = (),
    sample: Annotated[
        str | None,
        Option(
            "KIND:NUMBER",
            "Draw that many points from the intervals: `sobol:64` (a Sobol sequence) or `lhs:64` "
            "(a Latin hypercube).",
        ),
    ] = None,
    workload: Annotated[
        str | None, Option("LINE", "Replay a workload, as `replay --workload` takes it.")
    ] = None,
    trace: Annotated[Path | None, Option("FILE", "Replay a trace.")] = None,
    options: Annotated[RunOptions, _MACHINE],
    replays: ReplayOptions,
    out: Annotated[
        Path,
        Option("DIR", f"Write `{TABLE_NAME}` to DIR; a sweep that is there is continued."),
    ] = _OUT,
    store: Annotated[
        Path | None,
        Option("DIR", "The store of results. Default: in the cache."),
    ] = None,
    no_store: Annotated[
        bool, Option("", "Run every point, and keep nothing but the table.")
    ] = False,
    refresh: Annotated[
        bool, Option("", "Run every point, and replace what the store has of it.")
    ] = False,
    verify_cache: Annotated[
        str | None,
        Option(
            "SHARE",
            "Run this share of the points that the store has again, such as `1%`, chosen at "
            "random: a result that is not the same is an error.",
        ),
    ] = None,
    workers: Annotated[
        str,
        Option(
            "NUMBER",
            "How many points run at once. `auto`: one for each CPU, as far as there is memory "
            "(512 MiB for each, and the guest's). `0`: enqueue them in DIR, and wait until "
            "`freezingtime worker DIR`, on any machines, has run it.",
        ),
    ] = "auto",
    enqueue: Annotated[
        bool,
        Option("", "Leave the points to `freezingtime worker DIR`, and wait for nothing."),
    ] = False,
    prepare: Annotated[
        Path | None,
        Option(
            "PATH",
            "Run this job once before, a script or a directory as of `--job`, on the disks of "
            "`--disk`: every point goes on from the machine that it leaves. That is saved, and "
            "found again by the next sweep.",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        Option(
            "ADDRESS",
            "Run the points on the workers of a Dask cluster: its scheduler, such as "
            "`tcp://10.0.0.1:8786`, its scheduler file `NAME.json`, or `local`: as many "
            "processes here as `--workers` says.",
        ),
    ] = None,
    stop_on_error: Annotated[
        bool, Option("", "Stop at the first point that cannot be run.")
    ] = False,
    schema: Annotated[
        bool, Option("", "Print the JSON Schema of plans, for editors, and nothing else.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_code: AllowCodeOption = False,
    said: GivenNames = GivenNames(),  # noqa: B008 -- it cannot change
) -> int:
    """Run the same at many points: every combination of the values of some keys.

    A point is a replay (`--workload`, `--trace`), or a run in a guest (`-- COMMAND`). One
    whose result is in the store is not run again; so the same command continues a sweep that was
    interrupted. The table has a row for each point. The exit status is 1 if a point failed.

    A plan is a TOML file that says the same: `freezingtime sweep plan.toml`.

    Example: `freezingtime sweep --workload randread,bs=4k,count=10k --set workload.qd=1,8,32
    --set 'disk=choice(aws-gp3,micron-7450-pro-960gb)'`
    """
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.cli.results.sweep_display import (
        Display,
        say_enqueued,
        say_summary,
        show_points,
        sweep_document,
    )
    from freezingtime.explore.sweep.cluster.queue_engine import QueueEngine
    from freezingtime.explore.sweep.directory import SweepDirectory
    from freezingtime.explore.sweep.points import make_points
    from freezingtime.explore.sweep.sweep import SweepOptions, new_sweep, run_sweep
    from freezingtime.explore.sweep.table import require_metrics
    from freezingtime.explore.sweep.values import parse_set

    if schema:
        from freezingtime.explore.sweep.plan.schema import plan_schema

        print_json(plan_schema())
        return 0
    is_enqueued = enqueue or workers == "0"
    is_shared = is_enqueued or dask not in (None, DASK_LOCAL)
    if is_enqueued:
        _refuse_beside_queue(dask=dask, refresh=refresh, verify_cache=verify_cache)
    if is_shared and no_store:
        raise InputError(
            "--no-store: other machines leave their results in the store; leave it out"
        )
    sweep_options = SweepOptions(
        store=_store(store, out, is_shared=is_shared, is_wanted=not no_store),
        refresh=refresh,
        workers=None if is_enqueued else _workers(workers),
        engine=QueueEngine(out, waits=not enqueue) if is_enqueued else _on_dask(dask, workers),
        keep_going=not stop_on_error,
        verify_share=_share(verify_cache),
    )
    asked = AskedSweep(
        command=command,
        script=script,
        job=job,
        workload=workload,
        trace=trace,
        varied=[parse_set(text) for text in vary],
        zipped=zip_keys,
        sample=sample,
        options=options,
        replays=replays,
        prepare=prepare,
    )
    refuse_late_plan(command)
    if plan is not None:
        from freezingtime.explore.sweep.plan.read_plan import read_plan

        asked = take_plan(asked, read_plan(plan), said)
    if not asked.varied:
        raise InputError("give at least one --set KEY=VALUES, such as --set workload.qd=1,8,32")
    of_plan = "" if plan is None else f"{plan}: "
    with about(of_plan):
        points = make_points(asked.varied, asked.zipped, asked.sample)
        request = make_request(
            job_script(asked.command, asked.script, asked.job),
            asked.job,
            asked.workload,
            asked.trace,
            asked.options,
            asked.replays,
            prepare=asked.prepare,
            is_job_varied=any(key.name in JOBS for key in asked.varied),
        )
    swept = {
        **request.describe(),
        "set": [key.described() for key in asked.varied],
        "zip": list(asked.zipped),
        "sample": asked.sample,
    }
    kept = sweep_options.store
    with SweepDirectory(out) as directory, ReplayProgress(quiet=quiet) as progress:
        directory.begin(swept, None if kept is None else kept.root, asked.metrics)
        sweep = new_sweep(points)
        try:
            with about(of_plan):
                run_sweep(sweep, request, sweep_options, Display(progress))
        finally:
            # What is interrupted has a table, too; who is killed has the store.
            directory.write(sweep)
    if as_json:
        print_json(sweep_document(sweep, out))
    elif not enqueue:
        show_points(sweep, asked.metrics)
    if enqueue:
        say_enqueued(sweep, out, quiet=quiet)
        return 0
    say_summary(sweep, out, None if kept is None else kept.root, quiet=quiet)
    with about(of_plan):
        require_metrics(sweep.outcomes, asked.metrics)
    return EXIT_FAILED_IF if sweep.has_failed else 0


def make_request(
    job: bytes | Command,
    directory: Path | None,
    workload: str | None,
    trace: Path | None,
    options: RunOptions,
    replays: ReplayOptions,
    *,
    prepare: Path | None = None,
    is_job_varied: bool = False,
) -> SweepRequest:
    """Runs of a job if there is one, or if that is varied; else replays.

    Raises:
        InputError: an option is given that is for the other of the two.
    """
    from freezingtime.explore.sweep.request import OF_REPLAYS, ReplayRequest
    from freezingtime.explore.sweep.run_request import RunRequest

    if job == Command() and not is_job_varied:
        defaults = RunOptions()
        for name, option in list_options(RunOptions).items():
            if name not in OF_REPLAYS and getattr(options, name) != getattr(defaults, name):
                raise InputError(
                    f"{flag_of(name, option.declared)}: is for runs in a guest; give a COMMAND "
                    "behind '--', or leave it out"
                )
        if prepare is not None:
            raise InputError(f"--prepare {prepare}: is for runs in a guest; leave it out")
        return ReplayRequest(options.disks, workload, trace, replays, options.seed)
    if workload is not None or trace is not None or replays != ReplayOptions():
        raise InputError("give either a job, or --workload or --trace with its options")
    return RunRequest(options, job, directory, prepare)


def _store(path: Path | None, out: Path, *, is_shared: bool, is_wanted: bool) -> ResultStore | None:
    """The store: where other machines take part, it is in the sweep's directory."""
    from freezingtime.store.results.result_store import ResultStore, default_store

    if path is not None and not is_wanted:
        raise InputError(f"--store {path}: goes not with --no-store; leave out one")
    if not is_wanted:
        return None
    if path is not None:
        return ResultStore(path)
    shared = out / SHARED_STORE_NAME
    return ResultStore(shared) if is_shared or shared.is_dir() else default_store()


def _on_dask(address: str | None, workers: str) -> Engine | None:
    if address is None:
        return None
    from freezingtime.explore.sweep.cluster.dask_engine import DaskEngine

    if address != DASK_LOCAL and workers != "auto":
        raise InputError(f"--workers {workers}: is the cluster's to say; leave it out")
    return DaskEngine(address, _workers(workers))


def _refuse_beside_queue(*, dask: str | None, refresh: bool, verify_cache: str | None) -> None:
    for option, is_given in (
        ("--dask", dask is not None),
        ("--refresh", refresh),
        ("--verify-cache", verify_cache is not None),
    ):
        if is_given:
            raise InputError(
                f"{option}: goes not with --enqueue or --workers 0: 'freezingtime worker' runs "
                "what the store has not"
            )


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise InputError(f"--workers {text}: write a number from 0 to 9999, or auto")
    return int(text)


def _share(text: str | None) -> float:
    if text is None:
        return 0.0
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / 100 if found else 2.0
    if share > 1:
        raise InputError(f"--verify-cache {text}: write a share, from 0% to 100%, such as 1%")
    return share


# What follows COMMAND is COMMAND's own, as with sudo or env.
app = command_app(sweep_command, PlanFirst, allow_interspersed_args=False)
