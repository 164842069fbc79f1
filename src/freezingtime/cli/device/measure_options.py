# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that say what to measure: of whatever command measures something."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

SizesOption: TypeAlias = Annotated[
    str, typer.Option("--sizes", metavar="SIZE,...", help="Request sizes to measure.")
]

DepthsOption: TypeAlias = Annotated[
    str, typer.Option("--depths", metavar="QD,...", help="Queue depths to measure.")
]

RoundsOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--rounds", metavar="NUMBER", help="Number of rounds, each over all sizes and depths."
    ),
]

RuntimeOption: TypeAlias = Annotated[
    str,
    typer.Option("--runtime", metavar="TIME", help="Duration of each size and depth in a round."),
]

WriteOption: TypeAlias = Annotated[
    bool, typer.Option("--write", help="Also measure writes and flushes.")
]

OverwriteOption: TypeAlias = Annotated[
    bool, typer.Option("--overwrite", help="With --write: overwrite the data in PATH.")
]

CreateOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--create",
        metavar="SIZE",
        help="Create PATH, a file of this size; remove it afterwards.",
        show_default=False,
    ),
]

YesOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask before measuring.")
]
