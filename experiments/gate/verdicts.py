# SPDX-License-Identifier: GPL-2.0-or-later
"""Harmless rebuilds and planted changes of a program, as `gate --phases` judges them.

Many executions share one guest, each with a start, an environment and an address space of its own;
each is timed there. What was measured is kept in a file, a line for each guest, so that the same
command goes on where it stopped, or adds to what is there.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from experiments.gate.measurements import GuestMeasured, Measurements
from experiments.gate.rebuilds import Builder, batched, sources_identity
from scipy.stats import binomtest, mannwhitneyu

from freezingtime.explore.sweep.run_unit import RunUnit
from freezingtime.results.phases import FALSE_ALARMS, shift_chance
from freezingtime.runs.options import RunOptions
from freezingtime.runs.script import Command
from freezingtime.vm.job import directory_script

_DISK = "samsung-870-evo-1tb,name=data,mount=/data"
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
_WARM_UP = "warm-up"
_CONFIDENCE = 0.95
#: What is further from the median of its build was hit by something else in the guest.
_FAR = 0.01


def rebuilds(start: int, count: int, planted: int, results: Path | None) -> None:
    """Judge so many rebuilds, numbered from ``start`` on; planted changes in those up to one.

    ``results``: a file of measurements; those that it lacks are added, and all of it is judged.
    """
    with (
        tempfile.TemporaryDirectory(prefix="freezingtime-") as directory,
        Measurements(results or Path(directory) / "results", _identity()) as measurements,
    ):
        builder = Builder(Path(directory))
        builder.compile()
        _measure_missing(measurements, builder, range(start, start + count), planted)
        _print_verdicts(measurements.guests)


def _measure_missing(
    measurements: Measurements, builder: Builder, wanted: range, planted: int
) -> None:
    loops: dict[Fraction, int] = {}
    missing = [number for number in wanted if number not in measurements.numbers]
    for done, numbers in enumerate(batched(missing, _REBUILDS_IN_A_GUEST)):
        has_planted = numbers[0] <= planted
        if has_planted and not loops:
            loops = _planted_loops(builder)
        measured = _measure(builder, numbers, loops if has_planted else {})
        measurements.add(GuestMeasured(numbers, measured))
        ended = done * _REBUILDS_IN_A_GUEST + len(numbers)
        print(f"{ended} of {len(missing)} rebuilds", file=sys.stderr, flush=True)


def _print_verdicts(guests: Sequence[GuestMeasured]) -> None:
    verdicts: dict[str, list[bool]] = defaultdict(list)
    spreads: list[float] = []
    shifts: list[float] = []
    for guest in guests:
        for number in guest.numbers:
            base = guest.phases_ns[_base_name(number)]
            spreads.append((max(base) - min(base)) / statistics.median(base))
            rebuilt = guest.phases_ns[f"rebuild-{number}"]
            shifts.append(statistics.median(rebuilt) / statistics.median(base) - 1)
            for name, phases in guest.phases_ns.items():
                if name.endswith(f"-{number}") and not name.startswith("base"):
                    _judge(name.rpartition("-")[0], base, phases, verdicts)
    print(f"\nspread of {_PHASES} phases, (max - min) / median: ", end="")
    print(f"median {statistics.median(spreads):.2%}, at most {max(spreads):.2%}")
    far, count = _count_far([phases for guest in guests for phases in guest.phases_ns.values()])
    print(f"executions further than {_FAR:.0%} from their build's median: {far} of {count}")
    print(f"shift of the median by a rebuild: {min(shifts):+.3%} to {max(shifts):+.3%}\n")
    print("| what | condition | test | failed | share, 95 % interval | at least | at most |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, found in verdicts.items():
        failed, count = sum(found), len(found)
        both = binomtest(failed, count).proportion_ci(_CONFIDENCE)
        least = binomtest(failed, count, alternative="greater").proportion_ci(_CONFIDENCE).low
        most = binomtest(failed, count, alternative="less").proportion_ci(_CONFIDENCE).high
        print(f"| {name} | {failed} of {count} | {both.low:.3%} to {both.high:.3%} | ", end="")
        print(f"{least:.3%} | {most:.3%} |")
    print("\nat least, at most: bounds of one side, each with a confidence of 95 %")


def _count_far(builds: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many executions lie far from the median of their build, and how many there are."""
    far = 0
    for phases in builds:
        middle = statistics.median(phases)
        far += sum(abs(ns / middle - 1) > _FAR for ns in phases)
    return far, sum(map(len, builds))


def _identity() -> str:
    """A digest of what decides a measurement: guest, code, compiler, program, and how it is run."""
    key = RunUnit(RunOptions(disks=[_DISK]), Command(line="true")).key()
    plan = (_WARM_UP, _PHASES, _WAIT_US_MAX, _PADDING_BYTES_MAX, _LOOP_INSTRUCTIONS, _RATE_HZ)
    text = f"{key.digest} {plan} {sources_identity()}"
    return hashlib.sha256(text.encode()).hexdigest()


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
    [base] = _measure(builder, (), {}).values()
    base_ns = statistics.median(base)
    per_loop_ns = Fraction(_LOOP_INSTRUCTIONS * 10**9, _RATE_HZ)
    print(f"the program takes {base_ns / 1e6:.3f} ms of guest time", file=sys.stderr)
    return {share: int(share * int(base_ns) / per_loop_ns) for share in _PLANTED}


def _measure(
    builder: Builder, numbers: Sequence[int], loops: Mapping[Fraction, int]
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
    drawn = random.Random(f"phases {list(numbers)}")
    # The first program of a guest has the files of all to read; a gate's phases begin alike.
    plan = [f"{_WARM_UP} /job/base {spare} 0 0\n"]
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
        if name != _WARM_UP:
            found[name.replace("_", " ")].append(int(ns))
    if any(len(each) != _PHASES for each in found.values()) or len(found) != len(lines):
        raise SystemExit("the guest did not run all of it")
    return found
