# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime snapshot`: the machines that were saved with `run --save`."""

from __future__ import annotations

from typing import Annotated

from freezingtime.cli.options import group_app
from freezingtime.host.foreign_text import show
from freezingtime.option import Argument, Values
from freezingtime.units import format_size_bytes, format_time_ns


def list_command() -> int:
    """List the snapshots that `run --from` can start from."""
    from freezingtime.cli.output.columns import print_columns
    from freezingtime.cli.output.skipped import print_skipped
    from freezingtime.store.saved_machine import list_saved

    rows = [("name", "guest", "memory", "cpus", "cpu", "guest time", "size", "disks")]
    usable, unusable = list_saved()
    for saved in usable:
        what = saved.description
        machine = what.machine
        disks = [f"{disk.name}={format_size_bytes(disk.size_bytes)}" for disk in what.disks]
        rows.append(
            (
                *(saved.name, what.guest, format_size_bytes(machine.memory_bytes)),
                *(str(machine.cpu_count), machine.cpu_model, format_time_ns(what.saved_ns)),
                f"{saved.stored_bytes / (1 << 20):.1f} MiB",
                " ".join(disks),
            )
        )
    print_columns(rows)
    print_skipped(unusable)
    return 0


def remove_command(
    name: Annotated[str, Argument("NAME", "Which snapshot.", Values.SNAPSHOT)],
) -> int:
    """Remove a snapshot."""
    from freezingtime.store.saved_machine import remove_saved

    remove_saved(name)
    show(f"removed {name}")
    return 0


app = group_app(
    "List and remove snapshots that `run --save` made.",
    {"list": list_command, "remove": remove_command},
)
