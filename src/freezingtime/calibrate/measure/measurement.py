# SPDX-License-Identifier: GPL-2.0-or-later
"""Result of ``measure``: a directory of fio's logs with a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freezingtime._version import __version__
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers.latencies import Latencies, join
from freezingtime.trace.readers.read_latencies import read_latencies

MANIFEST_NAME = "measurement.json"
#: Changes whenever a reader of the version before would misread the manifest.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class MeasuredJob:
    """One run of fio: its round, from 0, its load, and the file with its latencies."""

    round: int
    operation: str
    """``read``, ``write`` or ``flush``."""
    size_bytes: int
    depth: int
    file: str


@dataclass(frozen=True, slots=True)
class MeasurementManifest:
    """Manifest of a measurement: target, time, fio's jobs."""

    path: str
    what: str
    """The device, as far as the host knows it."""
    size_bytes: int
    measured: str
    """The date."""
    host: str
    fio: str
    rounds: int
    runtime_s: float
    jobs: Sequence[MeasuredJob]

    def write(self, directory: Path) -> None:
        """Write it: the directory is complete then."""
        document = {"format": _FORMAT, "freezingtime": __version__, **asdict(self)}
        (directory / MANIFEST_NAME).write_text(json.dumps(document, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class MeasuredDevice:
    """A directory of ``measure``, read."""

    manifest: MeasurementManifest
    latencies: Latencies

    @property
    def what(self) -> str:
        """Describe what was measured."""
        return f"{self.manifest.what} ({self.manifest.path})"

    @property
    def measured(self) -> str:
        """The date."""
        return self.manifest.measured


def read_measurement(directory: Path, progress: Callable[[str, int, int], None]) -> MeasuredDevice:
    """Read a directory that ``measure`` has left.

    Raises:
        InputError: it is damaged, or one of another version.
    """
    manifest = _read_manifest(directory / MANIFEST_NAME)
    parts = []
    jobs = sorted(manifest.jobs, key=lambda job: job.round)
    for number, job in enumerate(jobs):
        progress(f"reading {directory}", number, len(jobs))
        latencies = read_latencies(directory / job.file, depth=job.depth)
        if job.operation == "flush":
            latencies = _only(latencies, Operation.FLUSH)
        parts.append(latencies)
    return MeasuredDevice(manifest, join(parts))


def _read_manifest(path: Path) -> MeasurementManifest:
    damaged = f"{path}: is damaged; measure again"
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        version = document.pop("format")
        document.pop("freezingtime")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{damaged} ({error!r})") from error
    if version != _FORMAT:
        raise InputError(f"{path}: has format {version}; this freezingtime reads format {_FORMAT}")
    try:
        jobs = [MeasuredJob(**job) for job in document.pop("jobs")]
        manifest = MeasurementManifest(**document, jobs=jobs)
    except (KeyError, TypeError) as error:
        raise InputError(f"{damaged} ({error})") from error
    if not jobs or not all(isinstance(job.file, str) and "/" not in job.file for job in jobs):
        raise InputError(damaged)
    return manifest


def _only(latencies: Latencies, operation: Operation) -> Latencies:
    rows = np.flatnonzero(latencies.operation == operation)
    return Latencies(
        latencies.operation[rows],
        latencies.length_bytes[rows],
        latencies.depth[rows],
        latencies.latency_ns[rows],
        latencies.is_ordered[rows],
        latencies.notes,
    )
