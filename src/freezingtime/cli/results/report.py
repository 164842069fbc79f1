# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime report`: runs as one page of HTML, and as figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from freezingtime.cli.options import command_app
from freezingtime.errors import InputError
from freezingtime.host.replaced_file import require_place
from freezingtime.option import Argument, Option, Values
from freezingtime.units import counted

if TYPE_CHECKING:
    from freezingtime.report.sweep.data import SweepData


def report_command(
    runs: Annotated[
        list[Path],
        Argument(
            "RUN",
            "Runs' directories (`run --out`), or records (`replay --out`); or one directory of "
            "`crash --out` or `sweep --out`.",
            Values.RUN,
        ),
    ],
    out: Annotated[Path, Option("FILE", "HTML file to write.", short="-o")],
    figures: Annotated[
        Path | None, Option("DIR", "Also write each figure to DIR, as SVG and PNG.")
    ] = None,
    metrics: Annotated[
        Sequence[str],
        Option(
            "NAME",
            "Of a sweep: draw this figure, as `compare` names it. `NAME=lower` or `NAME=higher` "
            "says which values are better, where the unit does not. Repeatable. Default: the "
            "application's first two, or else IOPS and p99.",
            flag="--metric",
        ),
    ] = (),
    points: Annotated[
        Path | None,
        Option("DIR", "Of a sweep: also write the report of each point to DIR, and link to it."),
    ] = None,
) -> int:
    """Write a report of a run, of several side by side, of a sweep, or of power cuts.

    A self-contained HTML page. Of runs: configuration, rates and latencies of each disk
    and operation, their distribution and course over time, and the audit. Of a sweep: metrics over
    what was varied, the Pareto front of two, and every point with its run.

    Example: `freezingtime report RUN -o report.html`
    """
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.host.os_errors import os_errors_as
    from freezingtime.report.exploration.read import is_exploration
    from freezingtime.report.figures.run_figures import write_run_figures
    from freezingtime.report.page import notices, write_report
    from freezingtime.report.read import read_run
    from freezingtime.report.side_by_side import side_by_side
    from freezingtime.report.sweep.read import is_sweep

    for run in runs:
        if run.suffix == ".toml" and run.is_file():
            raise InputError(
                f"{run}: is no run; if it is the plan of a sweep, run 'freezingtime sweep {run}', "
                "and name the directory that it writes"
            )
    if any(map(is_sweep, runs)):
        return _report_sweep(runs, out, figures, metrics, points)
    if metrics:
        raise InputError(f"--metric {metrics[0]}: is of sweeps; leave it out")
    if points is not None:
        raise InputError(f"--points {points}: is of sweeps; leave it out")
    if any(map(is_exploration, runs)):
        return _report_exploration(runs, out, figures)
    _check(runs, out, figures)
    with ReplayProgress(quiet=False) as progress:
        read = []
        for number, run in enumerate(runs):
            progress(f"reading {run}", number, len(runs))
            # The notices also mention a killed run.
            read.append(read_run(run, lambda notice: None))
        read = side_by_side(read)
        for notice in notices(read):
            progress.notify(notice)
        progress("drawing", 0, 0)
        with os_errors_as(InputError, f"--out {out}", "name a file in a directory with room"):
            write_report(read, out)
        progress.notify(f"wrote {out}")
        if figures is not None:
            written = write_run_figures(read, figures, "--figures")
            progress.notify(f"wrote {counted(len(written), 'file')} into {figures}")
    return 0


def _report_exploration(runs: list[Path], out: Path, figures: Path | None) -> int:
    """Write the page of an exploration of power cuts."""
    from freezingtime.host.foreign_text import say
    from freezingtime.host.os_errors import os_errors_as
    from freezingtime.report.exploration.page import write_exploration_report
    from freezingtime.report.exploration.read import read_exploration

    if len(runs) > 1:
        raise InputError(f"{len(runs)} directories: an exploration of power cuts has its own page")
    if figures is not None:
        raise InputError("--figures: is of runs; leave it out for an exploration of power cuts")
    require_place("--out", out)
    data = read_exploration(runs[0])
    with os_errors_as(InputError, f"--out {out}", "name a file in a directory with room"):
        write_exploration_report(data, out)
    say(f"wrote {out}")
    return 0


def _report_sweep(
    runs: list[Path],
    out: Path,
    figures: Path | None,
    metrics: Sequence[str],
    points: Path | None,
) -> int:
    """Write the page of a sweep."""
    from freezingtime.explore.sweep.directory import run_link
    from freezingtime.host.foreign_text import say
    from freezingtime.host.os_errors import os_errors_as
    from freezingtime.report.sweep.figures import write_sweep_figures
    from freezingtime.report.sweep.page import write_sweep_report
    from freezingtime.report.sweep.read import read_sweep_data

    if len(runs) > 1:
        raise InputError(f"{len(runs)} directories: a sweep has its own page; name one")
    require_place("--out", out)
    _check_directory("--figures", figures)
    _check_directory("--points", points)
    data = read_sweep_data(runs[0], metrics, run_link(runs[0]), "--metric")
    if points is not None:
        data = _report_points(data, points, out)
    with os_errors_as(InputError, f"--out {out}", "name a file in a directory with room"):
        write_sweep_report(data, out)
    say(f"wrote {out}")
    if figures is not None:
        written = write_sweep_figures(data, figures, "--figures")
        say(f"wrote {counted(len(written), 'file')} into {figures}")
    return 0


def _report_points(data: SweepData, directory: Path, out: Path) -> SweepData:
    """Write the reports of all points that have a run; return what links to them."""
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.explore.sweep.directory import run_finder
    from freezingtime.host.os_errors import os_errors_as
    from freezingtime.report.page import write_report
    from freezingtime.report.read import read_run

    find, links = run_finder(data.path), list(data.links)
    cure = "name a directory with room"
    with (
        ReplayProgress(quiet=False) as progress,
        os_errors_as(InputError, f"--points {directory}", cure),
    ):
        directory.mkdir(exist_ok=True)
        for place, key in enumerate(data.results):
            progress("reports of points", place, len(links))
            if key is None or (found := find(key)) is None:
                continue
            page = directory / f"{data.numbers[place]}.html"
            with suppress(InputError):  # one without any request keeps the link to its directory
                write_report([read_run(found, lambda notice: None)], page)
                links[place] = quote(os.path.relpath(page, out.parent))
        progress.notify(f"wrote the reports of points into {directory}")
    return replace(data, links=links)


def _check(runs: list[Path], out: Path, figures: Path | None) -> None:
    """Find out before the work begins what cannot be."""
    from freezingtime.report.figures.run_figures import RUNS_MAX
    from freezingtime.trace.record_paths import find_record

    if len(runs) > RUNS_MAX:
        raise InputError(f"{counted(len(runs), 'run')}; at most {RUNS_MAX} fit into one report")
    records = [find_record(run) for run in runs]
    require_place("--out", out)
    if out.exists() and any(out.samefile(record) for record in records):
        raise InputError(f"--out {out}: is itself a record; name another file")
    _check_directory("--figures", figures)


def _check_directory(option: str, path: Path | None) -> None:
    if path is not None and (not path.parent.is_dir() or (path.exists() and not path.is_dir())):
        raise InputError(f"{option} {path}: name an existing directory, or one that can be created")


app = command_app(report_command)
