# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime measure`: a real device, measured as `fit` needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from freezingtime.calibrate.measure.options import MeasureOptions
from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.device.consent import YesOption, require_consent
from freezingtime.cli.options import QuietOption, command_app
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Option
from freezingtime.units import counted


@takes_options()
def measure_command(
    path: Annotated[Path, Argument("PATH", "Block device, or file on one.")],
    out: Annotated[Path, Option("DIR", "Directory to write.", short="-o")],
    *,
    options: MeasureOptions,
    yes: YesOption = False,
    seed: Annotated[int, Option("NUMBER", "Seed of offsets and order.", minimum=0)] = 0,
    quiet: QuietOption = False,
) -> int:
    """Measure a real device with fio: a directory for `fit` and `validate`.

    Reads only, unless `--write` is given. Refuses targets that are mounted or otherwise in use,
    and refuses to overwrite data unless `--overwrite` is given.

    Example: `freezingtime measure probe.dat --create 2GiB --write --yes -o my-disk`
    """
    from freezingtime.calibrate.measure.measure import measure
    from freezingtime.calibrate.measure.options import make_measure_plan
    from freezingtime.cli.device.replay_progress import ReplayProgress

    plan = make_measure_plan(path, out, options, seed=seed)
    require_consent(plan, yes=yes, quiet=quiet)
    with ReplayProgress(quiet=quiet) as progress:
        manifest = measure(plan, progress)
    show(
        f"measured {manifest.what}: {counted(len(manifest.jobs), 'job')} in "
        f"{counted(manifest.rounds, 'round')}"
    )
    show(f"wrote {out}; next: freezingtime fit {out} -o NAME.toml")
    return 0


app = command_app(measure_command)
