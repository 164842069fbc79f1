# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for what a power cut took: a guest looks at the disk as it would be had nothing been lost.

There the files are whose parts were on their way. The tool that knows the file system runs in the
guest, and never on the host: what a guest has written is not to be trusted.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from freezingtime.disk.disk import Disk
from freezingtime.errors import RunError
from freezingtime.explore.crash.lost.ext4 import (
    BLOCKS_MOST,
    Answers,
    block_bytes_of,
    blocks_of,
    inodes_to_name,
    owners_of,
    questions_about_blocks,
    questions_about_inodes,
    read_layout,
)
from freezingtime.explore.crash.lost.host_program import bring_program, find_host_program
from freezingtime.runs.options import RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.progress.observer import RunObserver
from freezingtime.runs.run import run
from freezingtime.trace.run_directory import STDOUT_NAME
from freezingtime.vm.job import directory_script

_TOOL = "debugfs"
_DISK = "lost"
_LIMIT = "60s"
# The journal is replayed first, as by a mount; what it repairs is in a layer that is forgotten.
_JOB = f"""#!/bin/sh
disk=/dev/disk/by-id/virtio-{_DISK}
e2fsck -p "$disk" >/dev/null 2>&1
./{_TOOL} -f questions "$disk" 2>/dev/null
exit 0
"""

Span = tuple[int, int]
"""Offset and length of what was lost, in bytes."""


def name_ext4(
    image: Path, spans: Sequence[Span], options: RunOptions, scratch: Path
) -> list[tuple[str, ...]] | None:
    """Return what each span of an image holds; None where nothing can tell.

    ``options`` are of the guest that looks; ``scratch`` is a directory for files.

    Raises:
        RunError: the guest that looks failed.
    """
    tool = find_host_program(_TOOL)
    with image.open("rb") as file:
        block_bytes = block_bytes_of(file.read(2048))
    if tool is None or block_bytes is None:
        return None
    job = scratch / "names-job"
    try:
        job.mkdir()
        bring_program(tool, job)
        (job / "run").write_text(_JOB)
        (job / "run").chmod(0o755)
        blocks = sorted({block for span in spans for block in blocks_of(*span, block_bytes)})
        blocks = blocks[:BLOCKS_MOST]
        of_blocks = _ask(["stats", *questions_about_blocks(blocks)], job, image, options, scratch)
        layout = read_layout(of_blocks)
        if layout is None or layout.block_bytes != block_bytes:
            return None
        inodes = sorted(inodes_to_name(layout, blocks, owners_of(of_blocks)))
        of_inodes = _ask(questions_about_inodes(inodes), job, image, options, scratch)
    except OSError as error:
        raise RunError(f"cannot write to {scratch}: {error.strerror}; free space") from error
    finally:
        shutil.rmtree(job, ignore_errors=True)
    answers = Answers.read(layout, of_blocks, of_inodes)
    return [answers.contents(*span) for span in spans]


def _ask(
    questions: Iterable[str], job: Path, image: Path, options: RunOptions, scratch: Path
) -> str:
    """Have a guest ask the tool; return what it says."""
    (job / "questions").write_text("".join(f"{question}\n" for question in questions))
    out = scratch / "names-run"
    shutil.rmtree(out, ignore_errors=True)
    looking = dataclasses.replace(
        options,
        disks=(Disk("constant:10us", file=image, name=_DISK, format="raw"),),
        out=out,
        time_limit=_LIMIT,
        real_time_limit=None,
    )
    run(make_plan(looking, script=directory_script(job), job_directory=job), RunObserver())
    return (out / STDOUT_NAME).read_text(errors="replace")
