# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that say what machine it is: of whatever command starts one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from freezingtime.cli.options import DISK_HELP
from freezingtime.runs.options import MEMORY

DisksOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--disk", metavar="SPEC", help=DISK_HELP, show_default=False),
]

GuestOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--guest",
        metavar="NAME|FILE",
        help="The guest: `mini`, an image that `freezingtime image list` shows, or the disk (raw "
        "or qcow2) of a system of your own, which stays as it is. By default `mini`, or that of "
        "`--from`.",
        show_default=False,
    ),
]

KernelOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kernel",
        metavar="FILE",
        help="For a system of your own: its kernel. Without it, the one on its disk.",
        show_default=False,
    ),
]

InitrdOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--initrd", metavar="FILE", help="And that kernel's initramfs.", show_default=False
    ),
]

AppendOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--append",
        metavar="ARGUMENTS",
        help="For a system of your own: what its kernel is to be told, such as `root=/dev/sdb1`.",
        show_default=False,
    ),
]

AllowBackingOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-backing",
        metavar="DIR",
        help="Backing and data files of the disk may be in DIR too, not only in the disk's own "
        "directory. Repeatable.",
        show_default=False,
    ),
]

RootDeviceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--root-device",
        metavar="DEVICE",
        help="The device of the guest's root disk, if the guest has one: `DEVICE[,delay=TIME]`. "
        "Unless named, it takes no time.",
        show_default=False,
    ),
]

CpusOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--cpus",
        metavar="NUMBER",
        help="How many CPUs the guest has; each executes at the rate. By default 1, or as many as "
        "`--from` has.",
        show_default=False,
    ),
]

MemoryOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help=f"The guest's memory. By default {MEMORY}, or that of `--from`.",
        show_default=False,
    ),
]

QemuOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--qemu",
        metavar="PROGRAM|DIR",
        help="The QEMU to run, or a directory into which its packages were unpacked, with all that "
        "it needs. Unless named, what `FREEZINGTIME_QEMU` names, or the one that is installed.",
        show_default=False,
    ),
]

FromOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="NAME",
        help="Go on from a snapshot that `--save` made: its guest, memory and CPUs, with as many "
        "disks, on any devices.",
        show_default=False,
    ),
]

SaveOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--save",
        metavar="NAME",
        help="When the job has ended with 0, keep machine and disks as a snapshot of this name.",
        show_default=False,
    ),
]
