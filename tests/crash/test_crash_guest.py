# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts under real file systems and a database: planted bugs are found, and nothing else."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from experiments.crash import sqlite

from freezingtime.explore.crash.cut_recoveries import CutRecoveries
from freezingtime.explore.crash.explore import CrashObserver
from freezingtime.explore.crash.failures import replay, report_failures, write_images
from freezingtime.explore.crash.request import CrashRequest
from freezingtime.runs.script import Command, file_script
from freezingtime.vm.job import directory_script
from tests.conftest import require_tool
from tests.crash.crashlib import crash_request, explore, opened

pytestmark = pytest.mark.guest

_DEVICE = """
model = "constant"
[parameters]
read = "10us"
write = "20us"
flush = "500us"
[durability]
torn_unit = "4KiB"
"""


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """A disk with an honest cache that tears no writes of 4 KiB."""
    (tmp_path / "ssd.toml").write_text(_DEVICE)
    return f"{tmp_path / 'ssd.toml'},size=64MiB,mount=/data"


@pytest.fixture
def liar(tmp_path: Path) -> str:
    """The same, but for a flush that does nothing."""
    (tmp_path / "liar.toml").write_text(_DEVICE + "ignores_flush = true\n")
    return f"{tmp_path / 'liar.toml'},size=64MiB,mount=/data"


def test_too_early_an_acknowledgement_is_found_and_replayed(tmp_path: Path, disk: str) -> None:
    job = "cd /data; echo paid >order; echo ACK order; sync"
    request = crash_request(job, disk, points="after=ACK order", states=2)
    with opened(request, tmp_path / "out") as exploration:
        exploration.run(1, CrashObserver())
        (failure,) = report_failures(exploration)
        assert failure.reason == "the check exited with 1: lost after it was acknowledged: order"
        assert not failure.lost  # the file was not on its way to the disk at all
        (image,) = failure.images
        before = Path(image).read_bytes()
        with CutRecoveries(exploration, tmp_path) as cut:
            candidate, outcome = replay(exploration, cut, failure.number)
        assert outcome.reason == failure.reason
        assert Path(*write_images(exploration, candidate, 1)).read_bytes() == before
        assert (exploration.summary.run, exploration.summary.failed) == (1, 1)
    # It is an image of the file system as it was; no file is in it.
    listed = subprocess.run(
        [require_tool("debugfs"), "-R", "ls", image], capture_output=True, text=True, check=True
    )
    assert "order" not in listed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("is_right", [False, True])
def test_rename_without_fsync(tmp_path: Path, disk: str, is_right: bool) -> None:
    """The directory is synced, and the file that was renamed is there: without its content."""
    sync = "sync new; " if is_right else ""
    job = (
        f"cd /data; echo paid >new; {sync}mv new order; sync .; "
        'echo "ACK order $(sha256sum <order | cut -c 1-64)"; sync'
    )
    found = explore(crash_request(job, disk, points="every-write", states=6), tmp_path / "out")
    expected = "the check exited with 1: not the content that was acknowledged: order"
    assert found.reasons == (set() if is_right else {expected})
    assert found.summary.unique > 10


@pytest.mark.slow
def test_a_device_that_lies_about_flush(tmp_path: Path, liar: str) -> None:
    """What is lost with it is safe with an honest one: see above."""
    job = "cd /data; echo paid >order; sync; echo ACK order"
    found = explore(crash_request(job, liar, states=6), tmp_path / "out")
    lost = [failure for failure in found.failures if "acknowledged: order" in failure.reason]
    assert lost
    assert all(failure.lost for failure in lost)


@pytest.mark.slow
@pytest.mark.parametrize(("synchronous", "loses"), [("off", True), ("extra", False)])
def test_sqlite(tmp_path: Path, disk: str, synchronous: str, loses: bool) -> None:
    """``off`` is fast and loses; ``extra`` also syncs the directory, and loses nothing."""
    require_tool("sqlite3")
    (tmp_path / "job").mkdir()
    sqlite.write_shop(tmp_path / "job", synchronous=synchronous, journal_mode="delete", orders=2)
    request = replace(
        crash_request(Command(), disk, states=4),
        job=directory_script(tmp_path / "job"),
        job_directory=tmp_path / "job",
        check=sqlite.CHECK.encode(),
    )
    found = explore(request, tmp_path / "out")
    lost = "the check exited with 1: orders are lost, or the database is damaged"
    assert found.reasons == ({lost} if loses else set())


@pytest.mark.slow
@pytest.mark.parametrize("frontend", ["virtio-blk", "nvme"])
def test_a_guest_for_many_states_ends_as_one_for_each(
    tmp_path: Path, disk: str, frontend: str
) -> None:
    """A planted bug: it passes and fails in the same states, for the same reasons."""
    job = (
        "cd /data; echo paid >new; mv new order; sync .; "
        'echo "ACK order $(sha256sum <order | cut -c 1-64)"; sync'
    )
    disk += f",frontend={frontend}"
    request = crash_request(job, disk, points="every-write", states=4)
    with opened(request, tmp_path / "out") as exploration:
        recoveries = exploration.recoveries
        candidates = list(exploration.candidates(exploration.points()))[:24]
        shared = [exploration.recoveries.run(candidate)[0] for candidate in candidates]
        guest_count = recoveries.guest_count
        own = [exploration.recoveries.run(candidate, afresh=True)[0] for candidate in candidates]
        failed_count = sum(not outcome.passed for outcome in own)
        assert shared == own
        assert 0 < failed_count < len(own)
        assert recoveries.unlike_count == 0
        # A failure takes a guest of its own, and the one that it was found in takes no more.
        assert guest_count <= 1 + 2 * failed_count
        assert recoveries.guest_count == guest_count + len(own)


