# SPDX-License-Identifier: GPL-2.0-or-later
"""A replay of a trace or a workload on one device, as a unit of a sweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from freezingtime.disk.identity import disk_identity
from freezingtime.errors import InputError
from freezingtime.explore.sweep.unit import make_figures
from freezingtime.host.content_digest import content_digest
from freezingtime.results.latency_summary import summarize_each
from freezingtime.results.metrics import disk_metrics
from freezingtime.simulate.replay import (
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
from freezingtime.trace.readers import Trace
from freezingtime.trace.readers.reading import ignore_reading
from freezingtime.trace.record_digest import record_digest
from freezingtime.trace.record_paths import RECORD_NAME, find_record

_OPTION = "--disk"


@dataclass(frozen=True, slots=True)
class ReplayUnit:
    """One trace or workload on one device; see :class:`~.unit.SweepUnit`."""

    source: TraceSource | Workload
    device: str
    """As in ``replay --device``."""
    seed: int

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
                "device": disk_identity(check_device(self.device, _OPTION)),
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
        run_path.mkdir()
        record_path = self.record_path(run_path)
        [replayed] = replay(
            self.source,
            [self.device],
            seed=self.seed,
            observer=_ignore,
            notify=_ignore,
            trace=_read(self.source),
            option=_OPTION,
        )
        with open_new_record(record_path, [self.device], self.source, seed=self.seed) as record:
            write_record(record, 0, replayed, _ignore)
        summaries = summarize_each(replayed.simulation)
        return make_figures(
            disk_metrics(self.device, summaries),
            {self.device: replayed.statistics},
            {"requests": record_digest(record_path)},
        )

    def record_path(self, run_path: Path) -> Path:
        """Return the record's path."""
        return run_path / RECORD_NAME


def _read(source: TraceSource | Workload) -> Trace | None:
    """The trace of a source, which the points of a sweep mostly share; None for a workload."""
    if isinstance(source, Workload):
        return None
    same_file = replace(source, queue_depth=None, speed_up=Fraction(1))
    return _read_once(same_file, _trace_digest(source))


@lru_cache(maxsize=1)
def _read_once(source: TraceSource, _digest: str) -> Trace:
    return read_source(source, _ignore, _ignore, ignore_reading)


def _trace_digest(source: TraceSource) -> str:
    try:
        return content_digest(find_record(source.path) if source.path.is_dir() else source.path)
    except OSError as error:
        raise InputError(
            f"--trace {source.path}: {error.strerror or error}; name a readable file"
        ) from error


def _ignore(*_: object) -> None:
    pass
