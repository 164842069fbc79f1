# SPDX-License-Identifier: GPL-2.0-or-later
"""What a pass through the guest costs, as the agent measures it, in the lab."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from freezingtime.errors import FreezingTimeError
from tests.conftest import require_tool, skip
from tests.kvm.lab.image import NoLabError
from tests.kvm.lab.machine import run_in_lab
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

HARNESS = Path(__file__).parent / "programs/calibration_harness.c"
CPUS = (1, 2, 3, 16)
#: Of the lab's, whose passes all take the same, almost: the margin is 1/64 of 4,000 at most.
LEFT_IN_CYCLES = 70


def compiled(directory: Path) -> bytes:
    program = directory / "calibration"
    sources = [HARNESS, AGENT_DIRECTORY / "ours/kvm/pass.c"]
    command = [require_tool("gcc"), *STRICT, "-static", "-o", program, *sources]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    return program.read_bytes()


def test_a_counter_goes_on_where_it_was_left(tmp_path: Path) -> None:
    """However many CPUs the machine has: KVM's way in depends on that."""
    files = {"calibration": compiled(tmp_path)}
    script = "".join(f"/product/files/calibration {cpus}\n" for cpus in CPUS)
    try:
        result = run_in_lab(script, files=files)
    except (FreezingTimeError, NoLabError) as error:
        skip(f"the lab cannot be built: {error}")
        raise
    assert result.status == 0, result.stderr
    for cpus, line in zip(CPUS, result.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert 0 <= found["in"][0] <= LEFT_IN_CYCLES, (cpus, found)
        assert 0 <= found["out"][0] <= LEFT_IN_CYCLES, (cpus, found)
