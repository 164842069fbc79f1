# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share, and the wrapper that turns a function into a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from freezingtime.device.own_model import allow_code

SeedOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="NUMBER",
        min=0,
        help="Seed of the device models' randomness; runs with equal seeds are equal.",
    ),
]

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text.")
]

QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="Suppress progress on stderr.")
]

RecordOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write a record, in the format of `requests.parquet` of `run --out`.",
        show_default=False,
    ),
]


def _allow_code(allowed: bool) -> None:
    if allowed:
        allow_code()


#: Takes effect when it is parsed, so that the command itself need not look at it.
AllowCodeOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        metavar="",
        is_eager=True,
        callback=_allow_code,
        help="Run the Python code that device files name as their members. A `FILE.py:CLASS` that "
        "you name yourself is always run.",
    ),
]

#: How help texts are written.
MARKUP: Literal["markdown"] = "markdown"

# No word is longer than a narrow terminal's column, where it would be cut short.
DISK_HELP = (
    "`DEVICE[,KEY=VALUE...]`. DEVICE: a name that `freezingtime devices` lists, a file "
    "`NAME.toml`, your own `FILE.py:CLASS`, `constant:10us` or `constant:read=10us,write=20us`. "
    "KEY: `medium=memory` or `medium=file:PATH`, `size=SIZE`, `writable=yes`, `direct=yes`, "
    "`format=raw`, `delay=TIME` or `delay=MIN..MAX` (slows the medium, not the device), "
    "`name=NAME`, "
    "`frontend=NAME` (`virtio-blk`, `virtio-scsi`, `sata`, `nvme`), "
    "`write-cache=on|off`, `queue-depth=NUMBER`, `queues=NUMBER`, "
    "`block-size=SIZE` or `block-size=512/4096`, `rotational=yes|no`, "
    "`mount=DIRECTORY` (formatted and mounted before the job), `fs=ext4|xfs|btrfs`. "
    "A file is never changed unless `writable=yes`."
)

DisksOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--disk", metavar="SPEC", help=DISK_HELP, show_default=False),
]


def command_app(function: Callable[..., int], **context_settings: object) -> typer.Typer:
    """A Typer app of one command, for :mod:`freezingtime.cli.main` to take in."""
    app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    app.command(context_settings=context_settings)(function)
    return app
