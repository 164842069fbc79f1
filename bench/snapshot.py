# SPDX-License-Identifier: GPL-2.0-or-later
"""What a snapshot costs, by the guest's memory: on disk, and in time to start from.

Of each size of memory two are saved: of a guest that has done nothing, as the snapshots of booted
guests are, and of one whose memory is as good as full. ``BENCH_MEMORY`` names other sizes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from freezingtime.store.checksums import check_files
from freezingtime.store.saved_machine import find_saved, remove_saved

MEMORIES = os.environ.get("BENCH_MEMORY", "512MiB,2GiB").split(",")
PROGRAM = Path(sys.executable).with_name("freezingtime")
#: Bytes that are no zeros, which QEMU leaves out, in most of the memory.
FILL = (
    "mount -t tmpfs -o size=85% none /mnt; head -c 1048576 /dev/urandom >/tmp/block; "
    "while cat /tmp/block; do :; done >/mnt/full 2>/dev/null; true"
)


def run(*arguments: str) -> float:
    """The seconds that a run takes."""
    begin_s = time.monotonic()
    subprocess.run([PROGRAM, "run", "--quiet", *arguments], check=True)
    return time.monotonic() - begin_s


def measure(memory: str, what: str, job: str) -> None:
    """Print what the snapshot of a guest costs that has run ``job``."""
    name = f"bench-{os.getpid()}"
    with contextlib.ExitStack() as cleanup:
        run("--memory", memory, "--save", name, "--", job)
        cleanup.callback(remove_saved, name)
        saved = find_saved(name)
        begin_s = time.monotonic()
        check_files(saved.directory)
        check_s = time.monotonic() - begin_s
        start_s = run("--from", name, "--", "true")
        print(
            f"memory {memory}, {what}: {saved.stored_bytes / (1 << 20):.0f} MiB on disk, "
            f"a run from it {start_s:.1f} s, of which checking {check_s:.2f} s"
        )


def main() -> None:
    """Print all."""
    for memory in MEMORIES:
        run("--memory", memory, "--", "true")
        measure(memory, "idle", "true; true")
        measure(memory, "85 % full", FILL)


if __name__ == "__main__":
    main()
