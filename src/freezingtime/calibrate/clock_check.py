# SPDX-License-Identifier: GPL-2.0-or-later
"""Error of a device's latency under each clock, over a fast and over a slow medium.

A guest reads from devices whose time is known, one request after the other, and measures each with
its own clock (fio's latency log). What a read took beyond the device's time is the guest's own
software, and what leaks into guest time. The software is the same over any medium, so what
differs between the two media has leaked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from freezingtime.calibrate.clock_check_options import CLOCKS, ClockCheckOptions
from freezingtime.calibrate.guest_job import Observer, run_fio
from freezingtime.clock.kind import ClockKind
from freezingtime.disk.disk import Disk
from freezingtime.errors import InputError, about
from freezingtime.host.kvm.preflight import require_kvm
from freezingtime.percentile import percentile_ns
from freezingtime.runs.options import MAX_LEAK, RunOptions
from freezingtime.runs.plan import make_plan
from freezingtime.runs.result import RunResult
from freezingtime.trace.readers.read_latencies import read_latencies
from freezingtime.trace.record_columns import read_disks
from freezingtime.trace.record_reader import open_record
from freezingtime.trace.run_directory import COLLECTED_DIRECTORY
from freezingtime.units import Limits, parse_option, parse_time_ns

#: By name, in 100,000ths of all requests.
PERCENTILES: Final = {"p50": 50_000, "p99": 99_000, "p99.9": 99_900}
LATENCIES: Final = ("10us", "100us", "1ms", "10ms")

_FAST: Final = "memory"
#: The first requests of a program wait for what it has not touched before.
_WARM_UP: Final = 100
_DISK_BYTES: Final = 1 << 30
_LOGS: Final = "/tmp/clock-check"
_LETTERS: Final = "abcd"
_REQUESTS_LIMITS: Final = Limits(100, 1_000_000, "from 100 to 1000000")
_DELAY_LIMITS: Final = Limits(1, 10**9, "from 1ns to 1s")


@dataclass(frozen=True, slots=True)
class ClockCheckPlan:
    """Plan of a check."""

    clocks: Sequence[ClockKind]
    requests: int
    delay: str
    run: RunOptions
    """What else the guests are run with."""

    def options_of(self, clock: ClockKind) -> RunOptions:
        """Return the options of the runs under one of the clocks; --max-leak is for KVM alone."""
        is_of_other = clock is not ClockKind.KVM and ClockKind.KVM in self.clocks
        return replace(
            self.run, clock=clock, max_leak=MAX_LEAK if is_of_other else self.run.max_leak
        )


@dataclass(frozen=True, slots=True)
class CheckedDevice:
    """Reads from one device over one medium, under one clock; times are in order."""

    clock: ClockKind
    latency: str
    """The device's."""
    medium: str
    beyond_ns: NDArray[np.int64]
    """What each took beyond that, by the guest's clock."""
    late_ns: NDArray[np.int64]
    """By how much each was delivered after the device's time, by the record."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "clock": self.clock,
            "device": self.latency,
            "medium": self.medium,
            "requests": len(self.beyond_ns),
            "beyond_ns": percentiles(self.beyond_ns),
            "late_ns": percentiles(self.late_ns),
        }


@dataclass(frozen=True, slots=True)
class ClockCheck:
    """Result of a check."""

    devices: Sequence[CheckedDevice]
    """For each clock and device one over each medium: the fast one first."""
    reasons_invalid: Sequence[str]
    """Of the runs whose figures say nothing."""
    reason_without_kvm: str | None
    """Why the KVM clock was not checked, which was to be."""

    def leaks(self) -> Iterator[tuple[ClockKind, dict[str, int]]]:
        """Of each clock: by how many ns a percentile differs between media, at most."""
        for clock in dict.fromkeys(found.clock for found in self.devices):
            of_clock = [
                percentiles(found.beyond_ns) for found in self.devices if found.clock is clock
            ]
            pairs = list(zip(of_clock[::2], of_clock[1::2], strict=True))
            yield (
                clock,
                {
                    name: max(abs(slow[name] - fast[name]) for fast, slow in pairs)
                    for name in PERCENTILES
                },
            )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "devices": [found.as_dict() for found in self.devices],
            "between_media_ns": {str(clock): leak_ns for clock, leak_ns in self.leaks()},
            "not_valid": list(self.reasons_invalid),
            "without_kvm": self.reason_without_kvm,
        }


def percentiles(ordered_ns: NDArray[np.int64]) -> dict[str, int]:
    """Return the percentiles of times in order."""
    return {name: percentile_ns(ordered_ns, per_100k) for name, per_100k in PERCENTILES.items()}


def make_clock_check_plan(
    options: ClockCheckOptions = ClockCheckOptions(),  # noqa: B008 - frozen
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
) -> ClockCheckPlan:
    """Make the plan of a check; ``run`` is what else its guests are run with.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    _REQUESTS_LIMITS.check("--requests", options.requests, options.requests)
    parse_option("--delay", options.delay, parse_time_ns, _DELAY_LIMITS)
    plan = ClockCheckPlan(_clocks(options.clocks), options.requests, options.delay, run)
    for clock in plan.clocks:
        make_plan(plan.options_of(clock), script=_script(plan.requests).encode())
    return plan


