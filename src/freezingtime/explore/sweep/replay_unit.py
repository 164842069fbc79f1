# SPDX-License-Identifier: GPL-2.0-or-later
"""A replay of a trace or a workload on one device, as a unit of a sweep."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from freezingtime.disk.identity import disk_identity
from freezingtime.errors import InputError, RunError
from freezingtime.explore.sweep.unit import make_figures
from freezingtime.host.content.digest import content_digest
from freezingtime.host.json_document import write_document
from freezingtime.host.os_errors import os_errors_as
from freezingtime.results.metrics import disk_metrics
from freezingtime.results.replay_figures import FIGURES_NAME, ReplayFigures
from freezingtime.simulate.replay import (
    Replayed,
    TraceSource,
    check_device,
    open_new_record,
    read_source,
    replay,
    write_record,
)
from freezingtime.simulate.workload import Workload
from freezingtime.store.results.key import ResultKey
from freezingtime.store.results.result_store import StoredFigures
from freezingtime.trace.readers import Reading, Trace
from freezingtime.trace.record_digest import record_digest
from freezingtime.trace.record_paths import RECORD_NAME, find_record


@dataclass(frozen=True, slots=True)
class ReplayUnit:
    """One trace or workload on one device; see :class:`~.unit.SweepUnit`."""

    source: TraceSource | Workload
    device: str
    """As in ``replay --device``."""
    seed: int
    option: str = "--disk"
    """The option that names the device, for messages."""

    def key(self) -> ResultKey:
        """All that decides its figures.

        Raises:
            InputError: the device or the trace is not right.
        """
        source = self.source
        if isinstance(source, Workload):
            load: dict[str, Any] = {"workload": source.text}
        else:
            load = {
                "trace": _trace_digest(source),
                "format": source.format_name,
                "disk": source.disk,
                "queue_depth": source.queue_depth,
                "speed_up": str(source.speed_up),
                "hints": asdict(source.hints),
            }
        return ResultKey(
            {
                "kind": "replay",
                **load,
                "device": disk_identity(check_device(self.device, self.option)),
                "seed": self.seed,
            }
        )

    def devices(self) -> list[str]:
        """Return the one that it replays on."""
        return [self.device]

    def execute(self, run_path: Path) -> StoredFigures:
        """Replay, and leave the record in ``run_path``.

        Raises:
            InputError: device and requests do not go together.
            RunError: the device broke its contract, or the record cannot be written.
        """
        results, reading = self._replays()
        [replayed] = results
        return self.write(run_path, replayed, ReplayFigures.of(replayed, reading))

    def check(self) -> None:
        """Find out whether device and requests go together.

        Raises:
            InputError: they do not, or the trace cannot be read.
        """
        self._replays()

    def _replays(self) -> tuple[Iterator[Replayed], Reading | None]:
        """The replay, which runs when it is asked for, and how its trace was read."""
        trace, reading = _read(self.source)
        results = replay(
            self.source,
            [self.device],
            seed=self.seed,
            observer=_ignore,
            notify=_ignore,
            trace=trace,
            with_samples=True,
            option=self.option,
        )
        return results, reading

    def write(self, run_path: Path, replayed: Replayed, figures: ReplayFigures) -> StoredFigures:
        """Write what is kept of its replay into ``run_path``, where there is nothing yet.

        Raises:
            RunError: it cannot be written.
        """
        run_path.mkdir()
        record_path = self.record_path(run_path)
        with open_new_record(record_path, [self.device], self.source, seed=self.seed) as record:
            write_record(record, 0, replayed, _ignore)
        document_path = run_path / FIGURES_NAME
        with os_errors_as(RunError, document_path, "free space, or name another store"):
            write_document(document_path, figures)
            digest = hashlib.sha256(document_path.read_bytes()).hexdigest()
        return make_figures(
            disk_metrics(self.device, list(figures.by_operation)),
            {self.device: figures.statistics},
            {"requests": record_digest(record_path), "replay": digest},
        )

    def record_path(self, run_path: Path) -> Path:
        """Return the record's path."""
        return run_path / RECORD_NAME


def _read(source: TraceSource | Workload) -> tuple[Trace, Reading] | tuple[None, None]:
    """The trace of a source, which the points of a sweep mostly share; None for a workload."""
    if isinstance(source, Workload):
        return None, None
    same_file = replace(source, queue_depth=None, speed_up=Fraction(1))
    return _read_once(same_file, _trace_digest(source))


@lru_cache(maxsize=1)
def _read_once(source: TraceSource, _digest: str) -> tuple[Trace, Reading]:
    readings: list[Reading] = []
    trace = read_source(source, _ignore, _ignore, readings.append)
    return trace, readings[0]


def _trace_digest(source: TraceSource) -> str:
    try:
        return content_digest(find_record(source.path) if source.path.is_dir() else source.path)
    except OSError as error:
        raise InputError(
            f"{source.path}: {error.strerror or error}; name a readable file"
        ) from error


def _ignore(*_: object) -> None:
    pass
