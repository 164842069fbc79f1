# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs in the mini guest: directories in, files out, limits, and how a guest may fail."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from freezingtime.disk.spec import parse_disk
from freezingtime.errors import GuestError, InputError, RunError, TimeLimitError
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.run import run
from tests.conftest import RunProgram
from tests.support.guestlib import Output, make_file, read_record, run_guest

pytestmark = pytest.mark.guest

RUN = "exec /job/run"


def make_job(directory: Path, script: str, **files: bytes) -> Path:
    directory.mkdir()
    (directory / "run").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "run").chmod(0o755)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def test_a_directory_goes_in_and_files_come_out(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    script = "pwd; ls; mkdir out; cp data 'out/the copy'; echo x >out/small; echo y >/tmp/far"
    job = make_job(tmp_path / "job", script, data=data)
    out = tmp_path / "out"
    patterns = ["out/*", "/tmp/far", "nothing*"]
    ran = run_guest(RUN, job_directory=job, collect=patterns, out=out)
    assert ran.stdout == b"/job\ndata\nrun\n"
    assert ran.result.collected == ["out/small", "out/the copy", "tmp/far"]
    assert (out / "collected" / "out" / "the copy").read_bytes() == data
    assert (out / "collected" / "tmp" / "far").read_text() == "y\n"


def test_a_guest_gets_nothing_but_files_out(tmp_path: Path) -> None:
    script = (
        "mkdir out; cd out; cp /bin/busybox shell; chmod 6777 shell; chown 65534 shell; "
        "mknod null c 1 3; ln -s /etc link; mkfifo pipe"
    )
    job = make_job(tmp_path / "job", script)
    out = tmp_path / "out"
    ran = run_guest(RUN, job_directory=job, collect=["out"], out=out)
    assert ran.result.collected == ["out/shell"]
    assert sorted(ran.result.not_collected) == ["out/link", "out/null", "out/pipe"]
    state = (out / "collected" / "out" / "shell").lstat()
    assert (state.st_uid, state.st_mode & 0o7022) == (os.getuid(), 0)


def test_a_job_hands_over_figures_of_its_own(tmp_path: Path) -> None:
    """By lines on stdout and stderr, by what its programs print, and by a file."""
    ran = run_guest(
        """echo METRIC commits 12 1/s higher
        echo METRIC bad nan
        { time -p true; } 2>&1 | tr '\\n' '\\n' >&2
        echo METRIC late_commits 3 >&2
        echo '{"rows": 5}' > metrics.json""",
        collect=["metrics.json"],
        out=tmp_path / "out",
    )
    document = json.loads((tmp_path / "out" / "run.json").read_text())
    said = {figure["name"]: figure["value"] for figure in document["metrics"]}
    times = {name: said.pop(name) for name in ("time.real", "time.user", "time.sys")}
    assert said == {"rows": 5.0, "commits": 12.0, "late_commits": 3.0}
    assert 0 <= times["time.real"] < 10
    assert ran.result.said.notes == ["no figure: METRIC bad nan: a value is a finite number"]


def test_a_job_has_the_variables_that_are_set() -> None:
    given = {"T": "10", "LINE": "a  b = 'c' $d \\\\", "NONE": "", "LATIN": "\udcfc"}
    ran = run_guest('printf "%s|" "$T" "$LINE" "${NONE-unset}" "$LATIN"', environment=given)
    assert ran.stdout == b"10|a  b = 'c' $d \\\\||\xfc|"


def test_a_second_run_does_not_collect_over_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "collected").mkdir(parents=True)
    with pytest.raises(InputError, match="holds 'collected', which --collect creates"):
        run_guest("true", collect=["*"], out=out)


def test_a_job_that_speaks_for_its_runner_is_not_believed() -> None:
    """256 would be taken for 0 by whoever starts us."""
    say = "dd of=/dev/sda bs=4096 seek=8192 count=1 conv=sync,notrunc oflag=direct"
    with pytest.raises(
        GuestError, match="the guest sent 'EXIT 256' over the control disk, expected"
    ):
        run_guest(f"echo EXIT 256 | {say}")


