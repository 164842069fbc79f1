# SPDX-License-Identifier: GPL-2.0-or-later
"""CPUs of the host."""

from __future__ import annotations

import os


def usable_cpu_count() -> int:
    """Return how many CPUs this process may use; all of them where the host does not say."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it, macOS does not
    return os.cpu_count() or 1 if affinity is None else len(affinity(0))
