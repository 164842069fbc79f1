# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime export`: the record of a run in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from freezingtime.cli.options import command_app
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument, Option, Values
from freezingtime.trace.writers.format_names import EXPORT_FORMATS


def export_command(
    run: Annotated[
        Path,
        Argument(
            "RUN", "A run's directory (`run --out`), or a record (`replay --out`).", Values.RUN
        ),
    ],
    format_name: Annotated[
        str,
        Option(
            "FORMAT",
            ", ".join(EXPORT_FORMATS),
            flag="--format",
            values=Values.EXPORT_FORMAT,
        ),
    ],
    out: Annotated[
        Path, Option("FILE", "File to write; `blktrace` appends `.blktrace.0`.", short="-o")
    ],
    disk: Annotated[str | None, Option("NAME", "Disk to export from a run with several.")] = None,
) -> int:
    """Export the record of a run in the format of another tool.

    `csv` is complete; `fio-lat` is a latency log and `fio-iolog` an I/O log of fio;
    `blkparse` is text as blkparse prints it; `blktrace` is a binary trace for blkparse
    and btt.

    Example: `freezingtime export RUN --format blktrace -o trace`, then
    `blkparse -i trace -d trace.bin && btt -i trace.bin`
    """
    from freezingtime.trace.writers.export import export

    written = export(run, format_name, out, disk=disk, notify=say)
    say(f"wrote {written}")
    return 0


app = command_app(export_command)