def _clocks(text: str) -> list[ClockKind]:
    known = CLOCKS.split(",")
    names = text.split(",")
    if not set(names) <= set(known) or len(set(names)) < len(names):
        raise InputError(f"--clocks {text}: must be one of: exact, kvm, exact,kvm")
    return [ClockKind(name) for name in known if name in names]


def check_clocks(
    plan: ClockCheckPlan,
    *,
    out: Path | None = None,
    observer: Observer = lambda step, done, total: None,
) -> ClockCheck:
    """Check all clocks; ``out`` keeps the runs.

    Where the host's KVM will not do, the exact clock is checked all the same.

    Raises:
        InputError: there is nothing to check here, or a run cannot be made.
        RunError: a run failed.
    """
    clocks, reason = _possible(plan.clocks)
    devices: list[CheckedDevice] = []
    invalid: list[str] = []
    with ExitStack() as cleanup:
        place = out or Path(
            cleanup.enter_context(tempfile.TemporaryDirectory(prefix="freezingtime-"))
        )
        for clock in clocks:
            media = {}
            for medium in (_FAST, plan.delay):
                directory = place / f"{clock}-{medium}"
                directory.parent.mkdir(parents=True, exist_ok=True)
                result = _run(plan, clock, medium, directory, observer)
                if (why := result.reason_invalid) is not None:
                    invalid.append(f"{clock} over {medium}: {why}")
                media[medium] = list(_checked(clock, medium, directory))
            devices += [found for pair in zip(*media.values(), strict=True) for found in pair]
    return ClockCheck(devices, invalid, reason)


def _possible(clocks: Sequence[ClockKind]) -> tuple[Sequence[ClockKind], str | None]:
    """Return the clocks that can be checked here, and why not all of them."""
    if ClockKind.KVM not in clocks:
        return clocks, None
    try:
        with about("--clocks kvm: "):
            require_kvm()
    except InputError as error:
        others = [clock for clock in clocks if clock is not ClockKind.KVM]
        if not others:
            raise
        return others, str(error)
    return clocks, None


def _run(
    plan: ClockCheckPlan, clock: ClockKind, medium: str, out: Path, observer: Observer
) -> RunResult:
    delay = None if medium == _FAST else medium
    disks = [
        Disk(f"constant:{latency}", size=_DISK_BYTES, delay=delay, name=_name(latency))
        for latency in LATENCIES
    ]
    options = replace(
        plan.options_of(clock),
        disks=disks,
        collect=[f"{_LOGS}/*.log"],
        metrics="none",
        out=out,
    )
    count = plan.requests + _WARM_UP
    step = f"{clock} clock, over {medium if delay is None else f'a medium of {medium}'}"
    run_plan = make_plan(options, script=_script(count).encode())
    return run_fio(run_plan, step, count * len(LATENCIES), observer)


def _name(latency: str) -> str:
    return f"constant-{latency}"


def _script(count: int) -> str:
    lines = ["#!/bin/sh", "set -e", f"mkdir {_LOGS}", f"cd {_LOGS}"]
    for letter, latency in zip(_LETTERS, LATENCIES, strict=True):
        lines.append(
            f"fio --name={latency} --filename=/dev/vd{letter} --rw=randread --bs=4k --direct=1 "
            f"--ioengine=psync --thread --norandommap --size={_DISK_BYTES} --io_size=1t "
            f"--number_ios={count} --clocksource=clock_gettime --disable_slat=1 --disable_clat=1 "
            f"--write_lat_log={latency} --output=/dev/null"
        )
    return "\n".join(lines) + "\n"


def _checked(clock: ClockKind, medium: str, run_path: Path) -> Iterator[CheckedDevice]:
    disks = read_disks(open_record(run_path), ("completion_ns", "delivery_ns"), lambda notice: None)
    for latency in LATENCIES:
        log = run_path / COLLECTED_DIRECTORY / f"{_LOGS[1:]}/{latency}_lat.1.log"
        took_ns = read_latencies(log).latency_ns[_WARM_UP:]
        columns = disks[_name(latency)]
        yield CheckedDevice(
            clock,
            latency,
            medium,
            np.sort(took_ns - parse_time_ns(latency)),
            np.sort(columns["delivery_ns"] - columns["completion_ns"]),
        )
