# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the host that images are built with: run to their end, and never left behind.

Each runs in a process group of its own, with whatever it starts. The group's leader is a shell
that reads from a pipe which only this process holds open: when this process ends, killed or not,
the shell reads its end and kills the group. (A parent-death signal would reach the program
itself, not its children, and would be sent when the thread ends that started it.)
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from freezingtime.errors import RunError

_DEADLINE_S = 600.0
#: Deaf to what ends or stops a terminal's jobs, as it has yet to end the group then.
_GUARD = 'trap "" HUP INT QUIT TERM; read -r _; kill -KILL 0'


def run_tool(
    arguments: Iterable[str],
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    check: bool = True,
    timeout_s: float = _DEADLINE_S,
    name: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command, without input, to its end; ``name`` is what messages call it.

    Nothing that it starts outlives it, or us.

    Raises RunError when it takes longer than ``timeout_s``, or fails and ``check`` is set.
    """
    command = list(arguments)
    with (
        _guarded_group() as group,
        subprocess.Popen(
            command,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=group,
        ) as tool,
    ):
        try:
            output, errors = tool.communicate(timeout=timeout_s)
        except BaseException as error:
            os.killpg(group, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise RunError(
                f"{name or command[0]} did not end within {timeout_s:g} s: try again"
            ) from error
    result = subprocess.CompletedProcess(command, tool.returncode, output, errors)
    if check and result.returncode != 0:
        raise tool_failure(command, result, name)
    return result


@contextmanager
def _guarded_group() -> Iterator[int]:
    """A process group; its members are killed when the block is left, or when we are gone."""
    with subprocess.Popen(
        ["sh", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as guard:
        try:
            yield guard.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(guard.pid, signal.SIGKILL)


def tool_failure(
    command: list[str], result: subprocess.CompletedProcess[str], name: str | None = None
) -> RunError:
    """Return the error of a command that failed: its last lines, and a cure."""
    lines = result.stderr.strip().splitlines()
    # apt, in mmdebstrap, begins with what is wrong, and goes on about it.
    wrong = [line for line in lines if line.startswith("E: ")] or lines[-1:]
    message = wrong[0] if wrong else f"exit status {result.returncode}"
    cure = "check its output, and try again"
    if is_out_of_space(result):
        cure = "free space, or set XDG_CACHE_HOME to a directory on a larger disk"
    return RunError(f"{name or ' '.join(command[:2])} failed ({message}): {cure}")


def is_out_of_space(result: subprocess.CompletedProcess[str]) -> bool:
    """Whether a command says that the disk is full."""
    output = result.stdout + result.stderr
    return "No space left" in output or "enough free space" in output
