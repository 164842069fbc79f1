# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime fit`: from logs of a real device to a device file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.calibrate.fit.models import FLASH
from freezingtime.calibrate.fit.options import (
    FitOptions,
    FlashFitOptions,
    make_fit_plan,
    make_flash_fit_plan,
)
from freezingtime.cli.declared_options import GivenNames, takes_options
from freezingtime.cli.device.curves.fit_flash import fit_flash_command
from freezingtime.cli.options import (
    JsonOption,
    QuietOption,
    SeedOption,
    command_app,
)
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Option, list_options
from freezingtime.units import time_cell

if TYPE_CHECKING:
    from freezingtime.calibrate.fit.fit import Fit, FittedCell

_HEADER = (
    *("cell", "requests", "mean", "device", "p50", "device", "p99", "device", "p99.9", "device"),
    *("KS", "p", "halves' KS"),
)
_FIGURES_OPTION = "--figures"
_ONLY_FLASH = tuple(list_options(FlashFitOptions))
_ONLY_LOGS = (
    "figures",
    *(name for name in list_options(FitOptions) if name not in ("model", "summary")),
)


@takes_options()
def fit_command(
    logs: Annotated[
        list[Path],
        Argument(
            "LOG|DIR...",
            "Logs of fio (`--write_lat_log`, or JSON), the text of blkparse, ftrace or "
            "biosnoop, CSV with latencies, a run's record; or a directory of "
            "`freezingtime measure`, or with logs of fio. With `--model flash`: one TOML file "
            "with a measured load-latency curve.",
        ),
    ],
    out: Annotated[Path, Option("FILE", "Device file to write, NAME.toml.", short="-o")],
    *,
    options: FitOptions,
    flash: FlashFitOptions,
    figures: Annotated[
        Path | None,
        Option(
            "DIR", "Write quantile-quantile plots and distributions to DIR.", flag=_FIGURES_OPTION
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    said: GivenNames = GivenNames(),  # noqa: B008 -- it cannot change
) -> int:
    """Fit a device to measured latencies, and write its device file.

    The table compares the log with the device under the same requests. `KS` is their
    Kolmogorov-Smirnov distance, `halves' KS` that of two interleaved halves of the log
    itself, which no model can be expected to beat.

    With `--model flash`, parameters of an SSD are found by simulating its load-latency curve;
    the table has the curve predicted and measured, and how well each parameter is known.

    Example: `freezingtime fit randread_lat.1.log randwrite_lat.1.log -o mine.toml`
    """
    from freezingtime.calibrate.fit.fit import check_out, fit
    from freezingtime.calibrate.fit.sources import read_sources
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.report.figures.sample_figures import make_directory

    if options.model == FLASH:
        _refuse(said, _ONLY_LOGS, f"has no meaning with --model {FLASH}, which reads no logs")
        return fit_flash_command(
            logs,
            out,
            make_flash_fit_plan(flash, options.summary),
            seed=seed,
            as_json=as_json,
            quiet=quiet,
        )
    _refuse(said, _ONLY_FLASH, f"needs --model {FLASH}")
    plan = make_fit_plan(options)
    check_out(out, logs)
    if figures is not None:
        make_directory(figures, _FIGURES_OPTION)
    with ReplayProgress(quiet=quiet) as progress:
        latencies, sources = read_sources(
            logs,
            options,
            notify=progress.notify,
            on_reading=progress.on_reading,
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


def _refuse(given: GivenNames, names: Sequence[str], problem: str) -> None:
    """Raise InputError if one of these options is on the command line."""
    for name in names:
        if name in given:
            raise InputError(f"--{name.replace('_', '-')}: {problem}")


def _draw(fitted: Fit, directory: Path) -> None:
    from freezingtime.report.figures.sample_figures import (
        SamplePanel,
        draw_distributions,
        draw_quantiles,
    )

    panels = [
        SamplePanel(found.cell.name, found.cell.latency_ns, {"device": found.simulated_ns})
        for found in fitted.cells
    ]
    draw_quantiles(panels, directory / "fit-quantiles.svg", _FIGURES_OPTION)
    draw_distributions(panels, directory / "fit-distributions.svg", _FIGURES_OPTION)


def _show(fitted: Fit, out: Path, figures: Path | None) -> None:
    from freezingtime.cli.output.columns import print_columns

    print_columns([_HEADER, *map(_row, fitted.cells)])
    show()
    for line in fitted.choices:
        show(line)
    for line in fitted.uncovered:
        show(f"not covered: {line}")
    show(f"wrote {out}" + (f", figures in {figures}" if figures is not None else ""))


def _row(found: FittedCell) -> Sequence[str]:
    from freezingtime.cli.results.time_columns import difference

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
