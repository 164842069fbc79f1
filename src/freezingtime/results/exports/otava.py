# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures as CSV for Apache Otava, which finds the row of a history from which on they differ."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from freezingtime.results.judged import JudgedComparison

#: What Otava's configuration calls the time of a row, unless it is told.
_TIME, _RUN = "time", "run"


def to_otava(judged: Sequence[JudgedComparison]) -> str:
    """A header, and a row for each run after the first: the time now, and figures that all have."""
    rows = [
        {str(found.key): found.b for found in each.comparison.metrics if found.b is not None}
        for each in judged
    ]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow([_TIME, _RUN, *names])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for each, row in zip(judged, rows, strict=True):
        path = "".join(filter(str.isprintable, str(each.comparison.b.path)))
        table.writerow([now, path, *(row[name] for name in names)])
    return written.getvalue()
