# SPDX-License-Identifier: GPL-2.0-or-later
"""A unit of work: what one point of a sweep runs, and what its figures are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from freezingtime.results.metrics import MetricKey
from freezingtime.store.results.key import ResultKey, canonical
from freezingtime.store.results.result_store import StoredFigures

#: How the figures of a device's own statistics begin.
_STATISTICS = "statistics."


class SweepUnit(Protocol):
    """One deterministic run; it goes to another process as it is."""

    def key(self) -> ResultKey:
        """All that decides its figures.

        Raises:
            InputError: it cannot be run.
        """

    def devices(self) -> list[str]:
        """Return the texts that name its devices."""

    def check(self) -> None:
        """Find out what can be known before it runs, beyond what :meth:`key` says.

        Raises:
            InputError: it cannot be run.
        """

    def execute(self, run_path: Path) -> StoredFigures:
        """Run it, and leave its run directory at ``run_path``, where there is none yet.

        Raises:
            InputError: it cannot be run.
            RunError: it failed.
        """

    def record_path(self, run_path: Path) -> Path:
        """Return what opens the result of an execution: a run directory, or a record."""


def make_figures(
    metrics: Mapping[MetricKey, int | float],
    statistics: Mapping[str, Mapping[str, float]],
    identity: Mapping[str, str],
    failure: str | None = None,
) -> StoredFigures:
    """Name the figures of a unit; those of its only disk without the disk's name."""
    disks = {key.disk for key in metrics if key.disk} | set(statistics)
    figures: dict[str, int | float] = {}
    units: dict[str, str] = {}
    for key, value in metrics.items():
        name = str(key)
        if key.disk and len(disks) == 1:
            name = name.removeprefix(f"{key.disk}:")
        figures[name], units[name] = value, key.unit_text
    for disk, values in statistics.items():
        prefix = _STATISTICS if len(disks) == 1 else f"{disk}:{_STATISTICS}"
        figures |= {f"{prefix}{name}": value for name, value in values.items()}
    of_figures = hashlib.sha256(canonical(figures).encode()).hexdigest()
    return StoredFigures(
        figures=figures,
        units=units,
        failure=failure,
        identity={**identity, "figures": of_figures},
    )
