# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime validate`: a device in a guest, held to what was measured on a real one."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from freezingtime.calibrate.measure.options import MeasureOptions, make_measure_plan
from freezingtime.calibrate.validate.options import MEASURING, ValidateOptions, make_validate_plan
from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.device.consent import YesOption, require_consent
from freezingtime.cli.options import (
    AllowCodeOption,
    JsonOption,
    QuietOption,
    SeedOption,
    command_app,
)
from freezingtime.cli.output.json_stream import print_json
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Option
from freezingtime.runs.options import RunOptions


@takes_options()
def validate_command(
    device: Annotated[
        str,
        Argument(
            "DEVICE",
            "`fit`: a device fitted to half of the measurement; or any device as in `run --disk`.",
        ),
    ],
    against: Annotated[
        Path,
        Option(
            "LOG|PATH",
            "A log or directory as for `fit`; or a block device or file, which is measured.",
        ),
    ],
    *,
    options: ValidateOptions,
    measuring: MeasureOptions = MEASURING,
    yes: YesOption = False,
    run: Annotated[RunOptions, Only(["cpu_rate", "clock", "max_leak", "qemu", "locked"])],
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, Option("DIR", "Keep the measurement, the fitted device and the runs in DIR.")
    ] = None,
    figures: Annotated[
        Path | None,
        Option(
            "DIR",
            "Write distributions, errors by request and the measurement's drift to DIR.",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Measure a real device, emulate it in a guest over a slower medium, and compare.

    Fits the device to every other block of the measurement, and compares the guest's latencies,
    from doorbell to interrupt, with the other half. An exclamation mark flags errors beyond
    the aim (3 % for means, 10 % for 99th percentiles), beside the measurement's difference
    from itself.

    Example: `freezingtime validate fit --against probe.dat --create 2GiB --write --yes`
    """
    from freezingtime.calibrate.fit.sources import is_log, read_sources
    from freezingtime.calibrate.measure.measure import measure
    from freezingtime.calibrate.validate.validate import validate
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.cli.device.validate_figures import FIGURES_OPTION, draw_validation
    from freezingtime.cli.device.validate_text import show_validation
    from freezingtime.report.figures.sample_figures import make_directory

    plan = make_validate_plan(device, options, replace(run, seed=seed))
    if figures is not None:
        make_directory(figures, FIGURES_OPTION)
    with ExitStack() as cleanup:
        place = out
        if place is None:
            scratch = tempfile.TemporaryDirectory(prefix="freezingtime-")
            place = Path(cleanup.enter_context(scratch))
        log = against
        progress = cleanup.enter_context(ReplayProgress(quiet=quiet))
        if not is_log(against):
            log = place / "measurement"
            to_measure = make_measure_plan(against, log, measuring, seed=seed)
            require_consent(to_measure, yes=yes, quiet=quiet)
            measure(to_measure, progress)
        latencies, sources = read_sources(
            [log],
            options,
            notify=progress.notify,
            on_reading=progress.on_reading,
            progress=progress,
        )
        validation = validate(latencies, sources, plan, out=place, observer=progress)
        if figures is not None:
            progress("drawing", 0, 0)
            draw_validation(validation, figures)
    if as_json:
        print_json(validation.as_dict())
    else:
        show_validation(validation)
        if out is not None:
            show(f"everything is in {out}")
    return 0


app = command_app(validate_command)
