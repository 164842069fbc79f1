# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.sweep``: the same at many points, as the command of the same name."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from freezingtime.api.event_loop import run_outside_event_loop
from freezingtime.api.keywords import with_given_fields_of
from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import ProgressLine
from freezingtime.api.result import Result, open_run, warn, warn_of
from freezingtime.api.runs import Job, job_of
from freezingtime.device.toml.changed import value_text
from freezingtime.errors import InputError, RunError, about
from freezingtime.explore.sweep.directory import SweepDirectory, read_sweep, run_link
from freezingtime.explore.sweep.names import DASK_LOCAL
from freezingtime.explore.sweep.plan.planned_sweep import planned_sweep
from freezingtime.explore.sweep.points import make_points
from freezingtime.explore.sweep.request import OF_REPLAYS, ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.explore.sweep.sweep import (
    Engine,
    SweepObserver,
    SweepOptions,
    SweepProgress,
    new_sweep,
    run_sweep,
)
from freezingtime.explore.sweep.table import require_metrics
from freezingtime.explore.sweep.values import VariedKey, parse_set
from freezingtime.option import FilePath, list_options
from freezingtime.runs.options import RunOptions
from freezingtime.simulate.options import ReplayOptions
from freezingtime.store.results.result_store import ResultStore, default_store
from freezingtime.trace.explored.sweep_files import TABLE_NAME
from freezingtime.trace.readers import Reading
from freezingtime.trace.record_paths import RECORD_NAME
from freezingtime.trace.run_directory import DOCUMENT_NAME
from freezingtime.units import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from freezingtime.report.sweep.data import SweepData

Values: TypeAlias = str | Sequence[str | int | float | bool]


class SweepResult:
    """A sweep that has ended, and its table."""

    def __init__(self, path: Path, output: OutputPath | None = None) -> None:
        """For this package; use :func:`freezingtime.sweep` and :func:`freezingtime.open_sweep`."""
        self.path = path
        """The sweep's directory; a temporary one goes away with this object."""
        self._output = output
        store = read_sweep(path).get("store")
        self._store = None if store is None else ResultStore(Path(store))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each point: its values, ``status``, ``reason``, and its figures.

        These are named as in ``freezingtime compare``, with their unit: ``all.p99_ns``;
        docs/reference/sweep.md has the rest.
        """
        import pandas as pd

        return pd.read_parquet(self.path / TABLE_NAME)

    def open(self, point: int) -> Result:
        """Open the result of a point, with its requests.

        Raises:
            InputError: it has none, or the store has it no more.
        """
        key = self.table["result"].get(point)
        found = None if self._store is None or key is None else self._store.find(str(key))
        if found is None:
            raise InputError(f"point {point}: the store has no result of it; sweep again")
        is_run = (found.run_path / DOCUMENT_NAME).exists()
        return open_run(found.run_path if is_run else found.run_path / RECORD_NAME)

    @plain_errors
    def plot(self, *metrics: str) -> Figure:
        """Draw the figures of ``freezingtime report``, one below the other.

        ``metrics`` are names of figures, such as ``"all.p99"``; without any, the application's
        first two, or else IOPS and p99. Returns matplotlib's figure, whose ``axes`` are the panels;
        no pyplot is needed to show it in a notebook, or to save it.

        Raises:
            InputError: there is no such metric, or nothing to draw.
        """
        from freezingtime.report.sweep.figures import live_sweep_figure

        return live_sweep_figure(self._read_for_report(metrics))

    @plain_errors
    def report(self, path: str | PathLike[str], *metrics: str) -> Path:
        """Write the report of ``freezingtime report`` to ``path``, one page of HTML.

        Raises:
            InputError: there is no such metric.
            OSError: the page cannot be written.
        """
        from freezingtime.report.sweep.page import write_sweep_report

        write_sweep_report(self._read_for_report(metrics), Path(path))
        return Path(path)

    def _read_for_report(self, metrics: Sequence[str]) -> SweepData:
        from freezingtime.report.sweep.read import read_sweep_data

        return read_sweep_data(self.path, metrics, run_link(self.path), "metric")

    def __repr__(self) -> str:
        statuses = self.table["status"].value_counts()
        words = ", ".join(f"{count} {status}" for status, count in statuses.items())
        return f"<SweepResult {self.path}: {counted(len(self.table), 'point')}: {words}>"


@dataclass(frozen=True, slots=True)
class SweepArguments(RunOptions):
    """The arguments of :func:`sweep`: what is varied, and what stays."""

    plan: FilePath | Mapping[str, Any] | None = field(default=None, kw_only=True)
    vary: Mapping[str, Values] = field(default_factory=dict, kw_only=True)
    job: Job | None = field(default=None, kw_only=True)
    prepare: FilePath | None = field(default=None, kw_only=True)
    workload: str | None = field(default=None, kw_only=True)
    trace: FilePath | None = field(default=None, kw_only=True)
    closed_loop: int | None = field(default=None, kw_only=True)
    speed_up: str | int | Fraction | None = field(default=None, kw_only=True)
    format: str | None = field(default=None, kw_only=True)
    trace_disk: str | None = field(default=None, kw_only=True)
    time_unit: str | None = field(default=None, kw_only=True)
    read_code: str | None = field(default=None, kw_only=True)
    zip: Sequence[Sequence[str]] = field(default=(), kw_only=True)
    sample: str | None = field(default=None, kw_only=True)
    store: FilePath | None = field(default=None, kw_only=True)
    refresh: bool = field(default=False, kw_only=True)
    verify_share: float = field(default=0.0, kw_only=True)
    workers: int | None = field(default=None, kw_only=True)
    dask: str | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_given_fields_of(SweepArguments)
def sweep(arguments: SweepArguments, given: Set[str]) -> SweepResult:
    """Run the same at many points: every combination of the values of some keys.

    ``vary`` has the values of each key, in a list or as the text of ``--set``:
    ``{"workload.qd": [1, 8, 32], "disk.mapping.over_provisioning": "range(0.1,0.4,0.1)"}``. Keys of
    one list in ``zip`` take their values side by side. Results are read back from the store (None:
    that in the cache) where it has them. A point is a run in a guest if there is a ``job``, as
    :func:`run` takes it, going on from the machine that the job at the path ``prepare`` has left,
    if there is one; else a replay of a ``workload`` or a ``trace``. ``out`` is the sweep's
    directory; without it, that is removed with the result. ``dask`` is the address of a Dask
    cluster's scheduler, its scheduler file, or ``"local"``. The other arguments are the options of
    ``freezingtime sweep``. ``plan`` is a plan as that takes it, the path of its file or its
    content as a dict; what the call gives beside it goes before it, in ``vary`` key by key.

    A point that fails is a row like others: look at its ``status`` before its figures.

    Raises:
        InputError: what is varied is not right, or no point can be run.
    """
    own = [_varied(name, values) for name, values in arguments.vary.items()]
    planned = planned_sweep(arguments.plan, given, own)
    arguments, varied = replace(arguments, **planned.changes), planned.varied
    if not varied:
        raise InputError(
            "vary: is empty; name a key, such as {'workload.qd': [1, 8]}, or give a plan with [set]"
        )
    zipped = [",".join(names) for names in arguments.zip]
    with about(planned.name):
        points = make_points(varied, zipped, arguments.sample)
        request = _request(arguments)
    if not 0 <= arguments.verify_share <= 1:
        raise InputError(f"verify_share={arguments.verify_share}: must be from 0 to 1")
    store = default_store() if arguments.store is None else ResultStore(Path(arguments.store))
    options = SweepOptions(
        store=store,
        refresh=arguments.refresh,
        workers=arguments.workers,
        engine=_engine(arguments),
        verify_share=arguments.verify_share,
    )
    swept = {
        **request.describe(),
        "set": [key.described() for key in varied],
        "zip": zipped,
        "sample": arguments.sample,
    }
    output = OutputPath(arguments.out, "sweep")
    with SweepDirectory(output.path) as directory, ProgressLine(arguments.progress) as line:
        directory.begin(swept, store.root, planned.metrics)
        made, observer = new_sweep(points), _SweepLine(line)
        try:
            with about(planned.name):
                run_outside_event_loop(
                    lambda: run_sweep(made, request, options, observer), observer.cancelled.set
                )
        finally:
            directory.write(made)
    with about(planned.name):
        require_metrics(made.outcomes, planned.metrics)
    return SweepResult(output.path, output)


@plain_errors
def open_sweep(path: str | PathLike[str]) -> SweepResult:
    """Open an earlier sweep by its directory.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return SweepResult(Path(path))


