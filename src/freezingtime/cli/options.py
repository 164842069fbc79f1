"""What several commands share: options, and how a function becomes a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import typer

SeedOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="NUMBER",
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

# No word is longer than a narrow terminal's column, where it would be cut short.
DISK_HELP = (
    "`DEVICE[,KEY=VALUE...]`. DEVICE: `constant:10us` or "
    "`constant:read=10us,write=20us`. "
    "KEY: `medium=memory` or `medium=file:PATH`, `size=SIZE`, `writable=yes`, `direct=yes`, "
    "`delay=TIME` or `delay=MIN..MAX`, `name=NAME`, "
    "`frontend=NAME` (`virtio-blk`, `virtio-scsi`, `sata`, `nvme`), "
    "`write-cache=on|off`. A file is never changed unless `writable=yes`."
)


def command_app(function: Callable[..., int], **context_settings: object) -> typer.Typer:
    """A Typer app of one command, for :mod:`freezingtime.cli.main` to take in."""
    app = typer.Typer(add_completion=False)
    app.command(context_settings=context_settings)(function)
    return app
