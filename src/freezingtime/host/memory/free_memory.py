# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of the host that is free for what is about to be read or made."""

from __future__ import annotations

import re
from pathlib import Path

from freezingtime.units import MAX_VALUE

_MEMINFO = Path("/proc/meminfo")
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
# Of a container, whose limit may be below what the host has.
_CGROUP = Path("/sys/fs/cgroup")


def free_memory_bytes() -> int:
    """Return the bytes available without swapping; no limit if the host reports none."""
    return min(_available_bytes(), _cgroup_bytes())


def _available_bytes() -> int:
    try:
        match = _AVAILABLE.search(_MEMINFO.read_text())
    except OSError:
        return MAX_VALUE  # no Linux, or a host that hides it
    return MAX_VALUE if match is None else int(match[1]) << 10


def _cgroup_bytes() -> int:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = (_CGROUP / "memory.current").read_text().strip()
    except OSError:
        return MAX_VALUE  # the root of all, or version 1
    return MAX_VALUE if limit == "max" else max(0, int(limit) - int(used))
