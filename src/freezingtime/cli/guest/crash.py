# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime crash`: what a power cut does to what a job has written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from freezingtime.cli.declared_options import Only, takes_options
from freezingtime.cli.guest.run import job_script
from freezingtime.cli.options import (
    AllowCodeOption,
    JobOption,
    JsonOption,
    ScriptOption,
    command_app,
)
from freezingtime.cli.output.json_stream import print_json
from freezingtime.errors import InputError
from freezingtime.explore.crash.choices import (
    CHECK_LIMIT,
    DEPTHS,
    EXHAUSTIVE_MOST,
    FORMS,
    MACHINE_OPTIONS,
    SAMPLED,
    VALUE_WORDS,
)
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument, Option
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command, file_script
from freezingtime.units import counted, format_size_bytes, format_time_ns

if TYPE_CHECKING:
    from freezingtime.cli.guest.crash_progress import CrashProgress
    from freezingtime.explore.crash.explored import Explored
    from freezingtime.explore.crash.request import CrashRequest
    from freezingtime.trace.explored.crash_files import CrashFailure, CrashSummary, LostWrite

EXIT_FAILED_STATES = 5

_OUT = Path("crash-results")
_LOST_SHOWN = 5
_MACHINE = Only(MACHINE_OPTIONS)


