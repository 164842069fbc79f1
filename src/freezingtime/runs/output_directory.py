# SPDX-License-Identifier: GPL-2.0-or-later
"""The output directory of a run: prepared, locked during the run, and its results."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from freezingtime.errors import InputError, RunError
from freezingtime.host.replaced_file import replaced
from freezingtime.runs.result import RunResult
from freezingtime.simulate.statistics_sampler import StatisticsSampler
from freezingtime.trace.record_paths import RECORD_NAME, stream_path
from freezingtime.trace.run_directory import (
    COLLECTED_DIRECTORY,
    DOCUMENT_NAME,
    STATISTICS_NAME,
    STDOUT_NAME,
    TUNE_SOCKET_NAME,
    locked_run_directory,
)


@contextlib.contextmanager
def prepared_directory(out: Path, *, collects: bool) -> Iterator[Callable[[], None]]:
    """The run's directory, with nothing in it of another run's; ours until the block is left.

    Yields what removes again all that was made for it, for a run that comes to nothing.
    """
    absent: list[Path] = []

    def remove() -> None:
        for path in absent:
            # Whatever else is there by now is somebody's.
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()

    with contextlib.ExitStack() as ours:
        try:
            absent += (path for path in (out / STDOUT_NAME, out, *out.parents) if not path.exists())
            out.mkdir(parents=True, exist_ok=True)
            ours.enter_context(locked_run_directory(out))
            _empty_directory(out, collects=collects)
        except OSError as error:
            raise cannot_write(out, error) from error
        yield remove


def _empty_directory(out: Path, *, collects: bool) -> None:
    if os.path.lexists(out / DOCUMENT_NAME):
        raise InputError(
            f"--out {out}: already contains a run; name another directory or remove it"
        )
    if collects and os.path.lexists(out / COLLECTED_DIRECTORY):
        raise InputError(
            f"--out {out}: holds {COLLECTED_DIRECTORY!r}, which --collect creates; "
            "name another directory or remove it"
        )
    # What a run before this one has left must not pass for this one's; and where somebody has put
    # a link, nothing is to be written to where it leads.
    stdout, record = out / STDOUT_NAME, out / RECORD_NAME
    others = (out / STATISTICS_NAME, out / TUNE_SOCKET_NAME)
    for left in (stdout, record, stream_path(record), *others):
        left.unlink(missing_ok=True)
    stdout.touch(exist_ok=False)


def cannot_write(out: Path, error: OSError) -> InputError:
    return InputError(f"--out {out}: not writable ({error.strerror}); name another directory")


def write_results(out: Path, result: RunResult, sampler: StatisticsSampler) -> None:
    try:
        if result.statistics:
            from freezingtime.trace.statistics_file import write_statistics

            write_statistics(out / STATISTICS_NAME, sampler.rows())
        with replaced(out / DOCUMENT_NAME) as file:
            file.write(json.dumps(result.as_dict(), indent=2).encode() + b"\n")
    except OSError as error:
        raise RunError(
            f"cannot write the results to {out}: {error.strerror or error}; "
            "free space, or name another --out"
        ) from error
