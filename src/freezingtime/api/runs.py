# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.run`` and ``tune``: one job in a guest, as the commands of the same names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from freezingtime.api.event_loop import run_outside_event_loop
from freezingtime.api.keywords import with_fields_of
from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import LineObserver, ProgressLine
from freezingtime.api.result import Result, warn
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.run import run as run_plan
from freezingtime.runs.script import Command, file_script
from freezingtime.runs.tuning.client import tune_run
from freezingtime.runs.tuning.messages import Tuned
from freezingtime.vm.job import directory_script

#: What is run: shell text, a command and its arguments, or the path of a script or directory.
Job: TypeAlias = str | Sequence[str] | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class RunArguments(RunOptions):
    """The arguments of :func:`run`: what is run, and how."""

    job: Job = "true"
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_fields_of(RunArguments)
def run(arguments: RunArguments) -> Result:
    """Run a job in the guest, whose disks are these; return when it has ended.

    ``job`` is shell text, which may have several lines; or a command and its arguments in a
    list, behind the entrypoint of a container's image (an empty one: what the image has);
    or a :class:`~pathlib.Path` of a script, or of a directory with a program ``run``. The
    other arguments are the options of ``freezingtime run`` (``start_from`` is ``--from``); guest
    and memory are ``mini`` and 512MiB unless they are named or ``start_from`` brings others.
    Without ``out``, the run's directory is a temporary one that is removed with the result.

    A job that fails is a result, too: look at :attr:`Result.exit_status`, and at
    :attr:`Result.valid`, before its figures.

    ``progress``: show a line on stderr; None: on a terminal and in a notebook.

    Raises:
        InputError: the run cannot be made; the text names the option.
        RunError: the run failed; GuestError and TimeLimitError are more specific.
    """
    script, job_directory = job_of(arguments.job)
    output = OutputPath(arguments.out)
    plan = make_plan(
        replace(arguments, out=output.path),
        script=script,
        job_directory=job_directory,
    )
    with ProgressLine(arguments.progress) as line, LineObserver(line, plan.expected_ns) as observer:
        run_outside_event_loop(
            lambda: run_plan(plan, observer, is_tunable=True), observer.cancelled.set
        )
    stderr = observer.stderr.decode(errors="replace")
    return Result(open_recorded_run(output.path, warn), output=output, stderr=stderr)


@plain_errors
def tune(run: str | os.PathLike[str], *changes: str) -> Tuned:
    """Change parameters of the devices of a run in progress from now on.

    ``run`` is the ``out`` of a run that another thread or process has started: ``freezingtime
    run``, ``freezingtime shell``, :func:`run`. Each of ``changes`` is ``"write=80us"``, with the
    disk's name before it if there are several: ``"data.write=80us"``.

    Returns the change as the argument ``at`` of :func:`run` takes it, with the guest time from
    which it counts (:attr:`Tuned.at`), and what can change (:attr:`Tuned.values`); without changes,
    only that.

    Raises:
        InputError: there is no such run in progress, or no such change.
        RunError: the run does not answer, or ended meanwhile.
    """
    return tune_run(Path(run), changes)


def job_of(job: Job) -> tuple[bytes | Command, Path | None]:
    """The script, and the directory that goes with it."""
    if isinstance(job, os.PathLike):
        path = Path(job)
        return (directory_script(path), path) if path.is_dir() else (file_script(path), None)
    if not isinstance(job, str):
        return Command(tuple(job)), None
    return job.encode() if job.startswith("#!") else Command(line=job), None
