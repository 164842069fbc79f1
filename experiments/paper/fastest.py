# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment A: the fastest possible I/O.

The emulated device takes no time. What a 4 KiB request takes then is the guest's own
software, and whatever the emulator adds: nothing, if it is the same over memory and over a
medium that takes 2.5 to 10 ms. ``python -m experiments.paper.fastest``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from experiments.paper import published
from experiments.paper.figures import draw_cdf, panels
from experiments.paper.guest import OPERATIONS, Measured, measure
from experiments.paper.outcome import Outcome, Settings, Table, main, show

DEVICE = "constant:0"
MEDIA = {"memory": "", "2.5 to 10 ms": f",delay={published.MEDIUM_DELAY}"}
FRONTENDS = ("virtio-blk", "nvme")

_COUNT = 100
_HEAD = ("frontend", "CPUs", "operation", "medium", "D2C max ns", "seen mean ns", "seen p99 ns")


def experiment(settings: Settings) -> Sequence[Outcome]:
    """Both frontends at 1 CPU; virtio-blk at 4 as well."""
    outcome = Outcome("A. The fastest possible I/O: a device that takes no time")
    count = _COUNT * settings.scale
    found = {
        (frontend, cpus): {
            name: measure(DEVICE, options, count=count, cpus=cpus, frontend=frontend)
            for name, options in MEDIA.items()
        }
        for frontend, cpus in [*((name, 1) for name in FRONTENDS), (FRONTENDS[0], 4)]
    }
    rows = [_HEAD, *(row for key, media in found.items() for row in _rows(*key, media))]
    outcome.tables.append(Table(f"{count} synchronous 4 KiB requests each", rows))
    low_us, high_us = published.RESIDUAL_US
    outcome.notes.append(
        "D2C is from the doorbell to the delivered interrupt, from the record; seen is what fio "
        f"in the guest measured: the guest's own software. The paper: {low_us} to {high_us} us."
    )
    for (frontend, cpus), media in found.items():
        _require_same(outcome, frontend, cpus, *media.values())
    with panels(outcome, settings.directory / "fastest", 1) as (axes,):
        for number, operation in enumerate(OPERATIONS):
            for name, measured in found[FRONTENDS[0], 1].items():
                seen_us = measured.application[operation] / 1000
                dashed = name != "memory"
                draw_cdf(axes, seen_us, f"{operation}, over {name}", number, dashed=dashed)
        axes.axvspan(low_us, high_us, color="#d9d9d9", label="the paper's residual")
        axes.set_xlim(left=0)
        axes.set_xlabel("latency seen in the guest, us")
        axes.legend(loc="center")
    return [show(outcome)]


def _rows(frontend: str, cpus: int, media: dict[str, Measured]) -> list[list[str]]:
    return [
        [
            *(frontend, str(cpus), operation, name),
            f"{measured.device[operation].max()}",
            f"{measured.application[operation].mean():.1f}",
            f"{np.percentile(measured.application[operation], 99):.0f}",
        ]
        for operation in OPERATIONS
        for name, measured in media.items()
    ]


def _require_same(
    outcome: Outcome, frontend: str, cpus: int, fast: Measured, slow: Measured
) -> None:
    """Every request to the nanosecond, at the device and in the application."""
    what = f"{frontend}, {cpus} CPU{'s' if cpus > 1 else ''}"
    for operation in OPERATIONS:
        fast_ns, slow_ns = fast.device[operation], slow.device[operation]
        worst_ns = int(max(fast_ns.max(), slow_ns.max()))
        outcome.require(f"{what}: D2C of each {operation} is 0 ns", f"{worst_ns} ns", not worst_ns)
        fast_ns, slow_ns = fast.application[operation], slow.application[operation]
        apart_ns = int(np.abs(fast_ns - slow_ns).max())
        outcome.require(
            f"{what}: delay-0 difference between the media, seen, largest of all {operation}s",
            f"{apart_ns} ns",
            apart_ns == 0,
        )


if __name__ == "__main__":
    main("fastest", experiment)
