# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that a process keeps is not found and cleared anew by the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Prints how many pages the kernel had to clear for three large blocks, each time anew.
_ALLOCATES = """
import resource
from freezingtime.host.memory.kept_memory import keep_freed_memory

def cleared() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * (24 << 20) for _ in range(3)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

cleared()
print(cleared())
keep_freed_memory()
cleared()
print(cleared())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_freed_memory_is_kept_for_what_is_allocated_next() -> None:
    command = [sys.executable, "-c", _ALLOCATES]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    given_back, kept = map(int, printed.split())
    assert given_back > 3 * 24 * 256 / 2
    assert kept < 100
