# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults in a report: which requests were hit and when, and what each rule did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from freezingtime.report.batches import FAULT, Columns
from freezingtime.report.bins import Integers, Span
from freezingtime.report.run_data import RunData
from freezingtime.report.tables import ReportTable, name_of, run_head
from freezingtime.request import FaultKind

_UNKNOWN = "-"


class FaultScan:
    """The requests of a disk that were hit, in bins of their delivery."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._counts: dict[FaultKind, Integers] = {}

    def add(self, requests: Columns) -> None:
        """Count those of some requests."""
        kinds = requests[FAULT]
        for kind in np.unique(kinds[kinds >= 0]).tolist():
            bins = self._span.bins_of(requests["delivery_ns"][kinds == kind])
            counts = np.bincount(bins, minlength=self._span.bin_count)
            self._counts[FaultKind(kind)] = self._counts.get(FaultKind(kind), 0) + counts

    def result(self) -> Mapping[FaultKind, Integers]:
        """Count the requests that each kind hit in each bin; kinds that hit none are left out."""
        return {kind: self._counts[kind] for kind in sorted(self._counts)}


def rules_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate the rules of each disk, and how many requests each hit, as far as it was noted."""
    rows = [
        [disk.name, *name_of(run, runs), rule, _hits(run, disk.name, place)]
        for run in runs
        for disk in run.header.disks
        for place, rule in enumerate(disk.faults)
    ]
    heads = ["disk", *run_head(runs), "rule", "requests hit"]
    return ReportTable("Rules of faults", heads, rows, label_count=2 + len(run_head(runs)))


def kinds_table(runs: Sequence[RunData]) -> ReportTable:
    """Tabulate how many requests were hit by each kind of fault."""
    rows = [
        [disk, *name_of(run, runs), kind.name.lower(), f"{int(counts.sum()):,}"]
        for run in runs
        for disk, data in run.disks.items()
        for kind, counts in data.faults.items()
    ]
    heads = ["disk", *run_head(runs), "fault", "requests"]
    return ReportTable("Requests hit, by fault", heads, rows, label_count=2 + len(run_head(runs)))


def _hits(run: RunData, disk: str, place: int) -> str:
    """What ``run.json`` says, which somebody may have written."""
    noted: Any = None if run.document is None else run.document.get("faults")
    rules = noted.get(disk) if isinstance(noted, dict) else None
    if not isinstance(rules, list) or place >= len(rules) or not isinstance(rules[place], dict):
        return _UNKNOWN
    hits = rules[place].get("hits")
    if not isinstance(hits, int):
        return _UNKNOWN
    return f"{hits:,}" if hits else "never"
