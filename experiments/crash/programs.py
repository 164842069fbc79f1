# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs and scripts in a job's directory: the mini guest has few."""

from __future__ import annotations

from pathlib import Path

from freezingtime.errors import RunError
from freezingtime.explore.crash.lost.host_program import bring_program, find_host_program


def bring(name: str, job: Path) -> None:
    """Put a program of the host into a job's directory; it starts as ``/job/NAME``.

    Raises:
        RunError: it is not installed.
    """
    bring_program(find(name), job)


def find(name: str) -> str:
    """The path of a program of the host.

    Raises:
        RunError: it is not installed.
    """
    program = find_host_program(name)
    if program is None:
        raise RunError(f"{name} is not installed")
    return program


def write_script(path: Path, text: str) -> None:
    """Write a script that can be executed."""
    path.write_text(text)
    path.chmod(0o755)