def test_files_are_part_of_what_is_reproducible(tmp_path: Path) -> None:
    """Two runs agree to the nanosecond, on equal directories that differ in age."""
    ends_ns = set()
    for name in ("one", "two"):
        job = make_job(tmp_path / name, "md5sum data", data=bytes(100_000))
        ran = run_guest(
            RUN, "constant:10us", job_directory=job, collect=["data"], out=tmp_path / f"{name}-out"
        )
        ends_ns.add((ran.result.job.start_ns, ran.result.job.end_ns, ran.stdout))
    assert len(ends_ns) == 1


@pytest.mark.slow
def test_the_limit_of_guest_time_is_exact() -> None:
    """It strikes at one and the same nanosecond, however long the host takes."""
    ends_ns = set()
    for disk in ("constant:10us", "constant:10us,delay=1ms"):
        with pytest.raises(
            TimeLimitError, match=r"limit of 50ms of guest time; raise .*-limit$"
        ) as e:
            run_guest("dd if=/dev/vda of=/dev/null bs=4k iflag=direct", disk, limit_ns=50_000_000)
        ends_ns.add(e.value.guest_ns)
    assert len(ends_ns) == 1
    assert None not in ends_ns


def test_a_job_within_its_limits_does_not_notice_them() -> None:
    free = run_guest("dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct", "constant:10us")
    limited = run_guest(
        "dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct",
        "constant:10us",
        limit_ns=10_000_000_000,
        host_limit_s=300.0,
    )
    assert free.result.job.end_ns == limited.result.job.end_ns


def test_only_the_jobs_own_idle_time_is_warped() -> None:
    """What the guest idled between its start and the job's is none of the job's."""
    result = run_guest("sleep 0.2").result
    guest_ns = result.job.end_ns - result.job.start_ns
    assert 190_000_000 < result.totals.warped_ns <= guest_ns
    assert run_guest("true").result.totals.warped_ns < 5_000_000


def test_the_limit_of_real_time() -> None:
    with pytest.raises(TimeLimitError, match=r"limit of 2s of real time; .* --real-time-limit$"):
        run_guest("while :; do :; done", host_limit_s=2.0)


READS_FOR_EVER = "echo begun; echo so far >&2; dd if=/dev/vda of=/dev/null bs=4k iflag=direct"


@pytest.mark.parametrize(
    ("job", "limits", "error"),
    [
        (READS_FOR_EVER, {"limit_ns": 20_000_000}, TimeLimitError),
        (f"{READS_FOR_EVER} & while :; do :; done", {"host_limit_s": 1.0}, TimeLimitError),
        ("echo begun; echo so far >&2; echo c >/proc/sysrq-trigger", {}, GuestError),
    ],
)
def test_what_a_job_printed_outlives_it(
    job: str, limits: dict[str, Any], error: type[RunError], tmp_path: Path
) -> None:
    output = Output()
    plan = RunPlan(
        [parse_disk("constant:10us")], f"#!/bin/sh\n{job}\n".encode(), out=tmp_path, **limits
    )
    with pytest.raises(error) as ended:
        run(plan, output)
    assert bytes(output.stdout) == ended.value.stdout == b"begun\n"
    assert bytes(output.stderr) == ended.value.stderr == b"so far\n"
    assert (tmp_path / "stdout.txt").read_bytes() == b"begun\n"


def test_a_guest_that_removes_the_control_disk_ends_the_run() -> None:
    """It cannot say that its job has ended: guest time would go on for ever."""
    remove = "for disk in /sys/block/sd*; do echo 1 >$disk/device/delete; done"
    with pytest.raises(
        GuestError, match=r"lost its control disk .* 'EXIT 0': the job must not touch"
    ):
        run_guest(remove, host_limit_s=100.0)


def test_json_of_a_job_that_ran_out_of_time(freezingtime: RunProgram) -> None:
    ended = freezingtime(*shlex.split("run --json --time-limit 5ms -- sh -c 'echo x; sleep 1'"))
    assert ended.returncode == 124
    document = json.loads(ended.stdout)
    assert document["stdout"] == "x\n"
    assert document["error"] in ended.stderr


