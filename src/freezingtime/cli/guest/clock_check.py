# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime clock-check`: the error of a device's latency on this host, under each clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from freezingtime.calibrate.clock_check_options import ClockCheckOptions
from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.guest.run import EXIT_INVALID
from freezingtime.cli.options import JsonOption, QuietOption, command_app
from freezingtime.cli.output.columns import aligned
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import say, show
from freezingtime.option import Option
from freezingtime.runs.options import RunOptions
from freezingtime.units import format_time_ns

if TYPE_CHECKING:
    from freezingtime.calibrate.clock_check import CheckedDevice, ClockCheck

_TEXT_COLUMNS = 3


@takes_options()
def clock_check_command(
    options: ClockCheckOptions,
    run: Annotated[RunOptions, Only(["max_leak", "memory", "qemu", "locked"])],
    out: Annotated[Path | None, Option("DIR", "Keep the runs in DIR.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Measure the error of a device's latency on this host, under each clock.

    A guest reads 4 KiB at a time from devices of 10 us to 10 ms, over memory and over a slow
    medium, and measures each read with its own clock. What it took beyond the device's
    time is the guest's own software, and what leaks; the last lines say by how much that
    differs between the media. "late" is how long after the device's time it was delivered.

    The exit status is 2 if the host's KVM will not do, for which the reason is given behind the
    other clock's figures; 3 if a run is not valid, such as for a request that was off by more
    than `--max-leak`.

    Example: `freezingtime clock-check`
    """
    from freezingtime.calibrate.clock_check import check_clocks, make_clock_check_plan
    from freezingtime.cli.device.replay_progress import ReplayProgress

    plan = make_clock_check_plan(options, run)
    with ReplayProgress(quiet=quiet) as progress:
        found = check_clocks(plan, out=out, observer=progress)
    if as_json:
        print_json(found.as_dict())
    else:
        for line in _lines(found):
            show(line)
    for reason in found.reasons_invalid:
        say(f"NOT VALID: {reason}")
    if found.reason_without_kvm is not None:
        raise InputError(found.reason_without_kvm)
    return EXIT_INVALID if found.reasons_invalid else 0


def _lines(found: ClockCheck) -> Iterator[str]:
    from freezingtime.calibrate.clock_check import PERCENTILES

    names = (*PERCENTILES, *(f"late {name}" for name in PERCENTILES))
    header = ("clock", "device", "medium", *names)
    yield from map("  ".join, aligned([header, *map(_row, found.devices)], _TEXT_COLUMNS))
    for clock, leak_ns in found.leaks():
        figures = ", ".join(f"{name} {format_time_ns(ns)}" for name, ns in leak_ns.items())
        yield f"{clock}: between the media, at most: {figures}"


def _row(found: CheckedDevice) -> tuple[str, ...]:
    from freezingtime.calibrate.clock_check import percentiles

    times_ns = (*percentiles(found.beyond_ns).values(), *percentiles(found.late_ns).values())
    return (found.clock, found.latency, found.medium, *map(format_time_ns, times_ns))


app = command_app(clock_check_command)
