# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime tune`: change parameters of devices while a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from freezingtime.cli.options import JsonOption, command_app
from freezingtime.option import Argument, Values


def tune_command(
    run: Annotated[
        Path, Argument("RUN", "The directory of a run in progress.", Values.RUN_IN_PROGRESS)
    ],
    changes: Annotated[
        Sequence[str],
        Argument("CHANGE", "`KEY=VALUE`, with the disk's name before it if there are several."),
    ] = (),
    as_json: JsonOption = False,
) -> int:
    """Change parameters of the devices of a run, or a shell, in progress.

    RUN is the `--out` of `freezingtime run` or `freezingtime shell`. The change counts from an
    exact guest time on, which is printed as `--at` has it, and which the record and `run.json`
    have, so that the run can be repeated. Without CHANGE: list what can change, and its values.

    Example: `freezingtime tune out data.write=80us`
    """
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.cli.output.json_stream import print_json
    from freezingtime.host.foreign_text import show
    from freezingtime.runs.tuning.client import tune_run

    tuned = tune_run(run, changes)
    if as_json:
        print_json({"at": tuned.at, "values": tuned.values})
    elif tuned.at is not None:
        show(f'changed: --at "{tuned.at}"')
    else:
        rows = [
            (disk, path, value)
            for disk, values in tuned.values.items()
            for path, value in values.items()
        ]
        print_columns([("disk", "key", "value"), *rows])
    return 0


app = command_app(tune_command)
