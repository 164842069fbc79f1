# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a run that is not exact say so?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freezingtime.cli.guest.run import EXIT_INVALID, run_command
from freezingtime.errors import RunError
from freezingtime.vm.capture import Capture
from freezingtime.vm.job import Job, JobResult
from freezingtime.vm.machine import Machine
from tests.support.agentlib import AGENT_DIRECTORY, AGENT_SOURCES
from tests.support.guestlib import fio_command, read_record, run_guest

pytestmark = pytest.mark.guest

JOB = fio_command(rw="randread", number_ios=50)


@pytest.fixture(scope="module")
def faulty_agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent built with its fault switches."""
    compiler = shutil.which("cc") or str(sysconfig.get_config_var("CC"))
    faulty = tmp_path_factory.mktemp("faulty") / "agent.so"
    subprocess.run(
        [
            *(compiler, "-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"),
            *("-DFT_FAULTS", f"-I{AGENT_DIRECTORY}", "-o", str(faulty)),
            *(*map(str, AGENT_SOURCES), "-ldl", "-lpthread"),
        ],
        check=True,
    )
    return faulty


@pytest.fixture
def late_agent(faulty_agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that meets every event 300 ns too late."""
    monkeypatch.setattr("freezingtime.clock.virtual.agent_path", lambda: faulty_agent)
    monkeypatch.setenv("FREEZINGTIME_FAULT_LATE_NS", "300")


@pytest.mark.parametrize("hook", [pytest.param("share", marks=pytest.mark.slow), "budget"])
def test_a_hook_that_qemu_passes_by_ends_the_run_with_its_name(
    hook: str, faulty_agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezingtime.clock.virtual.agent_path", lambda: faulty_agent)
    monkeypatch.setenv("FREEZINGTIME_FAULT_PASSED_BY", hook)
    with pytest.raises(RunError, match=rf"this QEMU never called the hook '{hook}' \("):
        run_guest("true", "constant:100us")


@pytest.mark.usefixtures("late_agent")
def test_late_delivery_is_caught() -> None:
    ran = run_guest(JOB, "constant:100us", check=False)
    totals = ran.result.totals
    assert totals.late_count >= 50
    assert totals.worst_late_ns == 300
    assert not ran.result.valid


@pytest.mark.usefixtures("late_agent")
def test_late_run_exits_3_and_marks_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["sh", "-c", JOB]
    assert run_command(command=command, disks=["constant:100us"], out=out) == EXIT_INVALID
    assert "NOT EXACT: " in capsys.readouterr().err
    record = json.loads((out / "run.json").read_text())
    assert record["audit"]["valid"] is False
    assert record["audit"]["late"] >= 50
    assert sum(not row["on_time"] for row in read_record(out)) == record["audit"]["late"]
    assert run_command(command=command, disks=["constant:100us"], allow_late=True, quiet=True) == 0


@pytest.fixture
def interrupting_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that interrupts each job that has printed something, by way of QEMU's main thread."""
    run_job = Machine.run_job

    def run_and_interrupt(
        self: Machine, job: Job, *, on_tick: Callable[[], None], **limits: Any
    ) -> JobResult:
        interrupted = False

        def tick() -> None:
            nonlocal interrupted
            if not interrupted and self.stdout.read_all():
                self._execute("inject-nmi")
                interrupted = True
            on_tick()

        return run_job(self, job, on_tick=tick, **limits)

    monkeypatch.setattr(Machine, "run_job", run_and_interrupt)


@pytest.mark.usefixtures("interrupting_host")
def test_what_the_host_does_to_the_guest_is_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No request is late, and the guest's kernel has nothing to complain about."""
    out = tmp_path / "run"
    command = ["sh", "-c", "echo begun; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]
    assert run_command(command=command, disks=["constant:100us"], out=out) == EXIT_INVALID
    assert "NOT VALID: at guest time " in capsys.readouterr().err
    document = json.loads((out / "run.json").read_text())
    audit = document["audit"]
    assert (audit["valid"], audit["late"], audit["kernel_complaints"]) == (False, 0, [])
    assert document["job"]["start_ns"] < audit["disturbed_ns"] <= document["job"]["end_ns"]


def test_a_guest_does_not_notice_that_nobody_takes_its_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its console and ports are full again and again; were it told to wait, time would pass."""
    job = "seq 1 60000; seq 1 20000 >/dev/console; seq 1 20000 >&2; cat /proc/uptime"
    prompt = run_guest(job, "constant:10us")
    take = Capture.take

    def take_late(self: Capture) -> None:
        time.sleep(0.1)
        take(self)

    monkeypatch.setattr(Capture, "take", take_late)
    late = run_guest(job, "constant:10us")
    assert late.result.totals.disturbed_ns is None
    assert late.result.job.end_ns == prompt.result.job.end_ns
    assert (late.stdout, late.stderr) == (prompt.stdout, prompt.stderr)


def test_sound_run_is_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run_command(command=["sh", "-c", JOB], disks=["constant:100us"], out=tmp_path / "run") == 0
    )
    requests = json.loads((tmp_path / "run" / "run.json").read_text())["audit"]["requests"]
    assert requests >= 50
    printed = capsys.readouterr().err
    assert f"exact: {requests} of {requests} requests on time" in printed
    assert re.search(r"disk1  read .* 100us  100us  100us  100us$", printed, re.MULTILINE)
    rows = read_record(tmp_path / "run")
    assert len(rows) == requests
    assert {row["delivery_ns"] - row["arrival_ns"] for row in rows} == {100_000}
    assert json.loads((tmp_path / "run" / "stdout.txt").read_text())["jobs"]


@pytest.mark.parametrize(
    "complaint",
    [
        "WARNING: CPU: 0 PID: 1 at kernel/made/up.c:1 made_up+0x1/0x2",
        "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
    ],
)
def test_complaint_of_the_kernel_makes_a_run_invalid(complaint: str) -> None:
    ran = run_guest(f'echo "<3>{complaint}" > /dev/kmsg', "constant:0", check=False)
    assert ran.result.job.complaints == [complaint]
    assert not ran.result.valid


def test_ordinary_kernel_messages_are_no_complaint() -> None:
    run_guest("mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt && umount /mnt", "constant:0")
