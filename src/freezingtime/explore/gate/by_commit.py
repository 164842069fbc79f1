# SPDX-License-Identifier: GPL-2.0-or-later
"""Baselines by commit: what is noted of one, or the job as git has it there, run now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from freezingtime.errors import InputError, about
from freezingtime.explore.gate.candidate import Execution, execute_points, find_executions
from freezingtime.explore.gate.commit import OPTION, Commit
from freezingtime.explore.gate.former_tree import FormerTree, command_files
from freezingtime.explore.gate.noted import note_results, noted_results
from freezingtime.explore.gate.phases import more_phases
from freezingtime.explore.sweep.points import Point
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.explore.sweep.sweep import SweepObserver
from freezingtime.host.os_errors import os_errors_as
from freezingtime.store.results.result_store import ResultStore

#: What makes the request of a job whose file or directory lies elsewhere.
MakeRequest = Callable[[Path | None], SweepRequest]


@dataclass(frozen=True, slots=True)
class BaselineByCommit:
    """The baseline of a command at a commit."""

    commit: Commit
    job: Path | None
    """The script, job directory or trace; None: the job has no file."""
    make_request: MakeRequest
    store: ResultStore
    notify: Callable[[str], None]

    def find(
        self, points: Sequence[Point], observer: SweepObserver, cleanup: ExitStack
    ) -> list[Execution]:
        """Return an execution for each point: what is noted, else the job as it was then.

        Raises:
            InputError: nothing is noted, and git has no such job.
            RunError: it failed, or its figures are not valid.
        """
        noted = noted_results(self.store, self.commit.digest, self._command(self.job))
        if noted is not None:
            if len(noted) < len(points):
                raise InputError(
                    f"{OPTION} {self.commit.ref}: has {len(noted)} of {len(points)} phases; "
                    f"make it again there with --phases {len(points)} --update"
                )
            if len(noted) > len(points):
                what = f"{OPTION} {self.commit.ref}"
                self.notify(more_phases(what, len(noted), len(points)))
            request = self.make_request(self.job)
            found = find_executions(request, points, self.store, noted[: len(points)])
            if found is not None:
                return found
        with os_errors_as(InputError, "no temporary directory", "set TMPDIR"):
            scratch = TemporaryDirectory(prefix="freezingtime-", ignore_cleanup_errors=True)
        tree = FormerTree(self.commit, Path(cleanup.enter_context(scratch)).resolve())
        if not tree.lay_out(self.job, command_files(self.make_request(self.job))):
            raise InputError(
                f"{OPTION} {self.commit}: the store {self.store.root} has no result of this "
                "command there, and the job has no file of which git could tell what it was; make "
                "one when that commit is checked out, with --update"
            )
        store = ResultStore(self.store.root.absolute())
        with tree.entered(), about(f"{OPTION} {self.commit}: "):
            former = self.make_request(tree.file(self.job))
            return execute_points(former, points, store, observer)

    def note(self, executions: Sequence[Execution]) -> None:
        """Note executions as what this commit has.

        Raises:
            RunError: the store takes no more.
        """
        keys = [each.key for each in executions]
        note_results(self.store, self.commit.digest, self._command(self.job), keys)

    def _command(self, job: Path | None) -> Mapping[str, Any]:
        """The command as it is written, wherever the repository lies, whatever is in the job."""
        described = self.make_request(job).describe()
        if job is not None:
            for name in ("job", "job_directory", "trace"):
                described.pop(name, None)
            described["file"] = self.commit.relative(job) or str(job.resolve())
        return described
