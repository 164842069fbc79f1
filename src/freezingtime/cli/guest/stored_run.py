# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs through the store of results: `run --store`. One that is known is shown again, not run."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from freezingtime.cli.guest.progress import RunProgress
from freezingtime.cli.output.columns import aligned
from freezingtime.cli.output.json_stream import print_document
from freezingtime.errors import RunError
from freezingtime.explore.sweep.run_unit import STDERR_NAME, RunUnit, require_repeatable
from freezingtime.host.foreign_text import say
from freezingtime.host.os_errors import os_errors_as
from freezingtime.results.latency_summary import LatencySummary
from freezingtime.results.recorded_run import RecordedRun, open_recorded_run
from freezingtime.runs.output_directory import prepared_directory
from freezingtime.runs.prepare import ready_machine
from freezingtime.runs.progress.text import plain_time
from freezingtime.runs.result import RunResult
from freezingtime.store.results.result_store import ResultStore, StoredResult, damage
from freezingtime.trace.run_directory import STDOUT_NAME
from freezingtime.units import four_digits, time_cell

_HEADER = ("disk", "operation", "IOPS", "MB/s", "mean", "p50", "p99", "p99.9")
_TEXT_COLUMNS = 2
_PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A job whose result is looked for in a store, and kept there."""

    unit: RunUnit
    store: ResultStore
    refresh: bool

    def find(self, progress: RunProgress) -> StoredResult | None:
        """Return its result, whole and with all that the job has printed; None: it is to be run.

        Raises:
            InputError: it cannot be run, or its result would not be the same again.
            RunError: its guest cannot be made ready.
        """
        self.store.refuse_if_no_directory()
        require_repeatable(self.unit.plan())
        ready_machine(self.unit.plan(), progress.preparing)  # what takes long, says so
        digest = self.unit.key().digest
        found = None if self.refresh else self.store.find(digest)
        if found is None or not (found.run_path / STDERR_NAME).is_file():
            return None
        if (problem := damage(found.directory)) is not None:
            say(f"the result in {found.directory} is damaged ({problem}): the job is run again")
            return None
        return found

    def run(self, progress: RunProgress, out: Path | None) -> RunResult:
        """Run it, store the result if it is valid, and leave its directory at ``out``, too.

        Raises:
            InputError: ``out`` cannot be written to.
            RunError: it failed.
        """
        with _output_directory(out) as copy, self.store.building() as run_path:
            key = self.unit.key()
            result = self.unit.run(run_path, progress)
            copy(run_path)
            if (reason := result.reason_invalid) is not None:
                say(f"nothing is stored: {reason}")
            else:
                figures = self.unit.figures(run_path, result)
                if self.unit.key().digest != key.digest:
                    raise RunError("one of its files was changed meanwhile; nothing is stored")
                known = self.store.find(key.digest)
                lacks_output = known is not None and not (known.run_path / STDERR_NAME).is_file()
                self.store.publish(run_path, key, figures, replace=self.refresh or lacks_output)
        return dataclasses.replace(result, plan=dataclasses.replace(result.plan, out=out))

    def show(
        self,
        found: StoredResult,
        progress: RunProgress,
        out: Path | None,
        *,
        as_json: bool,
        quiet: bool,
    ) -> int:
        """Show a known run as if it were run now, but for host times; returns the job's status.

        Of the job's output, all of stdout comes before all of stderr.

        Raises:
            InputError: ``out`` cannot be written to.
            RunError: the store cannot be read.
        """
        with _output_directory(out) as copy:
            copy(found.run_path)
        for name in (STDOUT_NAME, STDERR_NAME):
            path = found.run_path / name
            with os_errors_as(RunError, path, "repeat with --refresh"), path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    progress.output(*((piece, b"") if name == STDOUT_NAME else (b"", piece)))
        recorded = open_recorded_run(found.run_path, say)
        if as_json:
            texts = {"stdout": progress.stdout, "stderr": progress.stderr}
            print_document(recorded.document or {}, texts, sys.stdout)
        if not quiet:
            for line in _summary(recorded):
                say(line)
            say(f"not run again: the store has its result, {found.run_path}")
            if out is not None:
                say(f"results in {out}")
        return recorded.exit_status or 0


@contextlib.contextmanager
def _output_directory(out: Path | None) -> Iterator[Callable[[Path], None]]:
    """The directory of ``--out``, ours from now on; yields what copies a run directory there."""
    if out is None:
        yield lambda run_path: None
        return
    with prepared_directory(out, collects=True) as remove:

        def copy(run_path: Path) -> None:
            with os_errors_as(RunError, f"--out {out}", "free space, or name another directory"):
                shutil.copytree(
                    run_path, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(STDERR_NAME)
                )

        try:
            yield copy
        except BaseException:
            remove()
            raise


def _summary(run: RecordedRun) -> Iterator[str]:
    yield from (f"app.{figure}" for figure in run.figures)
    rows = [
        _row(disk, each)
        for disk, summaries in run.summaries.items()
        for each in summaries
        if each.operation != "all"
    ]
    if rows:
        yield from map("  ".join, aligned([_HEADER, *rows], _TEXT_COLUMNS))
    audit = (run.document or {}).get("audit", {})
    if run.guest_ns is not None:
        yield f"{plain_time(run.guest_ns)} in the guest"
    yield f"exact: {audit.get('requests')} of {audit.get('requests')} requests on time"
    if run.exit_status:
        yield f"the job ended with exit status {run.exit_status}"


def _row(disk: str, each: LatencySummary) -> tuple[str, ...]:
    bandwidth = each.bandwidth_bytes_per_s
    times_ns = (each.mean_ns, each.p50_ns, each.p99_ns, each.p99_9_ns)
    return (
        disk,
        each.operation,
        "-" if each.iops is None else four_digits(each.iops),
        "-" if bandwidth is None else four_digits(bandwidth / 10**6),
        *map(time_cell, times_ns),
    )
