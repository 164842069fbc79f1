# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of commands that read traces. Apart, as what reads traces takes long to import."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from freezingtime.trace.readers.hints import TIME_UNITS

TimeUnitOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--time-unit",
        metavar="UNIT",
        help=f"Unit of times that have none, in CSV and MQSim's or DiskSim's ASCII: "
        f"{', '.join(TIME_UNITS)}. Default: detected.",
        show_default=False,
    ),
]

ReadCodeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--read-code",
        metavar="CODE",
        help="Code of reads in a CSV's operation column that has two codes, such as `1`.",
        show_default=False,
    ),
]
