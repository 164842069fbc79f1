# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's table of translated blocks, between a program and a table of the program's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT

PROGRAM = Path(__file__).parent / "blocks_program.c"
SOURCES = [
    AGENT_DIRECTORY / source
    for source in ("qemu/cpus/blocks.c", "qemu/cpus/places.c", "ours/base.c")
]


def run(program: Path, *flags: str) -> dict[str, str]:
    """What was done: which block was found, how often the program's table was asked for it, and
    how many blocks were compared."""
    gcc = [require_tool("gcc"), *STRICT]
    agent = program.with_suffix(".so")  # one file has the table, and another the agent
    subprocess.run([*gcc, "-shared", "-fPIC", "-o", agent, *SOURCES], check=True)
    command = [*gcc, "-rdynamic", *flags, "-o", program, PROGRAM, agent]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    ran = subprocess.run(
        [program], capture_output=True, text=True, timeout=END_DEADLINE_S, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return dict(line.split(maxsplit=1) for line in ran.stdout.splitlines())


def test_what_was_found_is_found_again_until_it_is_invalid_or_forgotten(tmp_path: Path) -> None:
    assert run(tmp_path / "once") == {
        "found": "1 call",
        "first": "0 1 1",
        "again": "0 0 1",
        # Another hash at the same place is told by its other bits, without a look at the block.
        "same_place": "1 1 1",
        "replaced": "0 1 1",
        # The same hash: the block that is there is not wanted.
        "same_hash": "2 1 3",
        "back": "0 1 2",
        "invalid": "-1 1 3",
        "missing": "-1 1 0",
        "still_missing": "-1 1 0",
        "known": "2 1 3",
        "known_again": "2 0 1",
        "reset": "1 1",
        # Its memory may be another's by now: nobody looks at it before the table does.
        "forgotten": "2 1 2",
    }


def test_where_qemu_looks_up_in_other_ways_too_that_is_left_to_it(tmp_path: Path) -> None:
    did = run(tmp_path / "twice", "-DTWICE")
    assert did["found"] == "1 left to QEMU"
    assert did["again"] == did["first"] == "0 1 1"
    assert did["reset"] == "1 1"
