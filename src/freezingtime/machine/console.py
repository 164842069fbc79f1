"""Watching the guest kernel's console: a kernel that complains makes a run invalid.

A wrong interrupt or clock shows here first; figures from such a guest mean nothing.
"""

from __future__ import annotations

import re

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

_TIMESTAMP = re.compile(r"^\[\s*\d+\.\d+\]\s*")


def complaints(console: str) -> list[str]:
    """The lines of a console on which the kernel complains, without their time stamps."""
    return [
        _TIMESTAMP.sub("", line.strip()) for line in console.splitlines() if _COMPLAINT.search(line)
    ]


def is_panic(console: str) -> bool:
    """Whether the kernel has given up."""
    return "Kernel panic" in console
