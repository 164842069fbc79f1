# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's clock by itself: what threads read that do not set it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT

HARNESS = Path(__file__).parent / "time_harness.c"
#: What is set takes turns of 7 numbers of CPUs and 2 rates; this many pass through all of them.
SETTINGS = 14 * 1000


def run(program: Path, way: str, *flags: str) -> tuple[int, int]:
    """The clock's shortest step, and where it ends, in ns."""
    sources = [HARNESS, AGENT_DIRECTORY / "ours/time/time.c"]
    command = [require_tool("gcc"), *STRICT, *flags, "-o", program, *sources, "-lpthread"]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    ran = subprocess.run(
        [program, way, str(SETTINGS)],
        capture_output=True,
        text=True,
        timeout=END_DEADLINE_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    least_ns, last_ns = map(int, ran.stdout.split())
    return least_ns, last_ns


def test_what_is_set_within_a_reading_counts_from_there_on(tmp_path: Path) -> None:
    """A million instructions of the CPUs at once, at the new rate, and not at the old one."""
    least_ns, last_ns = run(tmp_path / "time", "within")
    assert least_ns == 1_000_000 // 7 // 4
    steps = [1_000_000 // (1 + n % 7) // (1 if n % 2 else 4) for n in range(14)]
    assert last_ns == 1_000_000_000 + sum(steps) * SETTINGS // 14


def test_threads_that_set_and_read_do_not_race(tmp_path: Path) -> None:
    least_ns, last_ns = run(tmp_path / "time", "threads", "-g", "-fsanitize=thread", "-Wno-tsan")
    assert least_ns >= 0
    skipped_ns, executed = 100 * SETTINGS, 1000 * SETTINGS
    assert 0 <= last_ns - 1_000_000_000 - skipped_ns <= executed
