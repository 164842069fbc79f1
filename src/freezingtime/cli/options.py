"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

SeedOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        help="Seed of all randomness in the device models; also the job's `FREEZINGTIME_SEED`.",
    ),
]

MediumDeadlineOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--medium-deadline",
        metavar="TIME",
        help="Give up when the medium takes longer than this for one request.",
    ),
]

DISK_HELP = (
    "DEVICE[,medium=memory|file:PATH][,size=SIZE][,writable=yes][,direct=yes][,delay=TIME]"
    "[,name=NAME]. DEVICE: `constant:10us`, or `constant:read=10us,write=20us,flush=0`. "
    "A file is never changed unless writable=yes."
)
