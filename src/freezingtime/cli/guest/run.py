# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime run`: one job in a guest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.guest.progress import RunProgress
from freezingtime.cli.options import AllowCodeOption, JobOption, ScriptOption, command_app
from freezingtime.cli.output.json_stream import print_document
from freezingtime.errors import InputError, RunError
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument, Option
from freezingtime.report.discard_notice import discard_notices
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.result import RunResult
from freezingtime.runs.run import run
from freezingtime.runs.script import Command, file_script
from freezingtime.units import format_time_ns
from freezingtime.vm.job import directory_script

EXIT_INVALID = 3

#: How many complaints of one kind are shown.
_FIGURES_MAX = 10
_LINES_MAX = 3


@takes_options(
    then={
        **{"script": "disks", "job": "script"},
        **{"as_json": "out", "allow_late": "as_json", "quiet": "boot"},
    }
)
def run_command(
    command: Annotated[
        Sequence[str],
        Argument(
            "-- COMMAND",
            "Command to run in the guest, with its arguments; a single argument with "
            "spaces is a shell command line. In a container image: the arguments of its "
            "entrypoint. Default: the image's own.",
        ),
    ] = (),
    script: ScriptOption = None,
    job: JobOption = None,
    *,
    options: RunOptions,
    as_json: Annotated[
        bool,
        Option("", "Print one JSON document instead, with the job's output in it.", flag="--json"),
    ] = False,
    allow_late: Annotated[
        bool, Option("", "Exit with 0 even if the results are not valid (instead of 3).")
    ] = False,
    quiet: Annotated[
        bool, Option("", "Suppress progress and summary on stderr.", short="-q")
    ] = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Run a command in a guest whose disks are the devices you name.

    The first disk is `/dev/vda`, the second `/dev/vdb`; by name they are
    `/dev/disk/by-id/virtio-NAME` (`scsi-NAME`, `ata-NAME` or `nvme-NAME` with another frontend).
    The job's output goes to stdout unchanged; progress and summary go to stderr.

    The exit status is the job's; 1: something failed; 2: bad input; 3: the job ended with 0, but
    its results are not valid; 4: the guest died or never became ready; 124: a time limit was
    reached.

    Example: `freezingtime run --disk constant:100us,delay=3ms -- fio --name=t
    --filename=/dev/vda --direct=1 --rw=randread --number_ios=1000 --size=1g`
    """
    plan = make_plan(
        options,
        script=job_script(command, script, job),
        job_directory=job,
    )
    with RunProgress(quiet=quiet, forward_output=not as_json) as progress:
        try:
            result = run(plan, progress)
        except RunError as error:
            if as_json:
                # Why it failed, and what the job had printed by then.
                _print_document({"error": str(error)}, progress)
            raise
    if as_json:
        _print_document(result.as_dict(), progress)
    if not quiet:
        _print_summary(result)
    if result.job.exit_status:
        return result.job.exit_status
    return 0 if result.valid or allow_late else EXIT_INVALID


def _print_document(document: Mapping[str, Any], progress: RunProgress) -> None:
    """With what the job has printed."""
    print_document(document, {"stdout": progress.stdout, "stderr": progress.stderr}, sys.stdout)


def job_script(command: Sequence[str], script: Path | None, job: Path | None) -> bytes | Command:
    """Return the job of a command line: its command, or the text of its script.

    Raises:
        InputError: several are given, or one cannot be read.
    """
    if bool(command) + (script is not None) + (job is not None) > 1:
        raise InputError("give one of: a COMMAND behind '--', --script FILE, --job DIR")
    if job is not None:
        return directory_script(job)
    if script is not None:
        return file_script(script)
    if len(command) == 1 and len(command[0].split()) > 1:
        return Command(line=command[0])
    return Command(tuple(command))


def _print_summary(result: RunResult) -> None:
    job, totals = result.job, result.totals
    guest_ns = job.end_ns - job.start_ns
    on_time = totals.request_count - totals.late_count
    verdict = "exact" if result.on_time else "NOT EXACT"
    lines = [
        f"{verdict}: {on_time} of {totals.request_count} requests on time",
        f"guest time {format_time_ns(guest_ns)}, real time {job.host_s:.2f} s, "
        f"frozen {totals.frozen_host_ns / 1e9:.2f} s, "
        f"warped {format_time_ns(totals.warped_ns)}, exit status {job.exit_status}",
    ]
    if not result.on_time:
        lines.append(f"the latest request was {format_time_ns(totals.worst_late_ns)} late")
    if totals.disturbed_ns is not None:
        lines.append(
            f"NOT VALID: at guest time {format_time_ns(totals.disturbed_ns)} an interrupt reached "
            "the guest that was of the host's making, and came at a time of the host's"
        )
    lines += [f"NOT VALID: kernel message: {line}" for line in job.complaints[:_LINES_MAX]]
    for disk, statistics in result.statistics.items():
        lines += discard_notices(disk, statistics)
    lines += [f"app.{figure}" for figure in result.said.figures[:_FIGURES_MAX]]
    if (more := len(result.said.figures) - _FIGURES_MAX) > 0:
        lines.append(f"{more} more figures of the application; run.json has all")
    lines += result.said.notes
    if result.plan.collect:
        lines.append(f"collected {len(result.collected)} files")
        lines += [
            f"not collected, not a file: {name}" for name in result.not_collected[:_LINES_MAX]
        ]
    if result.plan.save_as is not None:
        saved = "" if job.exit_status == 0 else "not "
        lines.append(f"{saved}saved as {result.plan.save_as}")
    if result.plan.out is not None:
        lines.append(f"results in {result.plan.out}")
    for line in lines:
        say(line)


# What follows COMMAND is COMMAND's own, as with sudo or env.
app = command_app(run_command, allow_interspersed_args=False)
