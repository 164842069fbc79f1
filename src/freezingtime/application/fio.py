# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures that fio prints with ``--output-format=json``."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from freezingtime.application.figure import Figure, as_name, make_figure

_BEGIN = re.compile(r"^\{", re.MULTILINE)
_DOCUMENTS_MAX = 20
_JOBS_MAX = 50
_OPERATIONS = ("read", "write", "trim")
_PERCENTILES = {"50.000000": "p50", "99.000000": "p99", "99.900000": "p99.9"}


def fio(text: str) -> Iterator[Figure]:
    """Rates and latencies of each job and operation; job names only where there are several."""
    for begin in list(_BEGIN.finditer(text))[:_DOCUMENTS_MAX]:
        try:
            document, _ = json.JSONDecoder().raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            continue  # a brace of something else
        jobs = document.get("jobs") if "fio version" in document else None
        if isinstance(jobs, list):
            named = [job for job in jobs[:_JOBS_MAX] if isinstance(job, dict)]
            for job in named:
                prefix = f"{as_name(str(job.get('jobname')))[:30]}." if len(named) > 1 else ""
                yield from _of_job(job, prefix)


def _of_job(job: Mapping[str, Any], prefix: str) -> list[Figure]:
    figures: list[Figure] = []
    for operation in _OPERATIONS:
        said = job.get(operation)
        if not isinstance(said, dict) or not said.get("total_ios"):
            continue
        # "lat" is from submission to completion, as an application sees it; percentiles may be
        # there of "clat", from when the kernel took it, only.
        latency = said.get("lat_ns")
        spread = next((lat for lat in (latency, said.get("clat_ns")) if _percentiles(lat)), None)
        found: list[tuple[str, object, str, str]] = [
            ("iops", said.get("iops"), "1/s", "higher"),
            ("bandwidth", said.get("bw_bytes"), "bytes/s", "higher"),
            ("mean", latency.get("mean") if isinstance(latency, dict) else None, "ns", "lower"),
        ]
        found += [
            (name, _percentiles(spread).get(key), "ns", "lower")
            for key, name in _PERCENTILES.items()
        ]
        for name, value, unit, direction in found:
            with contextlib.suppress(ValueError):  # one that is not there, or no number
                whole = f"fio.{prefix}{operation}.{name}"
                figures.append(make_figure(whole, value, unit, direction))
    return figures


def _percentiles(latency: object) -> Mapping[str, object]:
    said = latency.get("percentile") if isinstance(latency, dict) else None
    return said if isinstance(said, dict) else {}