class _SweepLine(SweepObserver):
    """Shows how far a sweep is."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self.cancelled = threading.Event()

    def notify(self, notice: str) -> None:
        warn(notice)

    def on_reading(self, reading: Reading) -> None:
        warn_of(reading)

    def sweeping(self, progress: SweepProgress) -> None:
        if self.cancelled.is_set():
            raise RunError("the sweep was cancelled")
        self._line.show("sweep", str(progress))


def _engine(arguments: SweepArguments) -> Engine | None:
    if arguments.dask is None:
        return None
    from freezingtime.explore.sweep.cluster.dask_engine import DaskEngine

    if arguments.dask != DASK_LOCAL and arguments.store is None:
        raise InputError(f"dask={arguments.dask!r}: name a store=DIR that all its workers share")
    return DaskEngine(arguments.dask, arguments.workers)


def _request(arguments: SweepArguments) -> SweepRequest:
    """Runs of a job if there is one, else replays."""
    if arguments.job is None:
        trace = None if arguments.trace is None else Path(arguments.trace)
        _refuse(arguments, RunOptions, OF_REPLAYS, "for runs in a guest; give a job")
        if arguments.prepare is not None:
            raise InputError(f"prepare={arguments.prepare!r}: is for runs in a guest; give a job")
        replays = ReplayOptions(**_options(arguments, ReplayOptions))
        return ReplayRequest(arguments.disks, arguments.workload, trace, replays, arguments.seed)
    if arguments.workload is not None or arguments.trace is not None:
        raise InputError("job: goes not with workload and trace; leave out one")
    if arguments.save is not None:
        raise InputError(f"save={arguments.save!r}: goes not with a sweep; save with ft.run before")
    _refuse(arguments, ReplayOptions, (), "for replays; leave it out")
    script, directory = job_of(arguments.job)
    runs = RunOptions(**{**_options(arguments, RunOptions), "out": None})
    prepare = None if arguments.prepare is None else Path(arguments.prepare)
    return RunRequest(runs, script, directory, prepare)


def _options(arguments: SweepArguments, options: type[Any]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in list_options(options)}


def _refuse(arguments: object, options: type[Any], but: Sequence[str], problem: str) -> None:
    for name, option in list_options(options).items():
        value = getattr(arguments, name)
        if name not in (*but, "out") and value != option.default:
            raise InputError(f"{name}={value!r}: is {problem}")


def _varied(name: str, values: Values) -> VariedKey:
    if isinstance(values, str):
        return parse_set(f"{name}={values}")
    if isinstance(values, int | float):
        raise InputError(f"vary: {name}: {values} is no list; write [{values}]")
    if not values:
        raise InputError(f"vary: {name} has no values")
    return VariedKey(name, [_text(value) for value in values])


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else value_text(value)
