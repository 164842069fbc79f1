# SPDX-License-Identifier: GPL-2.0-or-later
"""fio's JSON (``--output-format=json`` or ``json+``): latencies by histogram or percentiles.

Of each job and direction, ``clat_ns`` (else ``lat_ns``) has with ``json+`` all of fio's
histogram: by latency, how many requests took it, to within 0.8 % (``stat.h`` of fio).
Plain JSON has percentiles only; between them, the distribution is taken to be linear. Flushes
are fio's ``sync``. The depth is the mean number of requests in flight (Little's law); the
size, bytes over requests.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.trace_device import MAX_LENGTH_BYTES
from freezingtime.errors import InputError
from freezingtime.host.document_fault import document_fault
from freezingtime.request import Operation
from freezingtime.trace.readers.columns import IntColumn
from freezingtime.trace.readers.latencies import Latencies, join, likely_depth
from freezingtime.units import MAX_VALUE

_DIRECTIONS = {"read": Operation.READ, "write": Operation.WRITE, "trim": Operation.DISCARD}
_SYNC = "sync"
# What fio calls reads and writes together, with unified_rw_reporting.
_MIXED = "mixed"
_NS_PER_MS = 10**6
# More values than that of one kind of request say nothing more.
_COUNT_MAX = 200_000
_PERCENTILE_VALUES = 10_000
_ROUGH_NOTE = (
    "from fio's percentiles, with nothing known between them: --output-format=json+ has all"
)


def recognizes(first_line: str) -> bool:
    """Return whether a file that begins with this line is of this format."""
    return first_line.startswith("{") or first_line.startswith("fio: ")


def read_fio_json(path: Path, text: str, depth: int | None) -> Latencies:
    """The latencies of all jobs in fio's JSON output.

    ``depth`` is the queue depth; None: found by Little's law.

    Raises:
        InputError: it is not fio's JSON, a value is not possible, or there is no latency in it.
    """
    document = _document(path, text)
    jobs = _jobs(path, document)
    in_flight = _in_flight_by_group(path, jobs)
    histograms: dict[_Cell, list[_Histogram]] = {}
    for number, job in enumerate(jobs):
        likely = likely_depth(in_flight[_group(job)])
        for cell, histogram in _job(path, number, job, depth or likely):
            histograms.setdefault(cell, []).append(histogram)
    if not histograms:
        raise InputError(f"{path}: contains no latencies; run fio with --output-format=json+")
    latencies = join([_latencies(cell, parts) for cell, parts in histograms.items()])
    return replace(latencies, facts=tuple(_facts(jobs, in_flight)))


class _Cell(NamedTuple):
    """Requests of one kind."""

    operation: Operation
    length_bytes: int
    depth: int


class _Histogram(NamedTuple):
    """Latencies, and the number of requests of each."""

    values_ns: NDArray[np.float64]
    counts: NDArray[np.float64]
    is_rough: bool
    """Made of percentiles."""


def _group(job: Mapping[str, Any]) -> str:
    """Jobs of one group run at once; those that name devices of their own, each on its own."""
    options = job.get("job options")
    file = options.get("filename") if isinstance(options, dict) else None
    device = file if isinstance(file, str) and file.startswith("/dev/") else ""
    return f"{job.get('groupid', '')} {device}"


def _in_flight_by_group(path: Path, jobs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean number of requests in flight, over all jobs of each group."""
    in_flight: dict[str, float] = defaultdict(float)
    for number, job in enumerate(jobs):
        where = f"{path}: jobs[{number}]"
        for name in _DIRECTIONS:
            in_flight[_group(job)] += _in_flight(f"{where}.{name}", _table(where, job, name))
    return in_flight


def _facts(jobs: Sequence[Mapping[str, Any]], in_flight: Mapping[str, float]) -> Iterator[str]:
    """Describe the assumptions about several jobs."""
    if len(jobs) > 1:
        loads = "one load" if len(in_flight) == 1 else f"{len(in_flight)} loads"
        yield f"{len(jobs)} jobs, of which those of one group and device ran at once: {loads}"


def _document(path: Path, text: str) -> Mapping[str, Any]:
    # What fio has to say comes before its JSON.
    start = text.find("{")
    try:
        document = json.loads(text[max(start, 0) :])
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: is not JSON: {document_fault(error)}; name fio's --output-format=json+"
        ) from error
    if not isinstance(document, dict) or "fio version" not in document:
        raise InputError(f"{path}: is not fio's JSON: it has no 'fio version'")
    return document


