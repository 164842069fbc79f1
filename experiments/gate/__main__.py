# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a gate can be believed: ``python -m experiments.gate repeat|rebuilds|whole``.

``repeat`` runs one job many times from its snapshot, as a gate does where only documentation was
changed, the last quarter beside processes that keep the host busy, and compares all of it to the
nanosecond.

``rebuilds`` has `gate --phases` judge rebuilds of a program that are harmless (order of linking,
padding, alignment), and changes of a known size that are planted. Many executions share one guest,
each with a start, an environment and an address space of its own; each is timed there.

``whole`` measures how long a whole gate takes from a cached guest, with both sides to be run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from experiments.gate.rebuilds import Builder, batches
from scipy.stats import binomtest, mannwhitneyu

from freezingtime.explore.sweep.run_unit import RunUnit
from freezingtime.results.phases import FALSE_ALARMS, shift_chance
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.vm.job import directory_script

_DISK = "samsung-870-evo-1tb,name=data,mount=/data"
_RAW_DISK = "samsung-870-evo-1tb,name=data"
_REPEATED = "dd if=/dev/zero of=/dev/vda bs=4k count=50 oflag=direct; sha256sum /bin/dd"

_PHASES = 10
_THRESHOLDS = (Fraction(0), Fraction(5, 1000))
_RATE_HZ = 4_000_000_000
_LOOP_INSTRUCTIONS = 2
#: What is planted: shares of the program's time.
_PLANTED = (Fraction(6, 1000), Fraction(1, 100), Fraction(-1, 100))
_REBUILDS_IN_A_GUEST = 40
#: How many gates share the phases of one build of the program as it is.
_SHARED = 4
_WAIT_US_MAX = 5_000_000
_PADDING_BYTES_MAX = 4096
_CONFIDENCE = 0.95
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