class TestAftermath:
    """Writing out and handing over come behind the job, in nobody's figures."""

    WRITE = (
        "mkfs.ext4 -q /dev/vda; mount /dev/vda /mnt; "
        "echo kept >/mnt/kept; head -c 4000000 /dev/zero >/mnt/large"
    )

    def test_a_file_that_was_changed_holds_all_and_is_whole(self, tmp_path: Path) -> None:
        path = make_file(tmp_path / "disk.img", 64 << 20)
        run_guest(self.WRITE, f"constant:10us,medium=file:{path},writable=yes")
        fsck = ["/usr/sbin/e2fsck", "-fn", str(path)]
        assert subprocess.run(fsck, capture_output=True, check=False).returncode == 0
        read = ["/usr/sbin/debugfs", "-R", "cat /kept", str(path)]
        assert subprocess.run(read, capture_output=True, check=True).stdout == b"kept\n"

    def test_what_is_still_in_use_is_written_out(self, tmp_path: Path) -> None:
        path = make_file(tmp_path / "disk.img", 64 << 20)
        job = f"{self.WRITE}; (cd /mnt; exec sleep 1000) >/dev/null 2>&1 &"
        run_guest(job, f"constant:10us,medium=file:{path},writable=yes")
        copy = tmp_path / "copy.img"
        copy.write_bytes(path.read_bytes())
        recover = ["/usr/sbin/e2fsck", "-fy", str(copy)]
        assert subprocess.run(recover, capture_output=True, check=False).returncode <= 1
        read = ["/usr/sbin/debugfs", "-R", "cat /kept", str(copy)]
        assert subprocess.run(read, capture_output=True, check=True).stdout == b"kept\n"

    def test_it_takes_no_time_of_the_jobs(self, tmp_path: Path) -> None:
        """The same job, whether what it wrote is dropped, written out, or handed over."""
        path = make_file(tmp_path / "disk.img", 1 << 30)
        plans: list[tuple[str, dict[str, Any]]] = [
            ("constant:1ms", {"out": tmp_path / "dropped"}),
            (f"constant:1ms,medium=file:{path},writable=yes", {"out": tmp_path / "written"}),
            ("constant:1ms", {"out": tmp_path / "handed", "collect": ["/mnt/large"]}),
        ]
        essences = []
        for disk, plan in plans:
            # A sleep's end is the same, whatever was before it: equal phases to measure from.
            ran = run_guest(f"sleep 1; {self.WRITE}", disk, limit_ns=10**10, **plan)
            rows = read_record(plan["out"])
            assert len(rows) == ran.result.totals.request_count
            essences.append([(row["operation"], row["offset_bytes"]) for row in rows])
            assert ran.result.job.stop_ns >= ran.result.job.end_ns
        assert essences[0] == essences[1] == essences[2]
        assert (tmp_path / "handed" / "collected" / "mnt" / "large").stat().st_size == 4_000_000


def test_a_guest_that_never_gets_ready() -> None:
    with pytest.raises(GuestError, match=r"not ready within 1 s of real time .* console"):
        run_guest("true", fresh_boot=True, boot_deadline_s=1.0)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("run -- sh -c 'echo c >/proc/sysrq-trigger'", 4, "the console's last lines: "),
        (
            "run --time-limit 5ms -- sleep 1",
            124,
            "limit of 5ms of guest time; raise it with --time-limit\n",
        ),
        (
            "run --boot --boot-deadline 100ms -- true",
            4,
            "not ready within 0.1 s of real time (--boot",
        ),
        ("run -- nosuch-program", 127, "nosuch-program: not found"),
        ("run -- sh -c 'exit 77'", 77, "exit status 77"),
        ("run -- 'x=78; exit $x'", 78, "exit status 78"),
        ("run --job nosuch", 2, "--job nosuch: no such directory"),
    ],
)
def test_exit_statuses(
    freezingtime: RunProgram, arguments: str, status: int, said: str, tmp_path: Path
) -> None:
    ended = freezingtime(
        *shlex.split(arguments), cwd=tmp_path, environment={"TMPDIR": str(tmp_path)}
    )
    assert ended.returncode == status, ended.stderr
    assert said in ended.stderr
    assert list(tmp_path.iterdir()) == []
