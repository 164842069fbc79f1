"""How far a run or a replay is, in words, for whatever shows it."""

from __future__ import annotations

from freezingtime.emulator import Totals


def step_line(step: str, done: int, total: int, host_s: float) -> str:
    """A step of the preparation, after so many seconds of host time."""
    amount = f" {done}/{total}" if total > 1 else ""
    return f"{step}{amount} ({host_s:.0f} s)"


def running_line(totals: Totals, host_s: float) -> str:
    """A run that goes on, after so many seconds of host time."""
    line = (
        f"guest {totals.now_ns / 1e9:.3f} s, real {host_s:.1f} s, "
        f"{totals.request_count} requests, frozen {totals.frozen_host_ns / 1e9:.1f} s, "
        f"warped {totals.warped_ns / 1e9:.1f} s"
    )
    waiting_for = totals.waiting_for
    return f"{line}, waiting for {waiting_for}" if waiting_for else line


def share_line(step: str, done: int, total: int) -> str:
    """A step with its share, if ``total`` is not 0."""
    return f"{step}: {done / total:.0%}" if total else step
