# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a sweep, for who writes them and who reads them.

===================  =============================================================
``sweep.json``       what stays the same, what is varied, where the store is
``results.parquet``  a row for each point
``work/``            the plan for workers on other machines, if there is one
``store/``           the store that these share, unless another is named
===================  =============================================================

The table's columns are ``point``, the varied keys, ``status``, ``reason``, ``result``, and figures.
"""

from __future__ import annotations

SWEEP_NAME = "sweep.json"
TABLE_NAME = "results.parquet"
SHARED_STORE_NAME = "store"
#: Changes whenever a reader of the version before would misread one of them.
SWEEP_FORMAT = 1

POINT, STATUS, REASON, RESULT = "point", "status", "reason", "result"
#: The status of a point whose figures count.
OK = "ok"
#: Keys of a column's metadata: the figure's own name, and its unit.
FIGURE, UNIT = b"figure", b"unit"

#: A unit of figures, and how it stands in a column's name; a rate's own name says what it counts.
_IN_NAMES = {
    **{unit: unit for unit in ("ns", "us", "ms", "s", "bytes")},
    "bytes/s": "bytes_per_s",
}


def column_of(figure: str, unit: str) -> str:
    """The name of a figure's column, which has its unit: ``all.p99_ns``."""
    said = _IN_NAMES.get(unit)
    return figure if said is None or figure.endswith(f"_{said}") else f"{figure}_{said}"
