# SPDX-License-Identifier: GPL-2.0-or-later
"""What a request costs the host, in counts that other load on it does not change."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.support.guestlib import fio_command, run_guest

pytestmark = pytest.mark.guest

REQUESTS = 2000
SAMPLE_PERIOD_S = 0.01


class ThreadWatch(threading.Thread):
    """Watches how often each thread of the QEMU that we start has gone to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: dict[str, int] = {}
        self.ticks: dict[str, int] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_PERIOD_S):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self._look_at(process)
                except OSError:
                    continue  # it has ended meanwhile

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _look_at(self, process: Path) -> None:
        if _stat(process)[0] != os.getpid():
            return
        # Not by its name: with a loader of its own it has the loader's.
        if b"qemu-system" not in (process / "cmdline").read_bytes():
            return
        for task in process.glob("task/*"):
            _, ticks = _stat(task)
            _, _, status = (task / "status").read_text().partition("\nvoluntary_ctxt_switches:")
            self.sleeps[task.name] = int(status.split()[0])
            self.ticks[task.name] = ticks


def _stat(task: Path) -> tuple[int, int]:
    """Return the parent of a thread's process, and the thread's time in user mode in ticks."""
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[11])


def test_no_thread_but_the_guests_wakes_for_a_request() -> None:
    """QEMU itself wakes two at each timer of the guest's, and they want its big lock."""
    job = fio_command(rw="randread", number_ios=REQUESTS, output="/dev/null")
    run_guest("true", "constant:10us")  # a machine that boots does more than run a job
    watch = ThreadWatch()
    watch.start()
    try:
        run_guest(job, "constant:10us")
    finally:
        watch.end()
    cpus = max(watch.ticks, key=watch.ticks.__getitem__)
    others = {thread: count for thread, count in watch.sleeps.items() if thread != cpus}
    assert len(others) >= 2
    assert sum(others.values()) < REQUESTS / 2
