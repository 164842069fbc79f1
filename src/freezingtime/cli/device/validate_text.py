# SPDX-License-Identifier: GPL-2.0-or-later
"""A validation as tables, with explanations of errors beyond the aim."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from freezingtime.calibrate.distance import FIGURES, Distance
from freezingtime.calibrate.halves import SPLIT_BLOCKS
from freezingtime.calibrate.validate.validate import AIMS, ValidatedCell, Validation
from freezingtime.cli.output.columns import print_columns
from freezingtime.cli.results.time_columns import difference
from freezingtime.clock.kind import ClockKind
from freezingtime.host.foreign_text import show
from freezingtime.report.figures.sample_figures import error_percent
from freezingtime.units import counted, time_cell

_HEADER = ("", "requests", *FIGURES, "KS", "Wasserstein")
_MISS = "!"
_BAND = (2.5, 97.5)
_NONE = "-"


def show_validation(validation: Validation) -> None:
    """Print it."""
    for source in validation.sources:
        show(f"measured: {source.text}")
    clock = "" if validation.clock is ClockKind.EXACT else f"clock: {validation.clock}; "
    blocks = f"halves: up to {SPLIT_BLOCKS} blocks, in the order A B B A"
    show(f"device: {validation.device}; {clock}{blocks}")
    for found in validation.cells:
        show()
        show(found.cell.name)
        print_columns([_HEADER, *_rows(found)])
    show()
    for line in (*_summary(validation), *_explanations(validation)):
        show(line)
    for line in validation.left_out:
        show(f"not compared: {line}")


def _rows(found: ValidatedCell) -> Iterator[tuple[str, ...]]:
    interleaved, in_time = found.drift.interleaved, found.drift.in_time
    held_out = [time_cell(interleaved.actual_ns[figure]) for figure in FIGURES]
    yield ("held out (B)", str(interleaved.actual_count), *held_out, _NONE, _NONE)
    yield _row("B against A", interleaved.actual_count, interleaved)
    yield _row("2nd half in time against 1st", in_time.actual_count, in_time)
    for cpus, apart in found.distances.items():
        yield _row(f"guest, {_cpus(cpus)}, against B", apart.actual_count, apart, marked=True)


def _row(name: str, count: int, apart: Distance, *, marked: bool = False) -> tuple[str, ...]:
    errors = [
        difference(apart.error(figure)) + (_MISS if marked and _is_miss(apart, figure) else "")
        for figure in FIGURES
    ]
    return (name, str(count), *errors, f"{apart.ks:.3f}", f"{apart.wasserstein:.1%}")


def _is_miss(apart: Distance, figure: str) -> bool:
    return figure in AIMS and abs(apart.error(figure)) > AIMS[figure]


def _summary(validation: Validation) -> Iterator[str]:
    """For reads and writes, and each number of CPUs: the mean error, as the paper has it."""
    for operation in dict.fromkeys(found.cell.operation for found in validation.cells):
        cells = [found for found in validation.cells if found.cell.operation == operation]
        for cpus in cells[0].distances:
            errors = [abs(found.distances[cpus].error("mean")) for found in cells]
            by_request = np.concatenate(
                [error_percent(found.held_out_ns, found.guests_ns[cpus]) for found in cells]
            )
            low, high = np.percentile(by_request, _BAND)
            yield (
                f"{operation}s, {_cpus(cpus)}: mean error {np.mean(errors):.2%}; by request "
                f"{np.abs(by_request).mean():.2f} %, 95 % within {low:+.1f} to {high:+.1f} %"
            )
    for cpus, frozen_host_ns in validation.frozen_host_ns.items():
        yield (
            f"{_cpus(cpus)}: {counted(validation.request_counts[cpus], 'request')}, all on time; "
            f"guest time stood still for {frozen_host_ns / 1e9:.1f} s while the medium worked"
        )


def _explanations(validation: Validation) -> Iterator[str]:
    """Of each figure beyond the aim: how much the measurement itself differs there."""
    count = sum(len(found.distances) * len(AIMS) for found in validation.cells)
    missed = sum(len(found.misses()) for found in validation.cells)
    aims = ", ".join(f"{figure} {aim:.0%}" for figure, aim in AIMS.items())
    yield f"{count - missed} of {counted(count, 'figure')} within the aim ({aims})"
    for found in validation.cells:
        for cpus, figure in found.misses():
            own = found.drift
            off = {
                "guest": found.distances[cpus].error(figure),
                "halves": own.interleaved.error(figure),
                "time": own.in_time.error(figure),
            }
            yield (
                f"{_MISS} {found.cell.name}, {_cpus(cpus)}: {figure} is off by "
                f"{difference(off['guest'])}. Of the measurement itself, half B is off A by "
                f"{difference(off['halves'])}, the second half in time off the first by "
                f"{difference(off['time'])}; its blocks' means vary by {own.block_variation:.1%}, "
                f"so that half B's mean is known to {own.mean_uncertainty:.1%} only, and that of "
                f"the guest's requests to {found.chance(cpus):.1%} (standard errors)"
            )


def _cpus(count: int) -> str:
    return f"{count} CPU{'s' if count > 1 else ''}"
