# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved machines: one prepared state, many runs from it, on whatever devices."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from freezingtime.errors import InputError
from freezingtime.store.checksums import CHECKSUMS
from freezingtime.store.saved_machine import find_saved, remove_saved
from tests.conftest import RunProgram
from tests.support.guestlib import GuestRun, make_file, run_guest

pytestmark = pytest.mark.guest

# What is in flight, and who writes, when the machine is saved is part of what is kept.
PREPARE = """
set -e
mkfs.ext4 -q /dev/vda
mount /dev/vda /mnt
seq 100000 >/mnt/data
echo in memory >/tmp/note
(while :; do date >>/mnt/log; sync; done) </dev/null >/dev/null 2>&1 &
sleep 0.05
"""
# Reads from the device, not from the guest's memory.
USE = """
echo 3 >/proc/sys/vm/drop_caches
md5sum /mnt/data
cat /tmp/note
[ "$(wc -l </mnt/log)" -gt 1 ] && echo still logging
touch /mnt/mark
ls /mnt
"""


@pytest.fixture(scope="module")
def saved() -> Iterator[str]:
    name = f"test-{os.getpid()}"
    run_guest(PREPARE, "constant:10us,size=256MiB", save_as=name)
    yield name
    remove_saved(name)


def essence(ran: GuestRun) -> tuple[object, ...]:
    """All of a run that is guest time or guest data."""
    job, totals = ran.result.job, ran.result.totals
    return ran.stdout, ran.stderr, job.start_ns, job.end_ns, totals.warped_ns, totals.request_count


def test_it_goes_on_where_it_was_and_is_never_changed(saved: str) -> None:
    for device in ("constant:10us", "constant:1ms", "samsung-870-evo-1tb"):
        ran = run_guest(USE, device, start_from=saved)
        data, *rest = ran.stdout.decode().splitlines()
        assert data.split()[0] == "dea9193b768319cbb4ff1a137ac03113"
        assert rest == ["in memory", "still logging", "data", "log", "lost+found", "mark"]
        assert ran.result.ready_ns == find_saved(saved).description.saved_ns


def test_two_runs_from_it_are_identical_over_any_medium(saved: str) -> None:
    first = run_guest(USE, "constant:200us", start_from=saved)
    second = run_guest(USE, "constant:200us,delay=2ms", start_from=saved)
    assert essence(first) == essence(second)
    slower = run_guest(USE, "constant:2ms", start_from=saved)
    assert slower.result.job.end_ns > first.result.job.end_ns


@pytest.mark.slow
def test_saved_twice_it_is_the_same() -> None:
    """Preparing is as reproducible as any job; and a run from a snapshot can be saved, too."""
    names = [f"test-{os.getpid()}-{letter}" for letter in "abc"]
    try:
        for name in names[:2]:
            run_guest(PREPARE, "constant:10us,size=64MiB", "constant:1ms", save_as=name)
        run_guest(
            "cp /mnt/data /mnt/more", "constant:1us", "constant:0",
            start_from=names[0], save_as=names[2],
        )  # fmt: skip
        runs = [run_guest(USE, "constant:10us", "constant:0", start_from=name) for name in names]
    finally:
        for name in names:
            remove_saved(name)
    assert essence(runs[0]) == essence(runs[1])
    assert runs[2].stdout == runs[0].stdout.replace(b"mark", b"mark\nmore")


def test_over_a_file_only_what_changed_is_kept(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-file"
    disk = f"constant:1us,medium=file:{make_file(tmp_path / 'disk', 1 << 20)}"
    (tmp_path / "disk").write_bytes(b"base" * (1 << 18))
    script = "dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null"
    try:
        run_guest(script, disk, save_as=name)
        assert find_saved(name).disk_changes_path(1).stat().st_size < 8192
        ran = run_guest("tr -d '\\0' </dev/vda | wc -c", disk, start_from=name)
        assert int(ran.stdout) == (1 << 20) - 4096
        (tmp_path / "disk").write_bytes(b"else" * (1 << 18))
        with pytest.raises(InputError, match="over a different file, or one that has changed"):
            run_guest("true", disk, start_from=name)
    finally:
        remove_saved(name)


@pytest.mark.parametrize("name", ["state", "disk1-changes"])
def test_one_flipped_bit_is_refused(freezingtime: RunProgram, saved: str, name: str) -> None:
    """Before the guest has executed anything: it cannot be made again."""
    path = find_saved(saved).directory / name

    def flip_bit() -> None:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 3)
            (byte,) = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))

    flip_bit()
    ended = freezingtime("run", "--from", saved, "--disk", "constant:0", "--", "true")
    flip_bit()
    assert ended.returncode == 2
    assert f"--from {saved}: the snapshot is damaged ({name}: its checksum is " in ended.stderr
    assert "cannot be rebuilt" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_it_brings_the_cpus_along(freezingtime: RunProgram) -> None:
    name = f"test-{os.getpid()}-cpus"
    try:
        run_guest("true", save_as=name, cpu_count=4)  # as other tests have it, booted once for all
        ended = freezingtime("run", "-q", "--from", name, "--", "nproc")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "4\n", "")
    finally:
        remove_saved(name)


