# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.compare``: two results side by side."""

from __future__ import annotations

from os import PathLike

from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.result import Result, open_run
from freezingtime.results.compare import Comparison
from freezingtime.results.compare import compare as compare_runs


@plain_errors
def compare(a: Result | str | PathLike[str], b: Result | str | PathLike[str]) -> Comparison:
    """Compare two results, or what is at two paths, as ``freezingtime compare`` does.

    Raises:
        InputError: there is no run at a path, or it is damaged.
    """
    return compare_runs(*(_opened(side).recorded for side in (a, b)))


def _opened(side: Result | str | PathLike[str]) -> Result:
    return side if isinstance(side, Result) else open_run(side)
