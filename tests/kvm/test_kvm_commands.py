# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands beside `run` that have the KVM clock, in the lab: a shell, a validation, a check."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from freezingtime.errors import FreezingTimeError
from tests.conftest import skip
from tests.kvm.lab.image import NoLabError
from tests.kvm.lab.machine import LabResult, run_in_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

#: A person at a terminal, who waits for the prompt.
_TYPIST = """\
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
lines = [
    b"dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct\\n",
    b"cat /sys/devices/system/clocksource/clocksource0/current_clocksource\\n",
    b"exit 7\\n",
]
screen = b""
while True:
    try:
        read = os.read(terminal, 4096)
    except OSError:
        break
    sys.stdout.buffer.write(read)
    screen += read
    if lines and b"# " in screen:
        screen = b""
        os.write(terminal, lines.pop(0))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
_READS = 100
#: Now and then the outer machine takes its only CPU from the guest where the agent cannot tell how
#: much of that has passed in the guest's time, and has to count all of it.
_MAX_LEAK = "10us"
_SCRIPT = f"""
machine="--memory 256MiB"
mount -t devpts devpts /dev/pts
status=0
python3 /product/files/typist.py freezingtime shell --clock kvm $machine \\
  --disk constant:100us,size=16MiB >shell.txt || status=$?
echo $status >shell-status
freezingtime validate constant:120us --against /product/files/r_lat.1.log --cpus 1 \\
  --requests {_READS} --delay 3ms --clock kvm --json --quiet >validation.json
freezingtime clock-check --clocks kvm $machine --requests {_READS} --max-leak {_MAX_LEAK} \
  --json --quiet >check.json
"""


def lab() -> LabResult:
    result = _run()
    assert result.status == 0, result.stderr
    return result


@cache
def _run() -> LabResult:
    log = "".join(f"{number // 10}, 100000, 0, 4096, 0\n" for number in range(400))
    files = {"typist.py": _TYPIST.encode(), "r_lat.1.log": log.encode()}
    try:
        return run_in_lab(_SCRIPT, files=files)
    except (FreezingTimeError, NoLabError) as error:
        skip(f"the lab cannot be built: {error}")
        raise


def document(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(lab().files[name])
    return content


def test_a_shell_is_typed_into() -> None:
    screen = lab().files["shell.txt"].decode()
    assert "50+0 records in" in screen
    assert "\ntsc" in screen
    assert lab().files["shell-status"].strip() == b"7"


def test_a_validation_has_the_clock() -> None:
    found = document("validation.json")
    assert found["clock"] == "kvm"
    assert found["frozen_host_ns"]["1"] > _READS * 2_000_000
    [cell] = found["cells"]
    assert cell["guest_against_held_out"]["1"]["errors"]["mean"] == pytest.approx(0.2, abs=0.01)


def test_no_medium_is_seen() -> None:
    check = document("check.json")
    assert check["not_valid"] == []
    for found in check["devices"]:
        assert found["late_ns"]["p99"] <= 1_000
        assert 0 < found["beyond_ns"]["p50"] < 40_000, found
    assert check["between_media_ns"]["kvm"]["p50"] <= 50
