# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a measurement: the one list of them, and how a plan is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from freezingtime.errors import InputError
from freezingtime.option import Option
from freezingtime.units import (
    Limits,
    format_size_bytes,
    parse_option,
    parse_size_bytes,
    parse_time_ns,
)

if TYPE_CHECKING:
    from freezingtime.calibrate.measure.measure import MeasurePlan

_ROUNDS_LIMITS = Limits(1, 99, "from 1 to 99")
_RUNTIME_LIMITS = Limits(10 * 10**6, 3600 * 10**9, "from 10ms to 3600s")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """Options of a measurement, as a user writes them; Python callers may give lists."""

    sizes: Annotated[str | Sequence[int], Option("SIZE,...", "Request sizes to measure.")] = (
        "4KiB,64KiB"
    )
    depths: Annotated[str | Sequence[int], Option("QD,...", "Queue depths to measure.")] = "1,4,16"
    rounds: Annotated[
        int, Option("NUMBER", "Number of rounds, each over all sizes and depths.")
    ] = 8
    runtime: Annotated[str, Option("TIME", "Duration of each size and depth in a round.")] = "1s"
    write: Annotated[bool, Option("", "Also measure writes and flushes.")] = False
    overwrite: Annotated[bool, Option("", "With --write: overwrite the data in PATH.")] = False
    create: Annotated[
        str | None, Option("SIZE", "Create PATH, a file of this size; remove it afterwards.")
    ] = None


def make_measure_plan(
    path: Path, out: Path, options: MeasureOptions, *, seed: int = 0
) -> MeasurePlan:
    """Make the plan of a measurement.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    from freezingtime.calibrate.measure.measure import MeasurePlan, check

    runtime, rounds, create = options.runtime, options.rounds, options.create
    runtime_ns = parse_option("--runtime", runtime, parse_time_ns, _RUNTIME_LIMITS)
    plan = MeasurePlan(
        path,
        out,
        sizes_bytes=_list("--sizes", options.sizes, parse_size_bytes),
        depths=_list("--depths", options.depths, _whole),
        rounds=_ROUNDS_LIMITS.check("--rounds", rounds, rounds),
        runtime_s=runtime_ns / 1e9,
        write=options.write,
        overwrite=options.overwrite,
        create_bytes=None if create is None else parse_option("--create", create, parse_size_bytes),
        seed=seed,
    )
    check(plan)
    return plan


def _list(option: str, given: str | Sequence[int], parse: Callable[[str], int]) -> list[int]:
    """Different numbers, in order."""
    parts = given.split(",") if isinstance(given, str) else map(str, given)
    return sorted({parse_option(option, part, parse) for part in parts})


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise InputError(f"{text!r}: must be whole numbers separated by commas, such as 1,4,16")
    return int(text)


def describe_plan(plan: MeasurePlan) -> list[str]:
    """Describe what will be done, for the user to confirm, a line each."""
    sizes = ", ".join(format_size_bytes(size_bytes) for size_bytes in plan.sizes_bytes)
    operations = "reads, writes and flushes" if plan.write else "reads only"
    lines = [
        f"{plan.path}: {operations} of {sizes} at depths {', '.join(map(str, plan.depths))}, "
        f"{plan.rounds} rounds, about {plan.estimate_s:.0f} s"
    ]
    if plan.create_bytes is not None:
        size = format_size_bytes(plan.create_bytes)
        lines.append(f"a new file of {size} is created there, and removed afterwards")
    elif plan.write:
        lines.append(f"EVERYTHING IN {plan.path} WILL BE OVERWRITTEN")
    return lines
