"""`freezingtime serve`: a device for any NBD client, in host time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from freezingtime.cli.options import DISK_HELP, MediumDeadlineOption, SeedOption
from freezingtime.experiment.serve import serve
from freezingtime.spec import parse_disk
from freezingtime.units import parse_time_ns


def serve_command(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help=DISK_HELP, show_default=False)],
    socket: Annotated[
        Path,
        typer.Option(metavar="PATH", help="The Unix socket to listen at.", show_default=False),
    ],
    seed: SeedOption = 0,
    medium_deadline: MediumDeadlineOption = "60s",
) -> int:
    """Serve a disk to any NBD client, in real time, until Ctrl-C.

    Real time does not stand still: the device must be slower than the medium. Connect with
    `nbd+unix:///?socket=PATH`.

    Example: `freezingtime serve constant:2ms --socket /tmp/disk.sock`, then
    `nbdinfo 'nbd+unix:///?socket=/tmp/disk.sock'`
    """
    disk = parse_disk(spec)

    def ready() -> None:
        print(f"freezingtime: serving at nbd+unix:///?socket={socket}", file=sys.stderr)

    totals = serve(
        disk,
        socket,
        seed=seed,
        medium_deadline_s=parse_time_ns(medium_deadline) / 1e9,
        on_ready=ready,
    )
    print(f"freezingtime: served {totals.request_count} requests", file=sys.stderr)
    return 0