_TRACES = ("process", "file", "change", "removal", "mount", "mounted", "device", "console")
_LEAVES_TRACES = """#!/bin/sh
case $(tail -n 1 acked) in
    process) sleep 1000 >/dev/null 2>&1 & ;;
    file) echo kept >/tmp/file ;;
    change) echo more >>check ;;
    removal) rm /usr/share/udhcpc/default.script 2>/dev/null || rm -r /usr/lib/modules ;;
    mount) mount -t tmpfs none /mnt ;;
    mounted) cd /data; sleep 1000 >/dev/null 2>&1 & ;;
    device) mknod /tmp/device b 7 0 ;;
    console) echo '<0>something is wrong' >/dev/kmsg ;;
esac
"""


@pytest.mark.slow
def test_a_guest_with_traces_of_a_state_takes_no_other(tmp_path: Path, disk: str) -> None:
    (tmp_path / "check.sh").write_text(_LEAVES_TRACES)
    check = file_script(tmp_path / "check.sh")
    request = crash_request("echo paid >/data/order; sync; echo ACK nothing", disk, check=check)
    with opened(request, tmp_path / "out") as exploration:
        candidate = next(exploration.candidates(exploration.points()))
        recoveries = exploration.recoveries
        for number, kind in enumerate(_TRACES):
            for acked in ("nothing", "nothing", kind):
                traced = replace(candidate, acked=f"{acked}\n".encode())
                outcome, _ = exploration.recoveries.run(traced)
                assert (outcome.passed, outcome.output) == (True, ()), kind
            assert recoveries.guest_count == number + 1, kind


@pytest.mark.slow
@pytest.mark.parametrize("is_right", [False, True])
def test_a_second_power_cut_during_recovery(tmp_path: Path, disk: str, is_right: bool) -> None:
    """An application's recovery that drops its journal before what it redoes is durable."""
    sync = "sync order; " if is_right else ""
    (tmp_path / "check.sh").write_text(
        f"""#!/bin/sh
        cd /data
        [ ! -e journal ] || {{ cat journal >order; {sync}rm journal; sync .; }}
        [ "$(cat order)" = paid ] || {{ echo "order is lost"; exit 1; }}
        """
    )
    request = crash_request(
        "cd /data; echo paid >journal; sync; echo ACK order",
        disk,
        check=file_script(tmp_path / "check.sh"),
        points="after=ACK order",
        states=2,
        depth=2,
    )
    with (
        opened(request, tmp_path / "out") as exploration,
        CutRecoveries(exploration, tmp_path) as cut,
    ):
        exploration.run(1, CrashObserver())
        assert exploration.summary.failed == 0
        cut.run(1, CrashObserver())
        failures = report_failures(exploration, cut)
        assert cut.summary.points > 3
        assert cut.summary.flushes > 1
        if is_right:
            assert not failures
            return
        (failure,) = failures
        assert failure.reason == "the check exited with 1: order is lost"
        assert failure.recovery_of is not None
        assert failure.since_start_ns > 0
        (image,) = failure.images
        before = Path(image).read_bytes()
    # All of it again, from what is in its file.
    with (
        opened(request, tmp_path / "out") as exploration,
        CutRecoveries(exploration, tmp_path) as cut,
    ):
        candidate, outcome = replay(exploration, cut, failure.number)
        assert outcome.reason == failure.reason
        assert Path(*write_images(exploration, candidate, 1)).read_bytes() == before


@pytest.mark.slow
def test_an_unreadable_sector_is_an_error_of_the_guest_s_disk(tmp_path: Path, disk: str) -> None:
    job = "cd /data; echo paid >order; sync; echo ACK order"
    request = crash_request(job, disk, values=["unreadable"], states=8)
    found = explore(request, tmp_path / "out")
    assert any("I/O error" in line for failure in found.failures for line in failure.console)


@pytest.mark.slow
def test_pruned_and_exhaustive_outcomes_are_equal(tmp_path: Path, disk: str) -> None:
    """Each state that was not run ends as its like did; and a second exploration runs none."""
    job = "cd /data; echo paid >order; sync; echo ACK order; echo x >other"
    request: CrashRequest = crash_request(job, disk, states=16)
    first = explore(request, tmp_path / "out")
    assert first.summary.pruned
    with opened(request, tmp_path / "out") as exploration:
        for candidate in exploration.candidates(exploration.points()):
            known = exploration.outcome(candidate)
            assert known is not None
            outcome, _ = exploration.recoveries.run(candidate)
            assert (outcome.passed, outcome.reason) == (known.passed, known.reason)
    again = explore(request, tmp_path / "out")
    assert (again.summary.run, again.summary.known) == (0, first.summary.unique)
