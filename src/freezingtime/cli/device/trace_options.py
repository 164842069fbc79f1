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
        help=f"Of times without one in CSV and in MQSim's or DiskSim's ASCII: "
        f"{', '.join(TIME_UNITS)}. Found by the content if left out.",
        show_default=False,
    ),
]

ReadCodeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--read-code",
        metavar="CODE",
        help="Of two codes in a CSV's column of operations, the one that reads, such as `1`.",
        show_default=False,
    ),
]
