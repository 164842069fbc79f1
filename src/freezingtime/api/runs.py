# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.run``: one job in a guest, as the command of the same name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from freezingtime.api.disk import Disk, disk_text
from freezingtime.api.event_loop import outside_of_event_loops
from freezingtime.api.place import Place
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import Line, LineObserver
from freezingtime.api.result import Result, warn
from freezingtime.results.recorded_run import open_recorded_run
from freezingtime.runs.options import (
    BOOT_DEADLINE,
    COLLECT_LIMIT,
    CPU_RATE,
    MEDIUM_DEADLINE,
    command_script,
    file_script,
    make_plan,
    shell_script,
)
from freezingtime.runs.run import run as run_plan
from freezingtime.vm.job import directory_script


@plain_errors
def run(
    disks: Sequence[Disk | str] = (),
    job: str | Sequence[str] | os.PathLike[str] = "true",
    *,
    guest: str | None = None,
    kernel: str | os.PathLike[str] | None = None,
    initrd: str | os.PathLike[str] | None = None,
    append: str | None = None,
    allow_backing: Sequence[str | os.PathLike[str]] = (),
    root_device: str | None = None,
    collect: Sequence[str] = (),
    collect_limit: str = COLLECT_LIMIT,
    time_limit: str | None = None,
    real_time_limit: str | None = None,
    cpu_rate: str = CPU_RATE,
    memory: str | None = None,
    cpus: int | None = None,
    seed: int = 0,
    boot: bool = False,
    start_from: str | None = None,
    save: str | None = None,
    medium_deadline: str = MEDIUM_DEADLINE,
    boot_deadline: str = BOOT_DEADLINE,
    qemu: str | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Result:
    """Run a job in the guest, whose disks are these; return when it has ended.

    ``job`` is shell text, which may have several lines; or a command and its arguments in a
    list; or a :class:`~pathlib.Path` of a script, or of a directory with a program ``run``. The
    other arguments are the options of ``freezingtime run`` (``start_from`` is ``--from``); guest
    and memory are ``mini`` and 512MiB unless they are named or ``start_from`` brings others.
    Without ``out``, the run's directory is a temporary one that is removed with the result.

    A job that fails is a result, too: look at :attr:`Result.exit_status`, and at
    :attr:`Result.valid`, before its figures.

    ``progress``: show a line on stderr; None: on a terminal and in a notebook.

    Raises:
        InputError: the run cannot be made; the text names the option.
        RunError: something failed on the way; GuestError and TimeLimitError say more.
    """
    script, job_directory = _script(job)
    place = Place(out)
    plan = make_plan(
        disks=[disk_text(disk) for disk in disks],
        script=script,
        job_directory=job_directory,
        guest=guest,
        kernel=None if kernel is None else Path(kernel),
        initrd=None if initrd is None else Path(initrd),
        append=append,
        allow_backing=[Path(directory) for directory in allow_backing],
        root_device=root_device,
        collect=collect,
        collect_limit=collect_limit,
        time_limit=time_limit,
        real_time_limit=real_time_limit,
        cpu_rate=cpu_rate,
        memory=memory,
        cpus=cpus,
        seed=seed,
        boot=boot,
        start_from=start_from,
        save=save,
        medium_deadline=medium_deadline,
        boot_deadline=boot_deadline,
        qemu=qemu,
        out=place.path,
    )
    with Line(progress) as line, LineObserver(line) as observer:
        outside_of_event_loops(lambda: run_plan(plan, observer), observer.cancelled.set)
    stderr = observer.stderr.decode(errors="replace")
    return Result(open_recorded_run(place.path, warn), place=place, stderr=stderr)


def _script(job: str | Sequence[str] | os.PathLike[str]) -> tuple[bytes, Path | None]:
    """The script, and the directory that goes with it."""
    if isinstance(job, os.PathLike):
        path = Path(job)
        return (directory_script(path), path) if path.is_dir() else (file_script(path), None)
    if not isinstance(job, str):
        return command_script(job), None
    return job.encode() if job.startswith("#!") else shell_script(job), None
