"""The options that say what machine it is: of whatever command starts one."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from freezingtime.cli.options import DISK_HELP

DisksOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--disk", metavar="SPEC", help=DISK_HELP, show_default=False),
]

GuestOption: TypeAlias = Annotated[
    str, typer.Option("--guest", metavar="NAME", help="The guest: an image of `image list`.")
]

RootDeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--root-device",
        metavar="DEVICE",
        help="The device of the guest's root disk, if it has one: `DEVICE[,delay=TIME]`. "
        "Without it, it takes no time.",
        show_default=False,
    ),
]

CpusOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--cpus", metavar="NUMBER", help="How many CPUs the guest has; they execute in turn."
    ),
]

MemoryOption: TypeAlias = Annotated[
    str, typer.Option("--memory", metavar="SIZE", help="The guest's memory.")
]

FromOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="NAME",
        help="Go on from this snapshot, with as many disks, whatever devices they are.",
        show_default=False,
    ),
]

SaveOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--save",
        metavar="NAME",
        help="When the job has ended with 0, save machine and disks as this snapshot.",
        show_default=False,
    ),
]
