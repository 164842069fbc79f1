# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime fit`: from logs of a real device to a device file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from freezingtime.calibrate.fit.fit import (
    EMPIRICAL,
    MODELS,
    Fit,
    FitPlan,
    FittedCell,
    check_out,
    fit,
    parse_missing,
)
from freezingtime.calibrate.fit.sources import read_sources
from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.device.trace_options import ReadCodeOption, TimeUnitOption
from freezingtime.cli.options import (
    JsonOption,
    QuietOption,
    SeedOption,
    command_app,
)
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.output.json_stream import print_json
from freezingtime.cli.results.time_columns import difference, time_cell
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show
from freezingtime.report.figures.sample_figures import (
    SamplePanel,
    draw_distributions,
    draw_quantiles,
    make_directory,
)
from freezingtime.trace.readers import parse_hints

_HEADER = (
    *("cell", "requests", "mean", "device", "p50", "device", "p99", "device", "p99.9", "device"),
    *("KS", "p", "halves' KS"),
)
_FIGURES_OPTION = "--figures"


def fit_command(
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG|DIR...",
            help="Logs of fio (`--write_lat_log`, or JSON), the text of blkparse, ftrace or "
            "biosnoop, CSV with latencies, a run's record; or a directory of "
            "`freezingtime measure`, or with logs of fio.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Device file to write, NAME.toml.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="`empirical`: quantiles, as measured; `latency`: distributions and servers.",
        ),
    ] = EMPIRICAL,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPERATION=TIME",
            help="Service time of an operation missing from the logs: `write=20us`, `write=read`. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            metavar="QD",
            min=1,
            max=1 << 20,
            help="Queue depth of the logs. Default: as logged, else by Little's law.",
            show_default=False,
        ),
    ] = None,
    trace_disk: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Disk to read from a log of several.", show_default=False
        ),
    ] = None,
    time_unit: TimeUnitOption = None,
    read_code: ReadCodeOption = None,
    correlation: Annotated[
        bool,
        typer.Option(help="Cluster slow requests as in the log."),
    ] = True,
    summary: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="One-line description of the device.", show_default=False
        ),
    ] = "",
    figures: Annotated[
        Path | None,
        typer.Option(
            _FIGURES_OPTION,
            metavar="DIR",
            help="Write quantile-quantile plots and distributions to DIR.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Fit a device to measured latencies, and write its device file.

    The table compares the log with the device under the same requests. `KS` is their
    Kolmogorov-Smirnov distance, `halves' KS` that of two interleaved halves of the log
    itself, which no model can be expected to beat.

    Example: `freezingtime fit randread_lat.1.log randwrite_lat.1.log -o mine.toml`
    """
    if model not in MODELS:
        raise InputError(f"--model {model}: must be one of: {', '.join(MODELS)}")
    plan = FitPlan(model, parse_missing(missing or []), correlation, summary)
    check_out(out)
    if figures is not None:
        make_directory(figures, _FIGURES_OPTION)
    with ReplayProgress(quiet=quiet) as progress:
        latencies, sources = read_sources(
            logs,
            depth=depth,
            disk=trace_disk,
            hints=parse_hints(time_unit, read_code),
            notify=progress.notify,
            tell=progress.tell,
            progress=progress,
        )
        fitted = fit(latencies, sources, plan, seed=seed, progress=progress)
        if figures is not None:
            progress("drawing", 0, 0)
            _draw(fitted, figures)
    fitted.write(out)
    if as_json:
        print_json(_document(fitted, out))
    else:
        _show(fitted, out, figures)
    return 0


def _draw(fitted: Fit, directory: Path) -> None:
    panels = [
        SamplePanel(found.cell.name, found.cell.latency_ns, {"device": found.simulated_ns})
        for found in fitted.cells
    ]
    draw_quantiles(panels, directory / "fit-quantiles.svg", _FIGURES_OPTION)
    draw_distributions(panels, directory / "fit-distributions.svg", _FIGURES_OPTION)


def _show(fitted: Fit, out: Path, figures: Path | None) -> None:
    print_columns([_HEADER, *map(_row, fitted.cells)])
    show()
    for line in fitted.choices:
        show(line)
    for line in fitted.uncovered:
        show(f"not covered: {line}")
    show(f"wrote {out}" + (f", figures in {figures}" if figures is not None else ""))


def _row(found: FittedCell) -> Sequence[str]:
    distance = found.distance
    figures = [
        text
        for figure in ("mean", "p50", "p99", "p99.9")
        for text in (time_cell(distance.expected_ns[figure]), difference(distance.error(figure)))
    ]
    halves = "-" if found.drift is None else f"{found.drift.interleaved.ks:.3f}"
    return (
        found.cell.name,
        str(distance.expected_count),
        *figures,
        f"{distance.ks:.3f}",
        f"{distance.ks_p:.2g}",
        halves,
    )


def _document(fitted: Fit, out: Path) -> dict[str, Any]:
    return {
        "device": str(out),
        "model": fitted.model,
        "choices": list(fitted.choices),
        "not_covered": list(fitted.uncovered),
        "sources": fitted.content["sources"],
        "cells": [
            {
                "operation": found.cell.operation,
                "size_bytes": found.cell.size_bytes,
                "depth": found.cell.depth,
                "device_against_log": found.distance.as_dict(),
                "log_against_itself": None if found.drift is None else found.drift.as_dict(),
            }
            for found in fitted.cells
        ],
    }


app = command_app(fit_command)
