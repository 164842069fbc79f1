# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.compare``: two results side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING

from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.result import Result, open_run
from freezingtime.errors import InputError
from freezingtime.results import compare as runs
from freezingtime.results.judged import changed_metrics, difference_row, verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from freezingtime.report.run_data import RunData


@dataclass(frozen=True, repr=False)
class Comparison(runs.RunComparison):
    """Differences of run ``b`` from run ``a``."""

    results: Sequence[Result]
    """Both results; temporary ones do not go away before the comparison does."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """The figures of both: ``disk``, ``operation``, ``metric``, ``unit``, ``a``, ``b``.

        And ``change``, by which share ``b`` is more than ``a``. Times are in ns.
        """
        import pandas as pd

        rows = [
            {
                "disk": found.key.disk,
                "operation": found.key.operation,
                "metric": found.key.metric,
                "unit": found.key.unit_text,
                "a": found.a,
                "b": found.b,
                "change": found.b / found.a - 1 if found.a and found.b is not None else None,
            }
            for found in self.metrics
        ]
        columns = ["disk", "operation", "metric", "unit", "a", "b", "change"]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype({"a": "float64", "b": "float64", "change": "float64"})

    @plain_errors
    def plot(self, *kinds: str, labels: Sequence[str] = ("a", "b")) -> Figure:
        """Draw both runs in the same panels; as :meth:`Result.plot` otherwise.

        ``labels`` are what the legend calls ``a`` and ``b``.

        Raises:
            InputError: there is no such kind of figure, or nothing to draw.
        """
        from freezingtime.report.figures.live_figure import live_figure

        if len(labels) != 2 or labels[0] == labels[1]:
            raise InputError(f"labels={labels!r}: must be two different ones")
        a, b = (result.read_for_report() for result in self.results)
        pairs = runs.disk_pairs(list(a.disks), list(b.disks))
        b = _renamed(b, {name_b: name_a or name_b for name_a, name_b in pairs if name_b})
        both = [replace(run, label=label) for run, label in zip((a, b), labels, strict=True)]
        return live_figure(both, kinds)

    def __repr__(self) -> str:
        """In one line."""
        return f"<Comparison {self.a.path} {self.b.path}: {verdict(self)}>"

    def _repr_html_(self) -> str:
        """In a notebook: whether they are identical, and what differs."""
        import pandas as pd

        rows = [difference_row(found) for found in changed_metrics(self)]
        frame = pd.DataFrame(rows, columns=["metric", "a", "b", "change"])
        return "\n".join(
            [
                f"<p><strong>{html.escape(verdict(self))}</strong></p>",
                *(f"<p>{html.escape(reason)}</p>" for reason in self.unfit),
                *([frame.to_html(index=False)] if rows else []),
            ]
        )


@plain_errors
def compare(a: Result | str | PathLike[str], b: Result | str | PathLike[str]) -> Comparison:
    """Compare two results, or what is at two paths, as ``freezingtime compare`` does.

    Raises:
        InputError: there is no run at a path, or it is damaged.
    """
    results = [_opened(side) for side in (a, b)]
    found = runs.compare(*(result.recorded for result in results))
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    return Comparison(**values, results=results)


def _renamed(run: RunData, names: Mapping[str, str]) -> RunData:
    """Return a run with other names of its disks, so that they share the panels of these."""
    return replace(
        run,
        disks={names[name]: data for name, data in run.disks.items()},
        statistics={names.get(name, name): data for name, data in run.statistics.items()},
    )


def _opened(side: Result | str | PathLike[str]) -> Result:
    return side if isinstance(side, Result) else open_run(side)
