# SPDX-License-Identifier: GPL-2.0-or-later
"""Watching the guest kernel's console: a kernel that complains makes a run invalid.

A wrong interrupt or clock shows here first; figures from such a guest mean nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from freezingtime.errors import GuestError
from freezingtime.vm.capture import Capture

#: What the Linux kernel prints when something is wrong with it or its machine.
_COMPLAINT = re.compile(
    r"WARNING: (?:CPU|at|possible)"
    r"|\bBUG\b"
    r"|Oops"
    r"|Kernel panic"
    r"|[Ll]ockup"
    r"|LOCKUP"
    r"|detected stall"
    r"|self-detected stall"
    r"|clocksource.*unstable"
    r"|I/O error"
    r"|blocked for more than \d+ seconds"
    r"|general protection fault: "
    r"|unable to handle"
    r"|exc_debug"
)

#: What it prints of a disk that fails, or takes very long.
_DISK_ERROR = re.compile(
    r"I/O error"
    r"|critical (?:medium|target|space allocation|nexus) error"
    r"|blocked for more than \d+ seconds"
)

_COMPLAINTS_MAX = 1000
_LINE_BYTES_MAX = 4096
#: Printed by ``vm/guest/job-runner`` when its control disk is gone.
_CANNOT_REPORT = b"job-runner: cannot report: "
_TIMESTAMP = re.compile(r"^\[\s*\d+\.\d+\]\s*")


def complaints(console: Iterable[str], *, disks_may_fail: bool = False) -> list[str]:
    """The lines of a console on which the kernel complains, without their time stamps.

    The first ones: a guest may print without end. Where a disk fails on purpose, the kernel's
    complaints of disks are none.
    """
    lines = (line for line in console if _COMPLAINT.search(line))
    if disks_may_fail:
        lines = (line for line in lines if not _DISK_ERROR.search(line))
    return _first_lines(lines)


def disk_errors(console: Iterable[str]) -> list[str]:
    """The lines of a console on which the kernel complains of a disk; likewise the first ones."""
    return _first_lines(line for line in console if _DISK_ERROR.search(line))


def _first_lines(lines: Iterable[str]) -> list[str]:
    found = (_TIMESTAMP.sub("", line.strip()) for line in lines)
    return list(itertools.islice(found, _COMPLAINTS_MAX))


def is_panic(console: Iterable[str]) -> bool:
    """Whether the kernel has given up."""
    return any("Kernel panic" in line for line in console)


class ConsoleWatch:
    """Looks for what ends a run that would otherwise wait for ever, as the console grows."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, console: Capture) -> None:
        """Check the new output.

        Raises:
            GuestError: the job runner reports that it cannot reach the control disk.
            RunError: the console could not be kept.
        """
        while new := console.read_new():
            *lines, self._rest = (self._rest + new).split(b"\n")
            self._rest = self._rest[-_LINE_BYTES_MAX:]
            for line in lines:
                if line.startswith(_CANNOT_REPORT):
                    said = line.removeprefix(_CANNOT_REPORT).decode(errors="replace").strip()
                    raise GuestError(
                        "the guest lost its control disk and could not send "
                        f"{said!r}: the job must not touch the machine's own SCSI disk"
                    )
