# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of a run or a replay as text, for any display."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from freezingtime.emulator.loop import Totals
from freezingtime.runs.progress.meter import DiskHistory

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = ".:-=+*%#"
_TIME_UNITS_NS = ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))


def step_line(step: str, done: int, total: int, host_s: float) -> str:
    """Format a step of the preparation with its host time."""
    amount = f" {done}/{total}" if total > 1 else ""
    return f"{step}{amount} ({host_s:.0f} s)"


class JobTimes:
    """Duration of a job in guest time and in host time, from the first sample on."""

    def __init__(self) -> None:
        self._start: tuple[int, float] | None = None

    def since_start(self, guest_ns: int) -> tuple[int, float]:
        """Guest time in ns and host time in s that have passed; it is ``guest_ns`` now."""
        now = guest_ns, time.monotonic()
        self._start = start = self._start or now
        return now[0] - start[0], now[1] - start[1]


def running_line(totals: Totals, guest_ns: int, host_s: float) -> str:
    """Format a job's times, and the ratio of guest time to real time."""
    speed = f" ({guest_ns / 1e9 / host_s:.3g}x)" if host_s > 0 else ""
    line = (
        f"guest {guest_ns / 1e9:.3f} s, real {host_s:.1f} s{speed}, "
        f"{totals.request_count} requests, frozen {totals.frozen_host_ns / 1e9:.1f} s, "
        f"warped {totals.warped_ns / 1e9:.1f} s"
    )
    waiting_for = totals.waiting_for
    return f"{line}, waiting for {waiting_for}" if waiting_for else line


def disks_line(histories: Iterable[DiskHistory]) -> str:
    """Summarise the disks' last interval in one line."""
    return "; ".join(
        f"{history.name} {_rate(history.iops)} IOPS{_mean(history.latency_ns)}"
        for history in histories
    )


def disk_cells(history: DiskHistory, *, ascii_only: bool) -> tuple[str, str, str, str]:
    """A disk in a table: its name, rate, latency, and a sparkline of the latency."""
    latency_ns = history.latency_ns
    return (
        history.name,
        f"{_rate(history.iops)} IOPS",
        "-" if latency_ns is None else short_time(latency_ns),
        sparkline(list(history.latencies_ns), _ASCII_BARS if ascii_only else _BARS),
    )


def sparkline(values: Sequence[float | None], bars: str = _BARS) -> str:
    """A bar for each value, the greatest the highest; a gap where there is none."""
    greatest = max((value for value in values if value is not None), default=0.0)
    top = len(bars) - 1
    return "".join(
        " " if value is None else bars[round(value / greatest * top) if greatest else 0]
        for value in values
    )


def short_time(time_ns: float) -> str:
    """A time in three digits or more, in the largest unit that is not more than it."""
    for unit_ns, unit in _TIME_UNITS_NS:
        if time_ns >= unit_ns:
            return f"{time_ns / unit_ns:.3g} {unit}" if time_ns < 1e12 else f"{time_ns / 1e9:.0f} s"
    return f"{time_ns:.0f} ns"


def share_line(step: str, done: int, total: int) -> str:
    """A step with its share, if ``total`` is not 0."""
    return f"{step}: {done / total:.0%}" if total else step


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}"


def _mean(latency_ns: float | None) -> str:
    return "" if latency_ns is None else f" {short_time(latency_ns)}"
