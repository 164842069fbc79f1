# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of runs and replays, as data frames."""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.host.foreign_text import printable
from freezingtime.results.latency_summary import LatencySummary
from freezingtime.results.recorded_run import RecordedRun, open_recorded_run
from freezingtime.trace.readers import Reading
from freezingtime.trace.run_directory import STDOUT_NAME
from freezingtime.units import counted, format_time_ns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from freezingtime.report.run_data import RunData


#: What is shown of a job that failed: the last lines of its output, and of each so much.
_LAST_LINES, _LINE_LENGTH_MAX = 5, 200


class Result:
    """A run that has ended, or a replay, and what it left in :attr:`path`.

    The same whether it has just ended or is opened again with :func:`freezingtime.open_run`.
    Guest times are nanoseconds. Data frames are made when first asked for.
    """

    def __init__(
        self,
        recorded: RecordedRun,
        *,
        output: OutputPath | None = None,
        stderr: str | None = None,
        statistics: Mapping[str, Mapping[str, float]] | None = None,
        summaries: Mapping[str, Sequence[LatencySummary]] | None = None,
    ) -> None:
        """For this package; use :func:`freezingtime.run` and its kin."""
        self.recorded = recorded
        self.stderr = stderr
        """What the job printed there; None if the result was opened again, or of a replay."""
        self._statistics = statistics
        self._output = output  # kept, as what is there may go away with it
        self._summaries = summaries

    @property
    def path(self) -> Path:
        """The run's directory, or the record; a temporary one goes away with this object."""
        return self.recorded.path

    @cached_property
    def table(self) -> pa.Table:
        """The requests as an Arrow table, in order of delivery (docs/reference/record)."""
        import pyarrow as pa

        record = self.recorded.record
        batches = record.batches(record.schema.names, warn, lambda done, total: None)
        return pa.Table.from_batches(batches, schema=record.schema)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """The requests, one in a row, in order of delivery.

        The columns are the record's (docs/reference/record), and ``latency_ns``, what the guest was
        given: ``delivery_ns - arrival_ns``. ``disk`` and ``operation`` are categories.
        """
        frame = self.table.to_pandas()
        frame["latency_ns"] = frame["delivery_ns"] - frame["arrival_ns"]
        return frame

    @cached_property
    def statistics(self) -> Mapping[str, Mapping[str, float]]:
        """Return the devices' own figures at the end, such as the write amplification."""
        if self._statistics is not None:
            return self._statistics
        if self.document is not None:
            said: Mapping[str, Mapping[str, float]] = self.document.get("statistics", {})
            return said
        last = self.statistics_over_time.drop_duplicates(["disk", "statistic"], keep="last")
        found: dict[str, dict[str, float]] = {}
        for row in last.itertuples():
            found.setdefault(row.disk, {})[row.statistic] = row.value
        return found

    @cached_property
    def statistics_over_time(self) -> pd.DataFrame:
        """Return the device statistics over a run or a replay, a row for each value.

        The columns are ``disk``, ``time_ns``, ``statistic`` and ``value``. Most are counters.
        """
        from freezingtime.trace.statistics_file import STATISTICS_COLUMNS, read_statistics

        table = read_statistics(self.path)
        return (STATISTICS_COLUMNS.empty_table() if table is None else table).to_pandas()

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The figures of each disk: a row for ``all`` of its requests, then one for each operation.

        Latencies in ns, percentiles exact (docs/reference/compare.md says over what);
        ``mean_host_ns`` is how much of the mean was spent in a replay's host.
        """
        import pandas as pd

        rows = [
            {"disk": disk, **summary.as_dict()}
            for disk, summaries in (self._summaries or self.recorded.summaries).items()
            for summary in summaries
        ]
        return pd.DataFrame(rows, columns=["disk", *LatencySummary.__slots__])

    @plain_errors
    def slow_operations(self, count: int = 20) -> pd.DataFrame:
        """Return the slowest operations in the application's logs, with the requests during them.

        A row for each operation and request; ``line`` counts the lines of ``log``, and the times of
        an operation are known within ``uncertain_ns``. ``device_ns`` is how much of its time
        requests were at the disks, ``shared_ns`` that of one request, and ``is_certain`` whether
        that was under way wherever in its bounds the operation is. The columns behind are the
        record's. Warns of logs that cannot be joined; docs/reference/guests/slow-operations.md
        says which can.

        Raises:
            InputError: a log or the record is damaged.
        """
        import pandas as pd

        from freezingtime.report.slow.frame import COLUMNS, rows_of
        from freezingtime.report.slow.operations import slow_operations

        found = slow_operations(self.path, self.document, self.recorded.record, count)
        for note in () if found is None else found.notes:
            warn(note)
        rows = [] if found is None else rows_of(found)
        return pd.DataFrame(rows, columns=COLUMNS).convert_dtypes()

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The content of ``run.json``: plan, versions, audit; None if there is none."""
        return self.recorded.document

    @property
    def guest_ns(self) -> int | None:
        """Return the job's guest time, in ns; None without a guest."""
        return self.recorded.guest_ns

    @property
    def exit_status(self) -> int | None:
        """The job's; None without a guest."""
        return self.recorded.exit_status

    @property
    def valid(self) -> bool | None:
        """Return whether every request was on time and the guest's kernel had no complaint."""
        return self.recorded.valid

    @property
    def status(self) -> str:
        """Return in one line whether the results can be relied upon, and why not."""
        if problems := self._problems():
            return "; ".join(problems)
        count = f"{self.recorded.request_count:,}"
        if self.document is None:
            has_guest = self.recorded.record.header.cpu_rate_hz is not None or self.path.is_dir()
            requests = counted(self.recorded.request_count, "request", grouped=True)
            return f"{'recorded' if has_guest else 'simulated'}: {requests}"
        exact = "exact" if self.recorded.is_repeatable else "valid, under KVM"
        took = "" if self.guest_ns is None else f"; the job took {format_time_ns(self.guest_ns)}"
        return f"{exact}: {count} of {count} requests on time{took}"

    @property
    def metrics(self) -> Mapping[str, float]:
        """The application's own figures by name, in the units that it has given them."""
        return {figure.name: figure.value for figure in self.recorded.figures}

    @property
    def stdout(self) -> str:
        """Return the job's standard output; empty without a guest."""
        file = self.path / STDOUT_NAME
        return file.read_text(errors="replace") if file.is_file() else ""

    @property
    def last_words(self) -> list[str]:
        """The last lines that the job printed: to stderr if it did, and that is known; printable.

        A line that is long is cut.
        """
        text = (self.stderr or "").strip() or self.stdout.strip()
        lines = [printable(line.rstrip()) for line in text.splitlines()[-_LAST_LINES:]]
        return [
            f"{line[: _LINE_LENGTH_MAX - 3]}..." if len(line) > _LINE_LENGTH_MAX else line
            for line in lines
        ]

    @plain_errors
    def plot(self, *kinds: str) -> Figure:
        """Draw figures of the report, such as ``"latency-distribution"``, in one figure.

        Without a name: the latency distribution, latency and throughput over time. A replay's
        devices share the panels. Returns matplotlib's figure, whose ``axes`` are the panels; no
        pyplot is needed to show it in a notebook, or to save it.

        Raises:
            InputError: there is no such kind of figure, or nothing to draw; the text names all.
        """
        from freezingtime.report.figures.live_figure import live_figure
        from freezingtime.report.side_by_side import side_by_side

        return live_figure(side_by_side([self.read_for_report()]), kinds)

    def read_for_report(self) -> RunData:
        """For this package: what reports and figures are made of.

        Raises:
            InputError: there is no request in the run.
        """
        from freezingtime.report.read import read_run

        return read_run(self.path, lambda notice: None)  # whoever opened it has been told

    def report(self, path: str | PathLike[str]) -> Path:
        """Write the report of ``freezingtime report`` to ``path``, one page of HTML.

        Raises:
            InputError: there is no request in the run.
            OSError: the page cannot be written.
        """
        from freezingtime.report.page import write_report

        write_report([self.read_for_report()], Path(path))
        return Path(path)

    def __repr__(self) -> str:
        """In one line, which begins with what is wrong."""
        recorded = self.recorded
        disks = ", ".join(disk.spec for disk in recorded.record.header.disks) or "no disk"
        problems = self._problems()
        if self.exit_status and (words := self.last_words):
            problems.append(f"'{words[-1]}'")
        wrong = "".join(f"{problem}: " for problem in problems)
        where = f"{self.path}: {counted(recorded.request_count, 'request')} on {disks}"
        return printable(f"<Result {wrong}{where}>")

    def _repr_html_(self) -> str:
        """In a notebook: the status, a failed job's last words, its own figures, the summary."""
        problems = self._problems() or [self.status]
        shown = [f"<p><strong>{html.escape(problem)}</strong></p>" for problem in problems]
        if self.recorded.figures:
            figures = ", ".join(str(figure) for figure in self.recorded.figures)
            shown.append(f"<p>{html.escape(printable(figures))}</p>")
        if self.exit_status and (words := self.last_words):
            shown.append(f"<pre>{html.escape(chr(10).join(words))}</pre>")
        return "\n".join([*shown, self.summary.to_html(index=False)])

    def _problems(self) -> list[str]:
        """Return the reasons why the results are not valid."""
        problems = []
        if self.exit_status:
            problems.append(f"the job FAILED with exit status {self.exit_status}")
        if self.valid is False:
            problems.append("the results are NOT VALID")
        if self.document is None and self.path.is_dir():
            problems.append("the run was killed, or is still running")
        return problems


@plain_errors
def open_run(path: str | PathLike[str]) -> Result:
    """Open the result of an earlier run: its directory, or a record.

    Raises:
        InputError: there is none, it is damaged, or it is one of another version.
    """
    return Result(open_recorded_run(Path(path), warn))


def warn(text: str) -> None:
    """Warn the caller, for example that a run was killed."""
    warnings.warn(printable(text), stacklevel=2)


def warn_of(reading: Reading) -> None:
    """Warn the caller of surprises in a file."""
    for line in reading.note_lines:
        warn(line)
