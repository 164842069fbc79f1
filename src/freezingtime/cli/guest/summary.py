# SPDX-License-Identifier: GPL-2.0-or-later
"""Summary of a run on the console: its figures, whether they are exact, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from freezingtime.cli.output.columns import aligned
from freezingtime.cli.output.fault_lines import change_lines, fault_lines
from freezingtime.clock.kind import ClockKind
from freezingtime.device.changes.change import unreached
from freezingtime.host.foreign_text import say
from freezingtime.report.discard_notice import discard_notices
from freezingtime.runs.progress.disk_tally import OperationFigures
from freezingtime.runs.progress.text import plain_time, slowdown
from freezingtime.runs.result import RunResult
from freezingtime.units import NS_PER_S, counted, format_time_ns, four_digits, time_cell

_HEADER = ("disk", "operation", "IOPS", "MB/s", "mean", "p50", "p99", "p99.9")
_TEXT_COLUMNS = 2
#: How many complaints of one kind are shown.
_FIGURES_MAX = 10
_LINES_MAX = 3


def print_summary(result: RunResult, *, verbose: bool) -> None:
    """Print it on stderr; ``verbose``: with how the real time was spent."""
    for line in (*_application(result), *_disks(result)):
        say(line)
    _say_verdict(result)
    times = _times(result, verbose=verbose)
    for line in (
        *_reasons(result),
        *_faults(result),
        *_kvm_account(result),
        *times,
        *_left(result),
    ):
        say(line)


def _application(result: RunResult) -> Iterator[str]:
    figures = result.said.figures
    yield from (f"app.{figure}" for figure in figures[:_FIGURES_MAX])
    if len(figures) > _FIGURES_MAX:
        yield f"{len(figures) - _FIGURES_MAX} more figures of the application; run.json has all"
    yield from result.said.notes


def _disks(result: RunResult) -> Iterator[str]:
    """A table with a row for each disk and operation that there was a request of."""
    rows = [_row(disk, figures) for disk, all_of in result.figures.items() for figures in all_of]
    if rows:
        yield from map("  ".join, aligned([_HEADER, *rows], _TEXT_COLUMNS))
    for disk, statistics in result.statistics.items():
        yield from discard_notices(disk, statistics)


def _row(disk: str, figures: OperationFigures) -> Sequence[str]:
    """MB are 10**6 bytes, as in the table of a replay."""
    bandwidth = figures.bandwidth_bytes_per_s
    times_ns = (figures.mean_ns, figures.p50_ns, figures.p99_ns, figures.p99_9_ns)
    return (
        disk,
        figures.operation,
        "-" if figures.iops is None else four_digits(figures.iops),
        "-" if bandwidth is None else four_digits(bandwidth / 10**6),
        *map(time_cell, times_ns),
    )


def _say_verdict(result: RunResult) -> None:
    """In colour on a terminal, unless NO_COLOR says otherwise."""
    word, colour = _verdict(result), "green" if result.on_time else "red"
    text = Text.assemble(
        "freezingtime: ",
        (word, f"bold {colour}" if result.valid or not result.on_time else ""),
        f": {_requests(result)}",
    )
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)


def _verdict(result: RunResult) -> str:
    if result.clock is ClockKind.EXACT:
        return "exact" if result.on_time else "NOT EXACT"
    return "kvm clock" if result.on_time else "kvm clock, NOT VALID"


def _requests(result: RunResult) -> str:
    totals = result.totals
    if result.clock is ClockKind.EXACT:
        on_time = totals.request_count - totals.late_count
        return f"{on_time} of {totals.request_count} requests on time"
    return (
        f"{counted(totals.request_count, 'request')}, delivered within "
        f"{format_time_ns(result.late_percentile_ns(99_000))} (p99), "
        f"{totals.late_count or 'none'} beyond {format_time_ns(result.plan.max_leak_ns)}"
    )


def _kvm_account(result: RunResult) -> Iterator[str]:
    kvm = result.totals.kvm
    if kvm is None:
        return
    line = f"the host took the CPU {kvm.preemption_count} times"
    if kvm.preemption_count:
        beside = f", {format_time_ns(kvm.stolen_ns)} beside another CPU" if kvm.stolen_ns else ""
        line += (
            f" ({format_time_ns(kvm.taken_out_ns)} taken out of guest time, "
            f"{format_time_ns(kvm.left_in_ns)} left in{beside})"
        )
    line += f"; {format_time_ns(kvm.skipped_ns)} of computing skipped"
    if kvm.gathering_ns:
        line += f"; {format_time_ns(kvm.gathering_ns)} of waiting for other CPUs to leave"
    yield line


def _reasons(result: RunResult) -> Iterator[str]:
    """Say why it is not exact, or not valid."""
    totals, job = result.totals, result.job
    if not result.on_time:
        worst = format_time_ns(totals.worst_late_ns)
        exact = f"the latest request was {worst} late"
        kvm = f"the worst request is off by {worst}: what it was late, and what was left in"
        yield exact if result.clock is ClockKind.EXACT else kvm
    if totals.disturbed_ns is not None:
        yield (
            f"NOT VALID: at guest time {format_time_ns(totals.disturbed_ns)} an interrupt reached "
            "the guest that was of the host's making, and came at a time of the host's"
        )
    yield from (f"NOT VALID: kernel message: {line}" for line in job.complaints[:_LINES_MAX])
    if job.exit_status:
        yield f"the job ended with exit status {job.exit_status}"


def _faults(result: RunResult) -> Iterator[str]:
    """Say what rules of faults and changes did, also if nothing; and what the kernel said."""
    for disk, rules in result.faults.items():
        yield from fault_lines(disk, rules)
    plan, guest_ns = result.plan, result.job.end_ns - result.job.start_ns
    specs = [*plan.disks, *([plan.root_device] if plan.root_device else [])]
    for disk, spec in zip(result.figures, specs, strict=bool(plan.disks)):
        yield from change_lines(disk, unreached(spec.device.changes, guest_ns))
    errors = result.job.disk_errors
    yield from (f"kernel message: {line}" for line in errors[:_LINES_MAX])
    if len(errors) > _LINES_MAX:
        yield f"{len(errors) - _LINES_MAX} more of them; run.json has all"


def _times(result: RunResult, *, verbose: bool) -> Iterator[str]:
    job, totals = result.job, result.totals
    guest_ns = job.end_ns - job.start_ns
    ratio = slowdown(guest_ns, job.host_s)
    took = plain_time(round(job.host_s * NS_PER_S))
    yield f"{plain_time(guest_ns)} in the guest took {took}" + (f" ({ratio})" if ratio else "")
    if verbose:
        yield (
            f"guest time {format_time_ns(guest_ns)}, real time {job.host_s:.2f} s, "
            f"frozen {totals.frozen_host_ns / NS_PER_S:.2f} s, "
            f"warped {format_time_ns(totals.warped_ns)}; what the words mean: "
            "freezingtime explain frozen"
        )


def _left(result: RunResult) -> Iterator[str]:
    """Say what is there now that was not before."""
    plan = result.plan
    if plan.collect:
        yield f"collected {counted(len(result.collected), 'file')}"
        skipped = result.not_collected[:_LINES_MAX]
        yield from (f"not collected, not a file: {name}" for name in skipped)
    if plan.save_as is not None:
        yield f"{'' if result.job.exit_status == 0 else 'not '}saved as {plan.save_as}"
    if plan.out is not None:
        yield f"results in {plan.out}"
