# SPDX-License-Identifier: GPL-2.0-or-later
"""Gate as `freezingtime gate` does: with progress, messages and an exit status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.guest.run import job_script
from freezingtime.cli.results.compare import EXIT_FAILED_IF, present
from freezingtime.cli.results.sweep import make_request
from freezingtime.cli.results.sweep_display import Display
from freezingtime.errors import InputError
from freezingtime.explore.gate.candidate import Execution
from freezingtime.explore.gate.commit import find_commit
from freezingtime.explore.gate.gate import Gate, GateSettings
from freezingtime.explore.sweep.request import SweepRequest
from freezingtime.host.foreign_text import say
from freezingtime.results.exports.formats import Output
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.simulate.options import ReplayOptions

EXIT_NOT_COMPARABLE = 3

_REASONS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class GateSubject:
    """A job or a replay to gate, as the command line has it."""

    command: Sequence[str]
    script: Path | None
    job: Path | None
    workload: str | None
    trace: Path | None
    options: RunOptions
    replays: ReplayOptions

    @property
    def file(self) -> Path | None:
        """The file or directory that the job is in."""
        return self.script or self.job or self.trace

    def request_with(self, file: Path | None) -> SweepRequest:
        """Make its request, with the job in another place.

        Raises:
            InputError: it is no job and no replay, or several.
        """
        script, job, trace = (each and file for each in (self.script, self.job, self.trace))
        chosen = job_script(self.command, script, job)
        if chosen == Command() and self.workload is None and trace is None:
            raise InputError(
                "give a COMMAND behind '--', --script FILE or --job DIR; or --trace FILE or "
                "--workload LINE"
            )
        return make_request(chosen, job, self.workload, trace, self.options, self.replays)


def run_gate(
    subject: GateSubject,
    settings: GateSettings,
    baseline: Path | str,
    outputs: Sequence[Output],
    *,
    update: bool,
    quiet: bool,
) -> int:
    """Gate a job or a replay, or make it the baseline: a path, or the name of a commit.

    Raises:
        InputError: something is not right, or there is no such baseline.
        RunError: a run failed, or its figures are not valid.
    """
    where = find_commit(baseline, subject.file or Path()) if isinstance(baseline, str) else baseline
    with ReplayProgress(quiet=quiet) as progress:
        display = Display(progress)

        def executed(who: str, found: Sequence[Execution]) -> None:
            if not quiet:
                progress.notify(_execution_text(who, found))

        with _naming_trace_format():
            gate = Gate(
                subject.request_with, subject.file, settings, display, executed, progress.notify
            )
            if update:
                gate.update(where)
                say(f"{where} is the baseline now")
                return 0
            judged, is_comparable = gate.judge(where)
    for reason in judged.refusals[:_REASONS_SHOWN]:
        say(reason)
    if (left_out := len(judged.refusals) - _REASONS_SHOWN) > 0:
        say(f"{left_out} more; --format json lists all")
    present([judged], outputs)
    if not is_comparable:
        return EXIT_NOT_COMPARABLE
    return 0 if judged.has_passed else EXIT_FAILED_IF


@contextmanager
def _naming_trace_format() -> Iterator[None]:
    """Call the option of a trace's format as it is called here, where `--format` is another."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace("--format", "--trace-format")) from error


def _execution_text(who: str, found: Sequence[Execution]) -> str:
    run = sum(not each.is_cached for each in found)
    if len(found) > 1:
        return f"{who}: {len(found)} phases, {run} of them run, the others found in the store"
    return f"{who} was {'run' if run else 'found in the store'}: {found[0].path}"
