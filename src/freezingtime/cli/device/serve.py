# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime serve`: a device for any NBD client, in host time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from freezingtime.cli.options import (
    AllowCodeOption,
    RecordOption,
    SeedOption,
    command_app,
)
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument, Option, Values
from freezingtime.runs.options import DISK_HELP
from freezingtime.units import counted


def serve_command(
    spec: Annotated[str, Argument("SPEC", DISK_HELP, Values.DEVICE)],
    socket: Annotated[Path, Option("PATH", "Unix socket to listen on.")],
    seed: SeedOption = 0,
    out: RecordOption = None,
    allow_code: AllowCodeOption = False,
) -> int:
    """Serve a disk to any NBD client, in real time, until Ctrl-C.

    Real time does not stand still: the device must be slower than the medium. Connect with
    `nbd+unix:///?socket=PATH`.

    Example: `freezingtime serve constant:2ms --socket /tmp/disk.sock`, then
    `nbdinfo 'nbd+unix:///?socket=/tmp/disk.sock'`
    """
    from freezingtime.disk.spec import parse_disk
    from freezingtime.serve import serve

    disk = parse_disk(spec)

    def ready() -> None:
        say(f"serving at nbd+unix:///?socket={quote(str(socket))}")

    def disconnected(reason: str | None) -> None:
        if reason is not None:
            say(f"lost a client: {reason}")

    totals = serve(disk, socket, seed=seed, out=out, on_ready=ready, on_disconnected=disconnected)
    say(f"served {counted(totals.request_count, 'request')}")
    return 0


app = command_app(serve_command)
