# SPDX-License-Identifier: GPL-2.0-or-later
"""Phases of a job: the same again, but for harmless things that nobody means to gate.

Of a run: the guest time at which the job starts, and with it where the kernel is in its write-back
(a page-cache phase of 5 s) and timers, and what its random numbers are; the size of the job's
environment, and with it where the stack of its programs lies; the seed of the devices. Of a
replay: the seeds of the device and of the workload. Phase 0 is the job as it is given.
"""

from __future__ import annotations

import random

from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.request import ReplayRequest, SweepRequest
from freezingtime.explore.sweep.run_request import RunRequest
from freezingtime.units import parse_time_ns

#: A variable that only takes room: the number of the phase, and padding.
PADDING_NAME = "GATE_PHASE"

#: How often Linux looks for dirty pages to write back (``dirty_writeback_centisecs``).
_WRITEBACK_PERIOD_NS = 5_000_000_000
#: Stacks are aligned to 16 bytes within a page.
_PAGE_BYTES = 4096


def phase_points(request: SweepRequest, count: int) -> list[Point]:
    """Return what is changed of a request in each of so many phases."""
    return [_point(request, number) if number else {} for number in range(count)]


def more_phases(what: str, count: int, wanted: int) -> str:
    """Return the line for a user who compares fewer phases than a baseline has."""
    compared = "phase 0 is compared" if wanted == 1 else f"the first {wanted} are compared"
    return f"{what}: has {count} phases, of which {compared}; --phases {count} compares all"


def _point(request: SweepRequest, number: int) -> Point:
    drawn = random.Random(f"phase {number}")  # the same on every machine
    if isinstance(request, ReplayRequest):
        point = {"seed": str(request.seed + number)}
        if (seed := _workload_seed(request.workload)) is not None:
            point["workload.seed"] = str(seed + number)
        return point
    if not isinstance(request, RunRequest):
        raise TypeError(type(request).__name__)
    given_ns = parse_time_ns(request.options.start_delay)
    delay_ns = given_ns + drawn.randrange(_WRITEBACK_PERIOD_NS)
    padding = f"{number}." + "." * drawn.randrange(_PAGE_BYTES)
    return {
        "seed": str(request.options.seed + number),
        "start-delay": f"{delay_ns}ns",
        f"env.{PADDING_NAME}": padding,
    }


def _workload_seed(line: str | None) -> int | None:
    """The seed of a workload; None: it has that of the replay."""
    fields = dict(field.partition("=")[::2] for field in (line or "").split(","))
    text = fields.get("seed", "")
    return int(text) if text.isdecimal() else None