def test_a_job_that_fails_is_not_saved() -> None:
    run_guest("exit 7", check=False, save_as=f"test-{os.getpid()}-failed")
    with pytest.raises(InputError, match="there is no snapshot"):
        find_saved(f"test-{os.getpid()}-failed")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--from nosuch -- true", "there is no snapshot 'nosuch', only: "),
        ("--from SAVED -- true", "was saved with 1 disks, not 0; give as many --disk"),
        ("--from SAVED --disk constant:0,size=1MiB -- true", "saved with 256MiB; leave out size="),
        ("--from SAVED --disk constant:0,name=x -- true", "was saved as disk1; leave out name="),
        ("--from SAVED --disk constant:0,medium=file:/dev/null -- true", "leave out medium="),
        (
            "--from SAVED --disk constant:0 --memory 1GiB -- true",
            "--memory 1GiB: --from SAVED: was "
            "saved with --memory 512MiB, which it keeps; leave out --memory",
        ),
        ("--from SAVED --disk constant:0 --cpus 2 -- true", "saved with --cpus 1, which"),
        ("--from SAVED --disk constant:0 --guest big -- true", "saved with --guest mini, which"),
        ("--from SAVED --disk constant:0 --guest ./DISK -- true", "saved with --guest mini, which"),
        ("--from SAVED --disk constant:0 --boot -- true", "leave out --boot"),
        ("--save SAVED --disk constant:0 -- true", "a snapshot with this name exists"),
        ("--save ../x -- true", "write up to 63 letters"),
        ("--save x --disk constant:0,medium=file:DISK,writable=yes -- true", "modified in place"),
    ],
)
def test_what_does_not_fit_is_refused(
    freezingtime: RunProgram, saved: str, arguments: str, said: str, tmp_path: Path
) -> None:
    disk = make_file(tmp_path / "disk", 1 << 20)
    words = arguments.replace("SAVED", saved).replace("DISK", str(disk))
    ended = freezingtime("run", *shlex.split(words))
    assert ended.returncode == 2, ended.stderr
    assert said.replace("SAVED", saved) in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_snapshot_command(freezingtime: RunProgram, saved: str) -> None:
    listed = freezingtime("snapshot", "list").stdout
    (line,) = (line for line in listed.splitlines() if line.split()[0] == saved)
    assert line.split()[1:4] == ["mini", "512MiB", "1"]
    assert line.split()[-1] == "disk1=256MiB"
    refused = freezingtime("snapshot", "remove", "nosuch")
    assert refused.returncode == 2
    assert "there is no snapshot 'nosuch'" in refused.stderr


#: A request each 10 ms when the credits are used up.
_VOLUME = """
model = "volume"
[parameters]
read = {fixed = "100us"}
write = {fixed = "100us"}
[parameters.iops]
baseline = 100
burst = 100_000
credits = 500
"""
_READ = "dd if=/dev/vda of=/dev/null bs=4k count=%d skip=%d iflag=direct 2>/dev/null"


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volume") / "volume.toml"
    path.write_text(_VOLUME)
    return path


@pytest.fixture(scope="module")
def aged(volume: Path) -> Iterator[str]:
    name = f"test-{os.getpid()}-aged"
    run_guest(_READ % (600, 0), f"{volume},size=64MiB", save_as=name)
    yield name
    remove_saved(name)


def took_ns(ran: GuestRun) -> int:
    return ran.result.job.end_ns - ran.result.job.start_ns


@pytest.mark.slow
def test_credits_that_were_used_up_stay_used_up(
    aged: str, volume: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A sweep finds its results by these.
    assert "disk1-device" in json.loads((find_saved(aged).directory / CHECKSUMS).read_text())
    with caplog.at_level(logging.WARNING):
        first, second = (run_guest(_READ % (50, 1000), str(volume), start_from=aged) for _ in "ab")
        assert caplog.text == ""
        other = run_guest(_READ % (50, 1000), "constant:100us", start_from=aged)
    assert took_ns(first) == took_ns(second) > 400_000_000
    assert took_ns(other) < 100_000_000
    assert "disk disk1: its device starts as described: the state in the snapshot" in caplog.text
    assert "is that of the device volume" in caplog.text
