# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of a run or a replay as text, for any display."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from freezingtime.units import NS_PER_S, counted

if TYPE_CHECKING:
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


def running_line(
    totals: Totals,
    guest_ns: int,
    host_s: float,
    expected_ns: int | None = None,
    *,
    verbose: bool = False,
) -> str:
    """Format a job's times, and when it ends if it is expected to take ``expected_ns``.

    Where nothing is expected, or that time is over, the ratio of real time to guest time.
    ``verbose``: with frozen and warped time.
    """
    of, rest = "", slowdown(guest_ns, host_s)
    if expected_ns is not None and 0 < guest_ns <= expected_ns:
        of = f" of {plain_time(expected_ns)}"
        left_s = host_s * (expected_ns - guest_ns) / guest_ns
        rest = f"about {plain_time(round(left_s) * NS_PER_S)} left"
    parts = [f"guest {guest_ns / 1e9:.3f} s{of}, real {host_s:.1f} s", rest]
    parts.append(counted(totals.request_count, "request"))
    if verbose:
        parts.append(f"frozen {totals.frozen_host_ns / 1e9:.1f} s")
        parts.append(f"warped {totals.warped_ns / 1e9:.1f} s")
    if totals.waiting_for:
        parts.append(f"waiting for {totals.waiting_for}")
    return ", ".join(filter(None, parts))


def slowdown(guest_ns: int, host_s: float) -> str:
    """Say how much longer the host took than the guest; nothing where one took no time."""
    ratio = host_s * NS_PER_S / guest_ns if guest_ns > 0 else 0.0
    if not ratio:
        return ""
    times = ratio if ratio >= 1 else 1 / ratio
    return f"{_three_digits(times)} times {'slower' if ratio >= 1 else 'faster'}"


def plain_time(time_ns: int) -> str:
    """A time as people say it: ``2.1 s``, ``84 s``, ``13 min 20 s``, ``2 h 10 min``."""
    whole_s = round(time_ns / NS_PER_S)
    if whole_s < 100:
        return short_time(time_ns)
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60} s".removesuffix(" 0 s")
    minutes = round(time_ns / (60 * NS_PER_S))
    return f"{minutes // 60} h {minutes % 60} min".removesuffix(" 0 min")


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
            return f"{_three_digits(time_ns / unit_ns)} {unit}"
    return f"{time_ns:.0f} ns"


def share_line(step: str, done: int, total: int) -> str:
    """A step with its share, if ``total`` is not 0."""
    return f"{step}: {done / total:.0%}" if total else step


def _three_digits(value: float) -> str:
    """Or all before the point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}"


def _mean(latency_ns: float | None) -> str:
    return "" if latency_ns is None else f" {short_time(latency_ns)}"
