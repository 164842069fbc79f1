# SPDX-License-Identifier: GPL-2.0-or-later
"""The latency logs of fio's jobs: several that ran at once are one load, of all their depths.

With ``numjobs``, or several jobs in a file, fio writes a log for each: ``NAME_lat.1.log``,
``NAME_lat.2.log`` and so on. Each counts its time from the start of its own job, so the logs
cannot say whether the jobs ran at once or one after the other (``stonewall``). They are taken to
have run at once, as jobs do, unless the files were written as far apart as their jobs are long;
what was taken is said. With ``per_job_logs=0`` they share a log, one behind the other.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from freezingtime.errors import InputError
from freezingtime.trace.readers.columns import IntColumn, queue_depths
from freezingtime.trace.readers.fio.latency_log import (
    LatencyLog,
    parse_latency_log,
    read_latency_log,
    refuse_other_logs,
)
from freezingtime.trace.readers.hints import Hints
from freezingtime.trace.readers.latencies import Latencies, likely_depth
from freezingtime.trace.readers.lines import Lines
from freezingtime.units import counted

_NAME = re.compile(r"(?P<run>.+_c?lat)\.(?P<job>\d+)\.log(?P<packed>\.\w+)?")
# Logs of fio that look like latency logs, and are none.
_OTHER_NAME = re.compile(r"_(?P<kind>bw|iops|slat|clat_hist)(\.\d+)?\.log(\.\w+)?$")
# Below that, a log in ms cannot tell how many requests were in flight.
_SPAN_MIN_NS = 50 * 10**6
_IDLE_SHARE = 0.2
# Of a job's time, what its file is at least written after the one of the job before it.
_APART_SHARE = 0.9
# A log goes back by that share of its time only where another job's requests follow.
_RESTART_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class _Job:
    """One log, and when it was written."""

    path: Path
    log: LatencyLog
    written_ns: int


def job_runs(paths: Sequence[Path]) -> list[list[Path]]:
    """The logs put together by runs of fio, in the order in which the runs come first."""
    runs: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        match = _NAME.fullmatch(path.name)
        runs[path.parent, match["run"] if match else f"{path.name}/"].append(path)
    return list(runs.values())


def read_fio_jobs(paths: Sequence[Path], depth: int | None, hints: Hints) -> list[Latencies]:
    """The latencies in the logs of one run of fio.

    ``depth`` is the queue depth of all requests; None: counted where the log has issue times,
    else the number in flight by Little's law, of all jobs that ran then.

    Raises:
        InputError: a log cannot be read, or is not one of latencies.
    """
    for path in paths:
        _refuse_other_name(path)
    return _of_jobs([_job(path, read_latency_log(path, hints), depth) for path in paths], depth)


def read_fio_job(path: Path, lines: Lines, depth: int | None) -> Latencies:
    """The latencies in a single log, as :func:`read_fio_jobs` has them.

    ``lines`` are those of the file at ``path``, which may be a pipe: it is not opened.

    Raises:
        InputError: a line is wrong, or it is no log of latencies.
    """
    _refuse_other_name(path)
    return _of_jobs([_job(path, parse_latency_log(path, lines), depth)], depth)[0]


def _of_jobs(jobs: Sequence[_Job], depth: int | None) -> list[Latencies]:
    """The latencies of the jobs of one run of fio, in their order."""
    groups = _groups(jobs)
    found: dict[Path, Latencies] = {}
    for group in groups:
        depths, notes = _depths(group, depth)
        for job, of_job in zip(group, depths, strict=True):
            found[job.path] = _latencies(job.log, of_job, notes)
    first, *others = (found[job.path] for job in jobs)
    if others and depth is None:
        first = replace(first, notes=(*first.notes, _taken(jobs, groups)))
    return [first, *others]


def _refuse_other_name(path: Path) -> None:
    if other := _OTHER_NAME.search(path.name):
        raise InputError(
            f"{path}: by its name is a {other['kind']} log; name the _lat or _clat log"
        )


def _job(path: Path, log: LatencyLog, depth: int | None) -> _Job:
    refuse_other_logs(path, log, depth)
    return _Job(path, log, path.stat().st_mtime_ns)


def _groups(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """The jobs that ran at once, in the order of time."""
    groups: list[list[_Job]] = []
    for job in sorted(jobs, key=lambda job: job.written_ns):
        waited_ns = job.written_ns - groups[-1][-1].written_ns if groups else 0
        if groups and waited_ns < _APART_SHARE * job.log.span_ns:
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups


def _taken(jobs: Sequence[_Job], groups: Sequence[Sequence[_Job]]) -> str:
    """Describe the assumptions about several logs."""
    names = f"{jobs[0].path.name} to {jobs[-1].path.name}"
    if len(groups) == 1:
        return (
            f"{names}: {len(jobs)} concurrent jobs, which are one load; if they ran one after "
            "the other, give --depth"
        )
    return (
        f"{names}: written so far apart that {len(groups)} of them ran one after the other; if all "
        "ran at once, give --depth"
    )


def _depths(group: Sequence[_Job], depth: int | None) -> tuple[list[IntColumn], list[str]]:
    """Return the depth at each request of each job, and its description."""
    if depth is not None:
        return [np.full(len(job.log.latency_ns), depth, np.int64) for job in group], []
    if all(job.log.issue_ns is not None for job in group):
        return _counted(group), []
    span_ns = max(job.log.span_ns for job in group)
    in_flight = sum(job.log.mean_in_flight for job in group)
    notes = []
    if span_ns < _SPAN_MIN_NS:
        in_flight = len(group)
        notes.append(
            f"too short to tell how many requests were in flight: depth {len(group)} is assumed"
        )
    elif in_flight < _IDLE_SHARE:
        notes.append(f"on average {in_flight:.2g} requests were in flight: a load with pauses")
    notes += filter(None, map(_shared, group))
    return [_by_littles_law(job, group, span_ns < _SPAN_MIN_NS) for job in group], notes


def _shared(job: _Job) -> str:
    """Describe a log whose times restart: with ``per_job_logs=0`` jobs share one."""
    time_ns = job.log.time_ns
    begins = np.flatnonzero(np.diff(time_ns) < -_RESTART_SHARE * int(np.ptp(time_ns)))
    if not len(begins):
        return ""
    return (
        f"{job.path.name}: its times begin again at {counted(len(begins), 'place')}: "
        f"{len(begins) + 1} jobs that share a log, taken to have run "
        "at once, which is one load; if they ran one after the other, give --depth"
    )


def _by_littles_law(job: _Job, group: Sequence[_Job], is_short: bool) -> IntColumn:
    """The number in flight of all jobs that still ran when each request of one was completed."""
    time_ns = job.log.time_ns
    in_flight = np.zeros(len(time_ns))
    for other in group:
        share = 1.0 if is_short else other.log.mean_in_flight
        # Times are cut off to ms: a job's own last request is within its time.
        in_flight[time_ns <= other.log.time_ns.max()] += share
    values, places = np.unique(in_flight, return_inverse=True)
    return np.array([likely_depth(value) for value in values], np.int64)[places]


def _counted(group: Sequence[_Job]) -> list[IntColumn]:
    """The number in flight at each request's own time of issue."""
    logs = [job.log for job in group]
    issue_ns = np.concatenate([log.issue_ns for log in logs if log.issue_ns is not None])
    latency_ns = np.concatenate([log.latency_ns for log in logs])
    order = np.argsort(issue_ns, kind="stable")
    depths = np.empty(len(order), np.int64)
    depths[order] = queue_depths(issue_ns[order], (issue_ns + latency_ns)[order])
    return np.split(depths, np.cumsum([len(log.latency_ns) for log in logs])[:-1])


def _latencies(log: LatencyLog, depth: IntColumn, notes: Sequence[str]) -> Latencies:
    return Latencies(
        log.operation,
        log.length_bytes,
        depth,
        log.latency_ns,
        np.ones(len(log.operation), np.bool_),
        (*log.notes, *notes),
        span_ns=int(np.ptp(log.time_ns)),
        format_name="fio-log",
    )
