# SPDX-License-Identifier: GPL-2.0-or-later
"""Result of ``measure``: a directory of fio's logs with a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from freezingtime._version import __version__
from freezingtime.errors import InputError
from freezingtime.host.json_document import OtherFormatError, parse_document, write_document
from freezingtime.request import Operation
from freezingtime.trace.readers.latencies import Latencies, join
from freezingtime.trace.readers.read_latencies import read_latencies

MANIFEST_NAME = "measurement.json"
#: Changes whenever a reader of the version before would misread the manifest.
_FORMAT = 1


class MeasuredJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of fio: its round, from 0, its load, and the file with its latencies."""

    round: int
    operation: str
    """``read``, ``write`` or ``flush``."""
    size_bytes: int
    depth: int
    file: str


class MeasurementManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Manifest of a measurement: target, time, fio's jobs."""

    format: int = _FORMAT
    freezingtime: str = __version__
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
        write_document(directory / MANIFEST_NAME, self)


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
        manifest = parse_document(path.read_bytes(), MeasurementManifest, _FORMAT)
    except OtherFormatError as error:
        raise InputError(
            f"{path}: has format {error.found}; this freezingtime reads format {_FORMAT}"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{damaged} ({error})") from error
    if not manifest.jobs or any("/" in job.file for job in manifest.jobs):
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
