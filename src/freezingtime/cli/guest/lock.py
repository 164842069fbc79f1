# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime lock`: the packages of a guest and its QEMU, written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.options import command_app
from freezingtime.host.foreign_text import show
from freezingtime.option import Option
from freezingtime.runs.options import RunOptions


@takes_options()
def lock_command(
    out: Annotated[Path, Option("FILE", "The lock file to write.", short="-o")] = Path(
        "freezingtime.lock"
    ),
    *,
    options: Annotated[RunOptions, Only(["qemu"])],
    guest: Annotated[
        str | None,
        Option("NAME", "The guest: `mini`, or a Debian image of `image list`. By default `mini`."),
    ] = None,
) -> int:
    """Write down every package that runs are made with: of the guest, and of QEMU.

    `--locked FILE` of `run`, `shell`, `validate` and `image build` then builds exactly that, or
    says which packages can no longer be had. QEMU is in it if it is one that is fetched.

    Example: `freezingtime lock`, then `freezingtime run --locked freezingtime.lock -- COMMAND`
    """
    from freezingtime.runs.locked import write_lock
    from freezingtime.runs.progress.step_lines import StepLines

    with StepLines() as steps:
        lock = write_lock(out, guest, options.qemu, steps)
    counted = f"{len(lock.guest.packages)} packages of the guest {lock.guest.name}"
    if lock.qemu is not None:
        counted += f", {len(lock.qemu.packages)} of QEMU"
    show(f"{out}: {counted}")
    return 0


app = command_app(lock_command)
