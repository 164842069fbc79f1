# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring with fio: what is left, what is refused, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from freezingtime.calibrate.measure import measure as measure_module
from freezingtime.calibrate.measure.measure import MeasurePlan, fio_command, measure
from freezingtime.calibrate.measure.measurement import MANIFEST_NAME, MeasuredJob, read_measurement
from freezingtime.calibrate.measure.target import Target, opened_target
from freezingtime.errors import InputError, RunError
from freezingtime.request import Operation
from tests.conftest import PROGRAM, RunProgram, require_root, require_tool, skip

MIB = 1 << 20


def write_full(path: Path, size_bytes: int = 16 * MIB) -> Path:
    path.write_bytes(os.urandom(MIB) * (size_bytes // MIB))
    os.sync()
    return path


def quick_plan(path: Path, out: Path, **fields: object) -> MeasurePlan:
    settings = {"sizes_bytes": (4096,), "depths": (2,), "rounds": 2, "runtime_s": 0.05}
    return MeasurePlan(path, out, **{**settings, **fields})  # type: ignore[arg-type]


def nothing(_step: str, _done: int, _total: int) -> None:
    """No progress."""


@pytest.fixture
def disk_dir(tmp_path: Path) -> Path:
    """A directory whose files take direct I/O."""
    require_tool("fio")
    probe = write_full(tmp_path / "probe", MIB)
    try:
        os.close(os.open(probe, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        skip(f"{tmp_path} does not support direct I/O")
    probe.unlink()
    return tmp_path


def test_reads_of_a_file_are_measured_and_it_stays_as_it_is(disk_dir: Path) -> None:
    path = write_full(disk_dir / "data")
    before = path.read_bytes()
    manifest = measure(quick_plan(path, disk_dir / "out"), nothing)
    assert path.read_bytes() == before
    assert {(job.operation, job.size_bytes, job.depth) for job in manifest.jobs} == {
        ("read", 4096, 2)
    }
    found = read_measurement(disk_dir / "out", nothing)
    assert found.manifest == manifest
    assert set(found.latencies.operation.tolist()) == {Operation.READ}
    assert set(found.latencies.depth.tolist()) == {2}
    assert len(found.latencies) > 20
    assert (found.latencies.latency_ns > 0).all()


def test_a_new_file_is_written_measured_and_removed(disk_dir: Path) -> None:
    path = disk_dir / "new: file"
    steps: list[str] = []
    plan = quick_plan(path, disk_dir / "out", write=True, create_bytes=16 * MIB, rounds=1)
    measure(plan, lambda step, done, total: steps.append(step))
    assert not path.exists()
    latencies = read_measurement(disk_dir / "out", nothing).latencies
    operations = {Operation(value) for value in np.unique(latencies.operation).tolist()}
    assert operations == {Operation.READ, Operation.WRITE, Operation.FLUSH}
    assert any(step.startswith("round 1 of 1: flush") for step in steps)
    logged = latencies.is_ordered[latencies.operation != Operation.FLUSH]
    assert logged.all()


def test_jobs_are_in_another_order_in_each_round_and_the_same_for_a_seed() -> None:
    plan = MeasurePlan(Path("x"), Path("y"), write=True, rounds=4)
    jobs = plan.jobs()
    assert jobs == plan.jobs()
    assert len(jobs) == 4 * (2 * 2 * 3 + 1)
    rounds = [
        [(j.operation, j.size_bytes, j.depth) for j in jobs if j.round == n] for n in range(4)
    ]
    assert len({tuple(cells) for cells in rounds}) == 4
    assert all(sorted(cells) == sorted(rounds[0]) for cells in rounds)
    assert len({job.file for job in jobs}) == len(jobs)


def test_the_command_of_a_job_reads_only_unless_it_writes() -> None:
    plan = MeasurePlan(Path("a:b"), Path("out"), seed=3)
    target = Target(Path("/dev/a:b"), "a drive", 1 << 30)
    read = fio_command(MeasuredJob(0, "read", 4096, 16, "x"), target, plan, 7)
    assert {"--readonly", "--rw=randread", "--iodepth=16", "--bs=4096"} <= set(read)
    assert {"--filename=/dev/a\\:b", "--direct=1", "--runtime=1000ms"} <= set(read)
    write = fio_command(MeasuredJob(0, "write", 65536, 1, "x"), target, plan, 7)
    assert "--rw=randwrite" in write
    assert "--readonly" not in write
    flush = fio_command(MeasuredJob(0, "flush", 0, 1, "x"), target, plan, 7)
    assert {"--fdatasync=1", "--ioengine=psync"} <= set(flush)


def refusal(path: Path, **fields: object) -> str:
    options = {"write": False, "overwrite": False, "create_bytes": None, **fields}
    with pytest.raises(InputError) as caught, opened_target(path, **options):  # type: ignore[arg-type]
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_files_that_must_not_or_cannot_be_measured_are_refused(disk_dir: Path) -> None:
    full = write_full(disk_dir / "full")
    assert refusal(full, write=True).startswith("writing would destroy what is in the file; add")
    with full.open("rb"):
        assert refusal(full) == "is open in another process; close it there"
    sparse = disk_dir / "sparse"
    with sparse.open("wb") as file:
        file.truncate(32 * MIB)
    assert refusal(sparse).startswith("has holes, and reading them asks no device; write")
    assert refusal(write_full(disk_dir / "small", MIB)).startswith("has 1048576 bytes; 16MiB is")
    assert refusal(disk_dir) == "is neither a file nor a block device"
    assert refusal(disk_dir / "none").startswith("No such file or directory; name a file or")
    assert refusal(full, create_bytes=32 * MIB).startswith("already exists; --create needs")
    new = disk_dir / "new"
    assert refusal(new, create_bytes=MIB) == "--create: must be at least 16MiB"
    assert refusal(new, create_bytes=1 << 60).startswith(f"--create: {disk_dir} has only ")
    assert refusal(disk_dir / "no" / "new", create_bytes=32 * MIB).startswith("cannot be created;")
    assert not new.exists()


@pytest.fixture
def loop_device(disk_dir: Path) -> Iterator[Path]:
    """A block device of a file; for root only."""
    require_root()
    image = write_full(disk_dir / "image", 32 * MIB)
    made = subprocess.run(
        [require_tool("losetup"), "--find", "--show", image],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = Path(made.stdout.strip())
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_block_device_is_measured(loop_device: Path, disk_dir: Path) -> None:
    plan = quick_plan(loop_device, disk_dir / "out", rounds=1)
    assert measure(plan, nothing).size_bytes == 32 * MIB
    written = quick_plan(loop_device, disk_dir / "out2", rounds=1, write=True, overwrite=True)
    assert len(measure(written, nothing).jobs) == 3


def test_a_block_device_in_use_is_refused(loop_device: Path, disk_dir: Path) -> None:
    destroy = "writing would destroy a block device's content; add --overwrite"
    assert refusal(loop_device, write=True).startswith(destroy)
    holder = os.open(loop_device, os.O_RDONLY | os.O_EXCL)
    try:
        assert refusal(loop_device).startswith("is in use: mounted, or part of a volume, an array")
    finally:
        os.close(holder)
    subprocess.run([require_tool("mkfs.ext4"), "-q", loop_device], check=True)
    place = disk_dir / "place"
    place.mkdir()
    subprocess.run(["mount", loop_device, place], check=True)
    try:
        for options in ({}, {"write": True, "overwrite": True}):
            assert refusal(loop_device, **options) == f"is mounted at {place}; unmount it"
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_fio_that_fails_or_does_not_end_leaves_nothing(
    disk_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_full(disk_dir / "data")
    fake = disk_dir / "fio"
    monkeypatch.setattr(measure_module, "FIO", str(fake))
    monkeypatch.setattr(measure_module, "_GRACE_S", 0.5)
    plan = quick_plan(path, disk_dir / "out")
    with pytest.raises(InputError, match="cannot start fio"):
        measure(plan, nothing)
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no such engine"; exit 1; }\n')
    fake.chmod(0o755)
    with pytest.raises(RunError, match="fio failed: no such engine; command: "):
        measure(plan, nothing)
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] || { sleep 1000 & echo $! >PID; wait; }\n')
    fake.write_text(fake.read_text().replace("PID", str(disk_dir / "pid")))
    with pytest.raises(RunError, match="fio did not end within 1 s: the device does not respond"):
        measure(plan, nothing)
    assert not (disk_dir / "out").exists()
    assert _is_gone(int((disk_dir / "pid").read_text()))


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, at the latest in a few seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_an_interrupt_stops_fio_and_leaves_nothing(disk_dir: Path) -> None:
    out, path = disk_dir / "out", disk_dir / "new"
    command = [PROGRAM, "measure", path, "--create", "16MiB", "--yes", "--out", out]
    with subprocess.Popen(
        [*command, "--runtime", "100s"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(600):
            if (fios := _fios_on(path)) and out.exists():
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("freezingtime: interrupted\n")
    assert fios
    assert all(map(_is_gone, fios))
    assert not out.exists()
    assert not path.exists()


def _fios_on(path: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--filename={path}".encode() in arguments:
            found.append(int(process.name))
    return found


def test_the_command_asks_and_refuses_in_one_line(disk_dir: Path, freezingtime: RunProgram) -> None:
    path = write_full(disk_dir / "data")
    out = disk_dir / "out"
    done = freezingtime("measure", path, "--out", out)
    plan, refused = done.stderr.splitlines()
    assert plan == (
        f"freezingtime: {path}: reads only of 4KiB, 64KiB at depths 1, 4, 16, 8 rounds, about 72 s"
    )
    assert refused == f"freezingtime: {path}: nothing was measured: add --yes"
    assert done.returncode == 2
    warned = freezingtime("measure", path, "--out", out, "--write", "--overwrite")
    assert f"EVERYTHING IN {path} WILL BE OVERWRITTEN" in warned.stderr
    for options, expected in {
        ("--sizes", "3k"): "--sizes: 3072: must be a multiple of 4KiB, up to 4MiB",
        ("--depths", "1,x"): "--depths: 'x': must be whole numbers separated by commas",
        ("--runtime", "0s"): "--runtime 0s: must be from 10ms to 3600s",
        ("--rounds", "0"): "--rounds 0: must be from 1 to 99",
        ("--overwrite",): "--overwrite: only with --write; add it, or leave out --overwrite",
    }.items():
        done = freezingtime("measure", path, "--out", out, "--yes", *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(f"freezingtime: {expected}")
    assert not out.exists()


def test_a_damaged_directory_is_named(disk_dir: Path) -> None:
    path = write_full(disk_dir / "data")
    out = disk_dir / "out"
    measure(quick_plan(path, out, rounds=1), nothing)
    manifest = out / MANIFEST_NAME
    document = json.loads(manifest.read_text())
    for damage, expected in (
        ({**document, "format": 2}, "has format 2; this freezingtime reads format 1"),
        ({**document, "jobs": []}, "is damaged; measure again"),
        ({**document, "jobs": [{"round": 0}]}, "is damaged; measure again"),
        ({**document, "fio": None, "more": 1}, "is damaged; measure again"),
        ([], "is damaged; measure again"),
    ):
        manifest.write_text(json.dumps(damage))
        with pytest.raises(InputError) as caught:
            read_measurement(out, nothing)
        assert str(caught.value).startswith(f"{manifest}: {expected}")
