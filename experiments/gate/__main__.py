# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a gate can be believed: ``python -m experiments.gate repeat|rebuilds|whole``.

``repeat`` runs one job many times from its snapshot, as a gate does where only documentation was
changed, the last quarter beside processes that keep the host busy, and compares all of it to the
nanosecond.

``rebuilds`` has `gate --phases` judge rebuilds of a program that are harmless (order of linking,
padding, alignment), and changes of a known size that are planted. With ``--results FILE`` it goes
on where it stopped, and adds to what the file has.

``whole`` measures how long a whole gate takes from a cached guest, with both sides to be run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from experiments.gate.verdicts import rebuilds

from freezingtime.explore.sweep.run_unit import RunUnit
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command

_RAW_DISK = "samsung-870-evo-1tb,name=data"
_REPEATED = "dd if=/dev/zero of=/dev/vda bs=4k count=50 oflag=direct; sha256sum /bin/dd"

#: The most that a gate of one job may take from a cached guest, on two cores.
_WHOLE_S = 30.0


def repeat(count: int) -> int:
    """Run a job again and again; returns how many runs differed."""
    unit = RunUnit(RunOptions(disks=[_RAW_DISK]), Command(line=_REPEATED))
    first: Mapping[str, str] | None = None
    differing = 0
    hogs: list[multiprocessing.Process] = []
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="freezingtime-") as directory:
        for number in range(count):
            if number == count - count // 4:
                hogs = [multiprocessing.Process(target=_keep_busy, daemon=True) for _ in range(2)]
                for hog in hogs:
                    hog.start()
            identity = unit.execute(Path(directory) / f"{number}").identity
            first = first or identity
            differing += identity != first
            if (number + 1) % 10 == 0:
                print(f"{number + 1} of {count} runs", file=sys.stderr)
    for hog in hogs:
        hog.kill()
    host_s = time.monotonic() - start_s
    print(f"{count} runs, {count // 4} of them beside 2 busy processes, in {host_s:.0f} s")
    print(f"{count - differing} of {count}: 0 ns of difference in requests, output and figures")
    return differing


def _keep_busy() -> None:
    while True:
        pass


def whole() -> int:
    """Gate a change whose two sides are not in the store; returns 1 if that takes too long."""
    with tempfile.TemporaryDirectory(prefix="freezingtime-") as directory:
        job = Path(directory) / "job.sh"
        git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", directory)
        # The guest is built and booted by whoever is first, and not by a gate.
        _freezingtime("run", "--quiet", "--disk", _RAW_DISK, "--", "true")
        job.write_text(f"#!/bin/sh\n{_REPEATED}\n")
        for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "x"]):
            subprocess.run([*git, *words], check=True)
        job.write_text(f"#!/bin/sh\n{_REPEATED.replace('count=50', 'count=60')}\n")
        given = ("--store", f"{directory}/store", "--baseline-commit", "HEAD", "--disk", _RAW_DISK)
        condition = ("--fail-if", "requests > +0", "--script", str(job))
        seconds: list[float] = []
        cpu_s = [_children_cpu_s()]
        for _ in range(2):
            start_s = time.monotonic()
            if _freezingtime("gate", "--quiet", *given, *condition) != 1:
                raise SystemExit("the gate did not fail")
            seconds.append(time.monotonic() - start_s)
            cpu_s.append(_children_cpu_s() - sum(cpu_s))
    for what, real_s, used_s in zip(("runs", "finds"), seconds, cpu_s[1:], strict=True):
        print(f"a gate that {what} both sides: {real_s:.1f} s, of which CPU time {used_s:.1f} s")
    return int(seconds[0] > _WHOLE_S)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _freezingtime(*arguments: str) -> int:
    command = [sys.executable, "-m", "freezingtime", *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


def main() -> int:
    """Returns 1 if something differs that must not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", choices=("repeat", "rebuilds", "whole"))
    parser.add_argument("--count", type=int, default=100, help="runs, or rebuilds")
    parser.add_argument("--start", type=int, default=1, help="number of the first rebuild")
    parser.add_argument(
        "--planted", type=int, default=40, help="number of the last rebuild with planted changes"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="measurements of rebuilds; new ones are added"
    )
    given = parser.parse_args()
    if given.experiment == "whole":
        return whole()
    if given.experiment == "repeat":
        return 1 if repeat(given.count) else 0
    rebuilds(given.start, given.count, given.planted, given.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
