# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime worker`: points of an enqueued sweep, on this machine beside others."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from freezingtime.cli.options import AllowCodeOption, QuietOption, command_app
from freezingtime.errors import InputError
from freezingtime.host.foreign_text import say
from freezingtime.option import Argument, Option
from freezingtime.units import Limits, parse_option, parse_time_ns

_LEASE = "60s"
_LEASE_LIMITS = Limits(10**9, 86_400 * 10**9, "from 1s to 86400s")


def worker_command(
    directory: Annotated[Path, Argument("DIR", "The directory of an enqueued sweep.")],
    *,
    workers: Annotated[
        str,
        Option("NUMBER", "How many points run at once here. `auto`: as `sweep` has it."),
    ] = "auto",
    lease: Annotated[
        str,
        Option(
            "TIME",
            "After this much real time without a sign of life of this worker, others run its "
            "points.",
        ),
    ] = _LEASE,
    quiet: QuietOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """Run points of a sweep that `freezingtime sweep --enqueue` has enqueued.

    Start as many as there are machines, in any order and at any time: each takes points that
    nobody else is at work on, until all have been run. The last one writes the table. If one dies,
    the others run its points.

    The machines share DIR, and the files that the sweep names, at the same places beside it. A
    point that failed is in the table; the exit status is 0 all the same.

    Example: `freezingtime worker sweep-results`
    """
    from freezingtime.cli.device.replay_progress import ReplayProgress
    from freezingtime.explore.sweep.cluster.work import work_on
    from freezingtime.explore.sweep.cluster.work_queue import read_queue, require_same_code

    wanted, lease_s = _workers(workers), _lease_s(lease)
    queue = read_queue(directory)
    require_same_code(queue)
    try:
        os.chdir(queue.directory)
    except OSError as error:
        raise InputError(
            f"{directory}: was enqueued in {queue.directory} ({error.strerror}): share that, too, "
            "at the same place beside it"
        ) from error
    queue.store.refuse_if_no_directory()
    with ReplayProgress(quiet=quiet) as show:
        progress = work_on(
            queue,
            workers=wanted,
            lease_s=lease_s,
            observe=lambda progress: show(str(progress), 0, 0),
        )
    if not quiet:
        count = progress.points
        all_have = "the only point has" if count == 1 else f"all {count} points have"
        say(f"{all_have} been run, {progress.executed} here, {progress.failed} failed here")
    return 0


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise InputError(f"--workers {text}: write a number from 1 to 9999, or auto")
    return int(text)


def _lease_s(text: str) -> float:
    return parse_option("--lease", text, parse_time_ns, _LEASE_LIMITS) / 1e9


app = command_app(worker_command)
