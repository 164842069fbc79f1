# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a run starts: warm, from the snapshot, and cold, from an empty cache.

Cold includes fetching the packages, making the guest image, and booting it once; how much
of it was the network is the mirror's affair, and is printed apart. The Debian guest is
measured where the host can build it; its image stays in the cache, as ``bench``.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from freezingtime.images.names import MINI

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
WARM_LIMIT_S = 1.5
DEBIAN_WARM_LIMIT_S = 3.0
COLD_LIMIT_S = 90.0
DEBIAN = "bench"
PROGRAM = Path(sys.executable).with_name("freezingtime")


class Cost(NamedTuple):
    """Of one run: seconds of wall time, and of the CPU time of all its processes."""

    wall_s: float
    cpu_s: float


def start(guest: str = MINI, **environment: str) -> Cost:
    """The cost of `freezingtime run -- true`."""
    begin_s, begin_cpu_s = time.monotonic(), _children_cpu_s()
    subprocess.run(
        [PROGRAM, "run", "--quiet", "--guest", guest, "--", "true"],
        check=True,
        env={**os.environ, **environment},
    )
    return Cost(time.monotonic() - begin_s, _children_cpu_s() - begin_cpu_s)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def warm(guest: str, limit_s: float) -> bool:
    """Print what a warm start of a guest costs; whether that is within the limit."""
    start(guest)
    costs = [start(guest) for _ in range(ROUNDS)]
    wall_s = statistics.median(cost.wall_s for cost in costs)
    cpu_s = statistics.median(cost.cpu_s for cost in costs)
    print(
        f"run --guest {guest} -- true: warm {wall_s:.2f} s, of CPU time {cpu_s:.2f} s "
        f"(median of {ROUNDS}; limit {limit_s} s of wall time)"
    )
    return wall_s <= limit_s


def main() -> None:
    """Print all; exit 1 if a limit is exceeded."""
    is_within = warm(MINI, WARM_LIMIT_S)
    if shutil.which("mmdebstrap") is None:
        print("run --guest debian: skipped, as mmdebstrap is not installed")
    else:
        build = [str(PROGRAM), "image", "build", "debian", "--name", DEBIAN, "--size", "2GiB"]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        is_within &= warm(DEBIAN, DEBIAN_WARM_LIMIT_S)
    with tempfile.TemporaryDirectory() as cache:
        cold_s = start(XDG_CACHE_HOME=cache).wall_s
    print(f"run -- true: from an empty cache {cold_s:.1f} s (limit {COLD_LIMIT_S:.0f} + downloads)")
    if not is_within or cold_s > COLD_LIMIT_S:
        raise SystemExit("start: above the limit")


if __name__ == "__main__":
    main()
