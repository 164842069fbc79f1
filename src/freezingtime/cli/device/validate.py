# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime validate`: a device in a guest, held to what was measured on a real one."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from freezingtime.calibrate.fit.fit import EMPIRICAL
from freezingtime.calibrate.fit.sources import is_log, read_sources
from freezingtime.calibrate.measure.measure import measure
from freezingtime.calibrate.measure.options import RUNTIME, make_measure_plan
from freezingtime.calibrate.validate.options import CPUS, DEPTHS, ROUNDS, SIZES, make_validate_plan
from freezingtime.calibrate.validate.validate import validate
from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.device.consent import require_consent
from freezingtime.cli.device.measure_options import (
    CreateOption,
    DepthsOption,
    OverwriteOption,
    RoundsOption,
    RuntimeOption,
    SizesOption,
    WriteOption,
    YesOption,
)
from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.device.trace_options import ReadCodeOption, TimeUnitOption
from freezingtime.cli.device.validate_figures import FIGURES_OPTION, draw_validation
from freezingtime.cli.device.validate_text import show_validation
from freezingtime.cli.options import (
    AllowCodeOption,
    JsonOption,
    QuietOption,
    SeedOption,
    command_app,
)
from freezingtime.cli.output.json_stream import print_json
from freezingtime.host.foreign_text import show
from freezingtime.report.figures.sample_figures import make_directory
from freezingtime.runs.options import RunOptions
from freezingtime.trace.readers import parse_hints


@takes_options(RunOptions, only=("cpu_rate", "qemu"))
def validate_command(
    device: Annotated[
        str,
        typer.Argument(
            metavar="DEVICE",
            help="`fit`: a device fitted to the first half of what was measured; or any device as "
            "in `run --disk`.",
            show_default=False,
        ),
    ],
    against: Annotated[
        Path,
        typer.Option(
            "--against",
            metavar="LOG|PATH",
            help="A log or directory as for `fit`; or a block device or file, which is measured.",
            show_default=False,
        ),
    ],
    cpus: Annotated[
        str, typer.Option(metavar="NUMBER,...", help="Numbers of CPUs, one guest for each.")
    ] = CPUS,
    requests: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Requests of each kind in each guest. Default: as many as are held out, at most "
            "100,000.",
            show_default=False,
        ),
    ] = None,
    delay: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Delay of the medium, a time or `MIN..MAX`. Default: twice the measured mean.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option(metavar="MODEL", help="The model of `fit`.")] = EMPIRICAL,
    depth: Annotated[
        int | None,
        typer.Option(
            metavar="QD", min=1, max=1 << 20, help="Queue depth of a log.", show_default=False
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
    sizes: SizesOption = SIZES,
    depths: DepthsOption = DEPTHS,
    rounds: RoundsOption = ROUNDS,
    runtime: RuntimeOption = RUNTIME,
    write: WriteOption = False,
    overwrite: OverwriteOption = False,
    create: CreateOption = None,
    yes: YesOption = False,
    *,
    options: RunOptions,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the measurement, the fitted device and the runs in DIR.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            FIGURES_OPTION,
            metavar="DIR",
            help="Write distributions, errors by request and the measurement's drift to DIR.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Measure a real device, emulate it in a guest over a slower medium, and compare.

    Fits the device to every other block of the measurement, and compares the guest's latencies,
    from doorbell to interrupt, with the other half. An exclamation mark stands at errors beyond
    the aim (3 % for means, 10 % for 99th percentiles), beside the measurement's difference
    from itself.

    Example: `freezingtime validate fit --against probe.dat --create 2GiB --write --yes`
    """
    hints = parse_hints(time_unit, read_code)
    plan = make_validate_plan(
        device,
        model=model,
        cpus=cpus,
        requests=requests,
        delay=delay,
        run=replace(options, seed=seed),
    )
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
            to_measure = make_measure_plan(
                against,
                log,
                sizes=sizes,
                depths=depths,
                rounds=rounds,
                runtime=runtime,
                write=write,
                overwrite=overwrite,
                create=create,
                seed=seed,
            )
            require_consent(to_measure, yes=yes, quiet=quiet)
            measure(to_measure, progress)
        latencies, sources = read_sources(
            [log],
            depth=depth,
            disk=trace_disk,
            hints=hints,
            notify=progress.notify,
            tell=progress.tell,
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
