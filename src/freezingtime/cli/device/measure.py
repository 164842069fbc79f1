# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime measure`: a real device, measured as `fit` needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freezingtime.calibrate.measure.measure import ROUNDS, measure
from freezingtime.calibrate.measure.options import (
    DEPTHS_TEXT,
    RUNTIME,
    SIZES,
    make_measure_plan,
)
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
from freezingtime.cli.options import QuietOption, command_app
from freezingtime.host.foreign_text import show


def measure_command(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="Block device, or file on one.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Directory to write.", show_default=False),
    ],
    sizes: SizesOption = SIZES,
    depths: DepthsOption = DEPTHS_TEXT,
    rounds: RoundsOption = ROUNDS,
    runtime: RuntimeOption = RUNTIME,
    write: WriteOption = False,
    overwrite: OverwriteOption = False,
    create: CreateOption = None,
    yes: YesOption = False,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, help="Seed of offsets and order.")
    ] = 0,
    quiet: QuietOption = False,
) -> int:
    """Measure a real device with fio: a directory for `fit` and `validate`.

    Reads only, unless `--write` is given. Refuses targets that are mounted or otherwise in use,
    and refuses to overwrite data unless `--overwrite` is given.

    Example: `freezingtime measure probe.dat --create 2GiB --write --yes -o my-disk`
    """
    plan = make_measure_plan(
        path,
        out,
        sizes=sizes,
        depths=depths,
        rounds=rounds,
        runtime=runtime,
        write=write,
        overwrite=overwrite,
        create=create,
        seed=seed,
    )
    require_consent(plan, yes=yes, quiet=quiet)
    with ReplayProgress(quiet=quiet) as progress:
        manifest = measure(plan, progress)
    show(f"measured {manifest.what}: {len(manifest.jobs)} jobs in {manifest.rounds} rounds")
    show(f"wrote {out}; next: freezingtime fit {out} -o NAME.toml")
    return 0


app = command_app(measure_command)
