# SPDX-License-Identifier: GPL-2.0-or-later
"""Parser of a measurement's options, from text: the only way to make a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from freezingtime.calibrate.measure.measure import (
    DEPTHS,
    ROUNDS,
    RUNTIME_S,
    SIZES_BYTES,
    MeasurePlan,
    check,
)
from freezingtime.errors import InputError
from freezingtime.units import format_size_bytes, parse_option, parse_size_bytes, parse_time_ns

SIZES = ",".join(format_size_bytes(size_bytes) for size_bytes in SIZES_BYTES)
DEPTHS_TEXT = ",".join(map(str, DEPTHS))
RUNTIME = f"{RUNTIME_S:g}s"

_ROUNDS_MAX = 99
_RUNTIME_MAX_S = 3600.0


def make_measure_plan(
    path: Path,
    out: Path,
    *,
    sizes: str = SIZES,
    depths: str = DEPTHS_TEXT,
    rounds: int = ROUNDS,
    runtime: str = RUNTIME,
    write: bool = False,
    overwrite: bool = False,
    create: str | None = None,
    seed: int = 0,
) -> MeasurePlan:
    """The plan of a measurement.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    runtime_s = parse_option("--runtime", runtime, parse_time_ns) / 1e9
    if not 0.01 <= runtime_s <= _RUNTIME_MAX_S:
        raise InputError(f"--runtime {runtime}: must be from 10ms to {_RUNTIME_MAX_S:.0f}s")
    if not 1 <= rounds <= _ROUNDS_MAX:
        raise InputError(f"--rounds {rounds}: must be from 1 to {_ROUNDS_MAX}")
    plan = MeasurePlan(
        path,
        out,
        sizes_bytes=_list("--sizes", sizes, parse_size_bytes),
        depths=_list("--depths", depths, _whole),
        rounds=rounds,
        runtime_s=runtime_s,
        write=write,
        overwrite=overwrite,
        create_bytes=None if create is None else parse_option("--create", create, parse_size_bytes),
        seed=seed,
    )
    check(plan)
    return plan


def _list(option: str, text: str, parse: Callable[[str], int]) -> list[int]:
    """Different numbers, in order."""
    return sorted({parse_option(option, part, parse) for part in text.split(",")})


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise InputError(
            f"{text!r}: must be whole numbers with commas between them, such as 1,4,16"
        )
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
        lines.append(f"a new file of {size} is written there, and removed afterwards")
    elif plan.write:
        lines.append(f"EVERYTHING IN {plan.path} WILL BE OVERWRITTEN")
    return lines
