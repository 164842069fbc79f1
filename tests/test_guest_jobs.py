"""Jobs in the mini guest: directories in, files out, limits, and how a guest may fail."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from freezingtime.errors import GuestError, TimeLimitError
from tests.conftest import RunProgram
from tests.guestlib import run_guest

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


def test_the_limit_of_guest_time_is_exact() -> None:
    """It strikes at one and the same nanosecond, however long the host takes."""
    said = set()
    for disk in ("constant:10us", "constant:10us,delay=1ms"):
        with pytest.raises(TimeLimitError, match=r"ended at \d+ ns; give it more") as limit:
            run_guest("dd if=/dev/vda of=/dev/null bs=4k iflag=direct", disk, limit_ns=50_000_000)
        said.add(str(limit.value))
    assert len(said) == 1


def test_a_job_within_its_limits_does_not_notice_them() -> None:
    free = run_guest("dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct", "constant:10us")
    limited = run_guest(
        "dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct",
        "constant:10us",
        limit_ns=10_000_000_000,
        host_limit_s=300.0,
    )
    assert free.result.job.end_ns == limited.result.job.end_ns


def test_the_limit_of_real_time() -> None:
    with pytest.raises(TimeLimitError, match=r"limit of 2 s of real time, .* --real-time-limit"):
        run_guest("while :; do :; done", host_limit_s=2.0)


def test_a_guest_that_never_gets_ready() -> None:
    with pytest.raises(GuestError, match=r"not ready within 1 s of real time .* console"):
        run_guest("true", fresh_boot=True, boot_deadline_s=1.0)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("run -- sh -c 'echo c >/proc/sysrq-trigger'", 4, "the console's last lines: "),
        ("run --time-limit 5ms -- sleep 1", 124, "give it more with --time-limit"),
        ("run -- sh -c 'exit 77'", 77, "exit status 77"),
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
