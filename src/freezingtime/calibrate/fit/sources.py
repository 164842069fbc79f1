# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources of a fit: logs, directories of them, and directories of ``measure``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from freezingtime.calibrate.log_options import LogOptions
from freezingtime.calibrate.measure.measurement import MANIFEST_NAME, read_measurement
from freezingtime.errors import InputError
from freezingtime.trace.readers import Hints, OnReading, Reading, parse_hints
from freezingtime.trace.readers.fio.jobs import job_runs, read_fio_jobs
from freezingtime.trace.readers.latencies import Latencies, join
from freezingtime.trace.readers.read_latencies import read_latencies, recognizes
from freezingtime.trace.readers.reading import ignore_reading, span_text
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.units import counted

#: Which files of a directory are taken: the first of these patterns that any of them matches.
_PATTERNS = ("*_lat.*.log*", "*_clat.*.log*", "*.json")


@dataclass(frozen=True, slots=True)
class Source:
    """Source of latencies."""

    path: Path
    measured: str
    """When, such as ``2026-11-26``; of a mere log, when the file was last written."""
    what: str
    """What was measured, as far as is known."""
    request_count: int

    @property
    def text(self) -> str:
        """In one line."""
        what = f"{self.what}, " if self.what else ""
        return f"{what}{self.path}, of {self.measured}, {counted(self.request_count, 'request')}"


def is_log(path: Path) -> bool:
    """Return whether ``path`` holds latencies, and not what latencies could be measured of.

    Raises:
        InputError: it is a file that cannot be read.
    """
    return path.is_dir() or (path.is_file() and recognizes(path))


def read_sources(
    paths: Sequence[Path],
    options: LogOptions,
    *,
    notify: Callable[[str], None],
    on_reading: OnReading = ignore_reading,
    progress: Callable[[str, int, int], None],
) -> tuple[Latencies, list[Source]]:
    """Read all logs; a directory is one of ``measure``, a run's, or one with logs of fio.

    ``on_reading`` is called with how each source was read.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    depth, disk, hints = options.depth, options.trace_disk, parse_hints(options)
    measured = {path: (path / MANIFEST_NAME).is_file() for path in paths}
    logs = {path: [] if measured[path] else _logs_of(path) for path in paths}
    read = _read_logs(
        [log for path in paths for log in logs[path]], depth, disk, hints, notify, progress
    )
    parts, sources = [], []
    for path in paths:
        if measured[path]:
            measurement = read_measurement(path, progress)
            latencies, what = measurement.latencies, measurement.what
            source = Source(path, measurement.measured, what, len(latencies))
        else:
            latencies = join([read[log] for log in logs[path]])
            source = Source(path, _written(path), "", len(latencies))
        on_reading(_reading(path, latencies, disk))
        parts.append(latencies)
        sources.append(source)
    return join(parts), sources


def _read_logs(
    logs: Sequence[Path],
    depth: int | None,
    disk: str | None,
    hints: Hints,
    notify: Callable[[str], None],
    progress: Callable[[str, int, int], None],
) -> dict[Path, Latencies]:
    """Each log's latencies; the logs of fio's jobs that ran at once are one load."""
    found: dict[Path, Latencies] = {}
    for run in job_runs(logs):
        progress(f"reading {run[0].name}", len(found), len(logs))
        if len(run) > 1:
            found |= zip(run, read_fio_jobs(run, depth, hints), strict=True)
        else:
            found[run[0]] = read_latencies(
                run[0], depth=depth, disk=disk, hints=hints, notify=notify
            )
    return found


def _reading(path: Path, latencies: Latencies, disk: str | None) -> Reading:
    """Describe for the user how a source was read."""
    depths = sorted({int(latencies.depth.min()), int(latencies.depth.max())})
    depth = f"depth {' to '.join(map(str, depths))}"
    mean = f"mean latency {span_text(float(latencies.latency_ns.mean()))}"
    return Reading(
        path,
        latencies.format_name or "measurement",
        len(latencies),
        latencies.span_ns,
        disk or "",
        facts=(depth, mean, *latencies.facts),
        notes=latencies.notes,
    )


def _logs_of(path: Path) -> list[Path]:
    is_run = (path / RECORD_NAME).is_file() or stream_path(path / RECORD_NAME).is_file()
    if not path.is_dir() or is_run:
        return [path]
    for pattern in _PATTERNS:
        if found := sorted(file for file in path.glob(pattern) if file.is_file()):
            return found
    raise InputError(
        f"{path}: contains no logs; name a directory made by 'freezingtime measure' "
        f"or a run, or one with fio's {' or '.join(_PATTERNS)}"
    )


def _written(path: Path) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