@takes_options(then={"script": "disks", "job": "script"})
def crash(
    command: Annotated[
        Sequence[str],
        Argument(
            "-- COMMAND",
            "Job: a command with its arguments; a single argument with spaces is a shell command "
            "line.",
        ),
    ] = (),
    script: ScriptOption = None,
    job: JobOption = None,
    *,
    options: Annotated[RunOptions, _MACHINE],
    points: Annotated[str, Option("POINTS", f"When the power is cut: {FORMS}.")] = "all-flushes",
    since: Annotated[
        str | None,
        Option("PATTERN", "Cut the power only when the job has printed this, as of then."),
    ] = None,
    until: Annotated[
        str | None,
        Option("PATTERN", "And only before it prints this, behind what `--since` names."),
    ] = None,
    states: Annotated[
        int | None,
        Option(
            "NUMBER",
            f"Limit of states of one point. Default: all if they are at most {EXHAUSTIVE_MOST}, "
            f"else {SAMPLED} that are chosen by `--seed`.",
            minimum=1,
        ),
    ] = None,
    values: Annotated[
        str,
        Option(
            "VALUES",
            "What a write that is not durable may leave beside old and new data, as a list: "
            f"{','.join(VALUE_WORDS)}.",
        ),
    ] = "",
    depth: Annotated[
        int,
        Option(
            "1|2",
            "2: the power is cut a second time, while a guest recovers from the first one.",
            minimum=DEPTHS[0],
            maximum=DEPTHS[-1],
        ),
    ] = 1,
    check: Annotated[
        str | None,
        Option(
            "LINE",
            "Shell command line that checks a recovered guest; it is good if it exits with 0. "
            "Default: the disks' file systems are checked, and that what the job acknowledged is "
            "there.",
        ),
    ] = None,
    check_script: Annotated[
        Path | None, Option("FILE", "Instead of `--check`: a script from the host.")
    ] = None,
    check_limit: Annotated[
        str, Option("TIME", "Guest time that a check may take; one that takes longer has failed.")
    ] = CHECK_LIMIT,
    workers: Annotated[
        int | None,
        Option("NUMBER", "How many recoveries run at once. Default: one for each core.", minimum=1),
    ] = None,
    out: Annotated[
        Path,
        Option("DIR", "Write the results to DIR; an exploration that is there is continued."),
    ] = _OUT,
    replay_failure: Annotated[
        int | None,
        Option(
            "NUMBER",
            "Instead of COMMAND: recover once more from the disks of a failure in `--out`.",
            flag="--replay",
            minimum=1,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: Annotated[
        bool, Option("", "Suppress progress and summary on stderr.", short="-q")
    ] = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Cut the power of the disks while a job runs, and check what is left.

    The job runs once, with its writes recorded. Each state that a power cut could have left on the
    disks is derived from that, and a guest is started on it, which recovers and is checked. States
    that differ only in what that did not read are one.

    The exit status is 0 if every check passed, 5 if one failed; 1: something went wrong; 2: bad
    input; 4: the guest of the job died; 124: a time limit of the job was reached.

    Example: `freezingtime crash --disk constant:100us,size=64MiB,mount=/data -- 'cd /data; echo
    paid >order; sync; echo ACK order'`
    """
    from freezingtime.cli.guest.crash_progress import CrashProgress
    from freezingtime.cli.guest.progress import RunProgress
    from freezingtime.explore.crash.request import CrashRequest

    with RunProgress(quiet=quiet, forward_output=False) as progress:
        observer = CrashProgress(progress, quiet=quiet)
        if replay_failure is not None:
            if command or script or job:
                raise InputError("--replay: has the job of its exploration; leave out COMMAND")
            return _replay(out, replay_failure, observer, as_json=as_json)
        request = CrashRequest(
            options=replace(options, out=None),
            job=job_script(command, script, job),
            job_directory=job,
            check=_check(check, check_script),
            check_limit=check_limit,
            points=points,
            since=since,
            until=until,
            states=states,
            values=[value for value in values.split(",") if value],
            depth=depth,
        )
        return _explore(request, out, workers, observer, as_json=as_json, quiet=quiet)


def _check(line: str | None, script: Path | None) -> bytes | Command | None:
    if line is not None and script is not None:
        raise InputError("give one of: --check LINE, --check-script FILE")
    if script is not None:
        return file_script(script, "--check-script")
    if line is not None and not line.strip():
        raise InputError("--check: is empty; write a shell command line")
    return None if line is None else Command(line=line)


def _explore(
    request: CrashRequest,
    out: Path,
    workers: int | None,
    observer: CrashProgress,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from freezingtime.explore.crash.explored import explore

    explored = explore(request, out, workers, observer)
    failures = explored.failures
    if as_json:
        print_json(
            {
                "summary": asdict(explored.summary),
                "recoveries": explored.recoveries and asdict(explored.recoveries),
                "failures": [{**asdict(one), "replay": _replay_line(out, one)} for one in failures],
            }
        )
    elif not quiet:
        _say_summary(explored, out)
    return EXIT_FAILED_STATES if failures else 0


def _replay(out: Path, number: int, observer: CrashProgress, *, as_json: bool) -> int:
    from freezingtime.explore.crash.cut_recoveries import CutRecoveries
    from freezingtime.explore.crash.directory import ExplorationDirectory
    from freezingtime.explore.crash.explore import open_exploration
    from freezingtime.explore.crash.failures import replay, write_images
    from freezingtime.explore.crash.request import CrashRequest
    from freezingtime.explore.crash.states import Fate

    with ExplorationDirectory(out, is_new=False) as directory:
        document: dict[str, Any] = directory.read_failure(number)
        identity = directory.read_identity()
        try:
            fates = [Fate[str(value).upper()] for value in document["values"]]
            request = CrashRequest.of_identity(identity, fates)
        except (KeyError, TypeError) as error:
            raise InputError(f"{out}: is damaged; explore again") from error
        with (
            open_exploration(request, directory, observer) as exploration,
            CutRecoveries(exploration, directory.scratch_path) as cut,
        ):
            candidate, outcome = replay(exploration, cut, number)
            images = write_images(exploration, candidate, number)
    if as_json:
        print_json({**asdict(outcome), "images": list(images)})
    else:
        say("passed" if outcome.passed else f"failed: {outcome.reason}")
        for line in (*outcome.output, *outcome.console):
            say(f"  {line}")
        for path in images:
            say(f"disk: {path}")
    return 0 if outcome.passed else EXIT_FAILED_STATES


def _say_summary(explored: Explored, out: Path) -> None:
    summary = explored.summary
    if not summary.is_exact:
        say("NOT EXACT: the job's run was not; another one may write at other times")
    if not summary.flushes:
        say("the job never flushed its disks: nothing that it wrote had to survive")
    for failure in explored.failures:
        _say_failure(failure, out)
    say(_counts(summary))
    if explored.recoveries is not None:
        say(f"in recoveries: {_counts(explored.recoveries)}")
    say(f"results in {out}")


def _counts(summary: CrashSummary) -> str:
    return (
        f"{counted(summary.points, 'point')}, {counted(summary.possible, 'state')} possible, "
        f"{summary.derived} derived, "
        f"{summary.unique} unique, {summary.run} run, {summary.pruned} like one that was run"
        + (f", {summary.known} known" if summary.known else "")
        + (f", {summary.unlike} failed only after others" if summary.unlike else "")
        + f", {summary.failed} failed"
    )


def _say_failure(failure: CrashFailure, out: Path) -> None:
    when = format_time_ns(failure.since_start_ns)
    say(f"failure {failure.number}: {failure.reason}")
    if (first := failure.recovery_of) is not None:
        first_when = format_time_ns(first.since_start_ns)
        before = first.point.before
        say(f"  the power is cut {first_when} after the start of the job, before {before}")
        _say_lost(first.lost)
        say(f"  and again {when} after the start of the recovery, before {failure.point.before}")
    else:
        say(f"  the power is cut {when} after the start of the job, before {failure.point.before}")
    say(f"  {_kept_line(failure)}")
    _say_lost(failure.lost)
    for path in failure.images:
        say(f"  disk: {path}")
    say(f"  replay: {_replay_line(out, failure)}")


def _kept_line(failure: CrashFailure) -> str:
    count = failure.undecided_pieces
    if failure.lost:
        were = "was" if count == 1 else "were"
        return f"of {counted(count, 'piece')} that {were} not durable, lost:"
    if not count:
        return "nothing could be lost: all that was written was durable"
    if count == 1:
        return "the one piece that was not durable is kept"
    return f"all {count} pieces that were not durable are kept"


def _say_lost(lost: Sequence[LostWrite]) -> None:
    for write in lost[:_LOST_SHOWN]:
        say(
            f"    {write.pieces} of {write.of_pieces} pieces of a write to {write.disk}, "
            f"{format_size_bytes(write.length_bytes)} at {write.offset_bytes}: {write.fate}"
            + (f" ({'; '.join(write.holds)})" if write.holds else "")
        )
    if len(lost) > _LOST_SHOWN:
        say(f"    and of {len(lost) - _LOST_SHOWN} more writes")


def _replay_line(out: Path, failure: CrashFailure) -> str:
    return shlex.join(["freezingtime", "crash", "--out", str(out), "--replay", str(failure.number)])


# What follows COMMAND is COMMAND's own, as with sudo or env.
app = command_app(crash, allow_interspersed_args=False)