def _jobs(path: Path, document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    jobs = document.get("jobs")
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise InputError(f"{path}: jobs: must be a list of fio's jobs")
    return jobs


def _job(
    path: Path, number: int, job: Mapping[str, Any], depth: int
) -> Iterator[tuple[_Cell, _Histogram]]:
    where = f"{path}: jobs[{number}]"
    if _MIXED in job and not any(name in job for name in _DIRECTIONS):
        raise InputError(
            f"{where}: reads and writes are one; leave out unified_rw_reporting, or let it be both"
        )
    for name, operation in _DIRECTIONS.items():
        table = _table(where, job, name)
        count = _number(f"{where}.{name}", table, "total_ios")
        if count < 1:
            continue
        length_bytes = round(_number(f"{where}.{name}", table, "io_bytes") / count)
        if not 1 <= length_bytes <= MAX_LENGTH_BYTES:
            raise InputError(f"{where}.{name}: io_bytes: {length_bytes} bytes in each request")
        found = _histogram(f"{where}.{name}", table, ("clat_ns", "lat_ns"))
        yield _Cell(operation, length_bytes, depth), found
    sync = _table(where, job, _SYNC)
    if _number(f"{where}.{_SYNC}", _table(where, sync, "lat_ns"), "N") >= 1:
        yield _Cell(Operation.FLUSH, 0, 1), _histogram(f"{where}.{_SYNC}", sync, ("lat_ns",))


def _latencies(cell: _Cell, histograms: Sequence[_Histogram]) -> Latencies:
    latency_ns = _values_ns(histograms)
    count = len(latency_ns)
    return Latencies(
        np.full(count, cell.operation, np.uint8),
        np.full(count, cell.length_bytes, np.int64),
        np.full(count, cell.depth, np.int64),
        latency_ns,
        np.zeros(count, np.bool_),
        notes=(_ROUGH_NOTE,) if any(part.is_rough for part in histograms) else (),
    )


def _values_ns(histograms: Sequence[_Histogram]) -> IntColumn:
    """Return as many latencies as there were, up to a useful maximum.

    They are the quantiles at equal distances, so that each bin has its share to within one
    value, however rare it is: nothing is rounded up, and no quantile moves.
    """
    values_ns = np.concatenate([part.values_ns for part in histograms])
    counts = np.concatenate([part.counts for part in histograms])
    order = np.argsort(values_ns, kind="stable")
    values_ns, up_to = values_ns[order], np.cumsum(counts[order])
    count = max(1, min(_COUNT_MAX, round(float(up_to[-1]))))
    wanted = (np.arange(count) + 0.5) * (up_to[-1] / count)
    chosen: IntColumn = values_ns[np.searchsorted(up_to, wanted)].astype(np.int64)
    return chosen


def _in_flight(where: str, table: Mapping[str, Any]) -> float:
    """Return the mean number of a direction's requests in flight (Little's law)."""
    runtime_ms = _number(where, table, "runtime")
    latencies = _table(where, table, "lat_ns")
    if not runtime_ms:
        return 0.0
    busy_ns = _number(where, latencies, "mean") * _number(where, table, "total_ios")
    return busy_ns / (runtime_ms * _NS_PER_MS)


def _histogram(where: str, table: Mapping[str, Any], names: Sequence[str]) -> _Histogram:
    for name in names:
        if bins := _table(where, table, name).get("bins"):
            return _from_bins(f"{where}.{name}.bins", bins)
    for name in names:
        latencies = _table(where, table, name)
        if percentiles := latencies.get("percentile"):
            return _from_percentiles(f"{where}.{name}", latencies, percentiles)
    raise InputError(
        f"{where}: has neither bins nor percentiles; run fio with --output-format=json+"
    )


def _from_bins(where: str, bins: Any) -> _Histogram:
    values_ns, counts = _numbers(where, bins)
    if not counts.sum():
        raise InputError(f"{where}: has no requests")
    return _Histogram(values_ns, counts, is_rough=False)


def _from_percentiles(where: str, latencies: Mapping[str, Any], percentiles: Any) -> _Histogram:
    percents, values_ns = _numbers(f"{where}.percentile", percentiles)
    if percents.max() > 100:
        raise InputError(f"{where}.percentile: {percents.max():g}: must be at most 100")
    least_ns, most_ns = (_number(where, latencies, key) for key in ("min", "max"))
    known = np.concatenate([[0.0], percents[percents < 100] / 100, [1.0]])
    times_ns = np.concatenate([[least_ns], values_ns[percents < 100], [most_ns]])
    total = max(2.0, _number(where, latencies, "N"))
    count = min(_PERCENTILE_VALUES, int(total))
    wanted = (np.arange(count) + 0.5) / count
    found_ns = np.sort(np.interp(wanted, known, times_ns))
    return _Histogram(found_ns, np.full(count, total / count), is_rough=True)


def _numbers(where: str, table: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The keys of a table of numbers, in order, and its values."""
    try:
        pairs = sorted((float(key), float(value)) for key, value in table.items())
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{where}: must be a table of numbers") from error
    if not pairs or not all(0 <= number <= MAX_VALUE for pair in pairs for number in pair):
        raise InputError(f"{where}: must be a table of non-negative numbers")
    keys, values = zip(*pairs, strict=True)
    return np.array(keys), np.array(values)


def _table(where: str, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table below another; empty if it is not there."""
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise InputError(f"{where}.{key}: must be a table")
    return value


def _number(where: str, table: Mapping[str, Any], key: str) -> float:
    value = table.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_VALUE:
        raise InputError(f"{where}: {key}: {value!r}: must be a non-negative number")
    return float(value)