def rebuilds(start: int, count: int, planted: int) -> None:
    """Judge so many rebuilds, numbered from ``start`` on; planted changes in those up to one."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    spreads: list[float] = []
    shifts: list[float] = []
    with tempfile.TemporaryDirectory(prefix="freezingtime-") as directory:
        builder = Builder(Path(directory))
        builder.compile()
        loops = _planted_loops(builder)
        for numbers in batches(start, count, _REBUILDS_IN_A_GUEST):
            measured = _measure(builder, numbers, loops if numbers[0] <= planted else {})
            for number in numbers:
                base = measured[_base_name(number)]
                spreads.append((max(base) - min(base)) / statistics.median(base))
                rebuilt = measured[f"rebuild-{number}"]
                shifts.append(statistics.median(rebuilt) / statistics.median(base) - 1)
                for name, phases in measured.items():
                    if name.endswith(f"-{number}") and not name.startswith("base"):
                        _judge(name.rpartition("-")[0], base, phases, verdicts)
            print(f"{numbers[-1] - start + 1} of {count} rebuilds", file=sys.stderr)
    print(f"\nspread of {_PHASES} phases, (max - min) / median: ", end="")
    print(f"median {statistics.median(spreads):.2%}, at most {max(spreads):.2%}")
    print(f"shift of the median by a rebuild: {min(shifts):+.3%} to {max(shifts):+.3%}\n")
    print("| what | condition | test | failed | share, with 95 % confidence |")
    print("| --- | --- | --- | --- | --- |")
    for name, found in verdicts.items():
        bounds = binomtest(sum(found), len(found)).proportion_ci(_CONFIDENCE)
        print(f"| {name} | {sum(found)} of {len(found)} | {bounds.low:.2%} to {bounds.high:.2%} |")


def _judge(
    what: str, base: Sequence[int], phases: Sequence[int], verdicts: dict[str, list[bool]]
) -> None:
    """Judge one build by every test; of one that is to be faster, whether it became so."""
    sign = -1 if what.startswith("planted -") else 1
    for threshold in _THRESHOLDS:
        limits = [Fraction(each) * (1 + sign * threshold) for each in base]
        beyond = [sign * (b - limit) for b, limit in zip(phases, limits, strict=True)]
        relation = "<" if sign < 0 else ">"
        condition = f"`guest_time {relation} {'-' if sign < 0 else '+'}{float(threshold):.1%}`"
        chance = shift_chance(beyond, ties_count=False)
        verdicts[f"{what} | {condition} | signed rank"].append(chance * FALSE_ALARMS <= 1)
        floats = [float(each) for each in limits]
        side = "less" if sign < 0 else "greater"
        unpaired = mannwhitneyu(phases, floats, alternative=side, method="exact").pvalue
        verdicts[f"{what} | {condition} | Mann-Whitney"].append(unpaired * FALSE_ALARMS <= 1)


def _base_name(number: int) -> str:
    return f"base-{(number - 1) // _SHARED}"


def _planted_loops(builder: Builder) -> dict[Fraction, int]:
    """How often the program spins for each planted change; a faster one spins less than the base.

    A loop takes two instructions, whose guest time is known exactly.
    """
    [base] = _measure(builder, range(0), {}).values()
    base_ns = statistics.median(base)
    per_loop_ns = Fraction(_LOOP_INSTRUCTIONS * 10**9, _RATE_HZ)
    print(f"the program takes {base_ns / 1e6:.3f} ms of guest time", file=sys.stderr)
    return {share: int(share * int(base_ns) / per_loop_ns) for share in _PLANTED}


def _measure(
    builder: Builder, numbers: range, loops: Mapping[Fraction, int]
) -> dict[str, list[int]]:
    """Run all phases of some rebuilds in one guest; guest times in ns by name.

    All spin as often as the fastest one spins less, so that this one can.
    """
    spare = max([0, *(-each for each in loops.values())])
    lines: list[tuple[str, str, int]] = []
    for group in dict.fromkeys(map(_base_name, numbers)) or ["base-0"]:
        lines.append((group, "base", spare))
    for number in numbers:
        lines.append((f"rebuild-{number}", f"rebuild-{number}", spare))
        for share, count in loops.items():
            name = f"planted {float(share):+.1%}-{number}"
            lines.append((name, f"rebuild-{number}", spare + count))
    drawn = random.Random(f"phases {numbers}")
    plan = []
    for _ in range(_PHASES):
        # As the phases of a gate do, those of one number start alike. The order is drawn.
        wait_us, padding_bytes = drawn.randrange(_WAIT_US_MAX), drawn.randrange(_PADDING_BYTES_MAX)
        plan += [
            f"{name.replace(' ', '_')} /job/{program} {count} {wait_us} {padding_bytes}\n"
            for name, program, count in drawn.sample(lines, len(lines))
        ]
    with tempfile.TemporaryDirectory(prefix="freezingtime-") as directory:
        job = Path(directory) / "job"
        job.mkdir()
        builder.link(0, job / "base")
        for number in numbers:
            builder.link(number, job / f"rebuild-{number}")
        shutil.copy(builder.directory / "drive", job)
        (job / "plan").write_text("".join(plan))
        (job / "run").write_text("#!/bin/sh\nexec /job/drive /data/log </job/plan\n")
        (job / "run").chmod(0o755)
        unit = RunUnit(RunOptions(disks=[_DISK]), directory_script(job), job)
        unit.execute(Path(directory) / "run")
        printed = (Path(directory) / "run" / "stdout.txt").read_text()
    found: dict[str, list[int]] = defaultdict(list)
    for line in printed.splitlines():
        name, ns = line.split()
        found[name.replace("_", " ")].append(int(ns))
    if any(len(each) != _PHASES for each in found.values()) or len(found) != len(lines):
        raise SystemExit("the guest did not run all of it")
    return found


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
    given = parser.parse_args()
    if given.experiment == "whole":
        return whole()
    if given.experiment == "repeat":
        return 1 if repeat(given.count) else 0
    rebuilds(given.start, given.count, given.planted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
