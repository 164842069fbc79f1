# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.fit``, ``measure`` and ``validate``, as the commands of the same names."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.api.event_loop import run_outside_event_loop
from freezingtime.api.keywords import with_fields_of
from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import ProgressLine, show_share
from freezingtime.api.result import warn, warn_of
from freezingtime.calibrate.distance import FIGURES, Distance
from freezingtime.calibrate.fit.fit import Fit, check_out
from freezingtime.calibrate.fit.fit import fit as fit_latencies
from freezingtime.calibrate.fit.options import FitOptions, make_fit_plan
from freezingtime.calibrate.fit.sources import Source, read_sources
from freezingtime.calibrate.latency_cells import Cell
from freezingtime.calibrate.log_options import LogOptions
from freezingtime.calibrate.measure.measure import measure as measure_plan
from freezingtime.calibrate.measure.options import MeasureOptions, make_measure_plan
from freezingtime.calibrate.validate.options import FIT, ValidateOptions, make_validate_plan
from freezingtime.calibrate.validate.validate import Validation
from freezingtime.calibrate.validate.validate import validate as validate_latencies
from freezingtime.disk.disk import Disk
from freezingtime.errors import RunError
from freezingtime.option import FilePath
from freezingtime.runs.options import CLOCK, CPU_RATE, MAX_LEAK, RunOptions
from freezingtime.trace.readers.latencies import Latencies

if TYPE_CHECKING:
    import pandas as pd

Logs = FilePath | Sequence[FilePath]


class FittedDevice:
    """A device that was fitted, and how well; :attr:`path` is for ``Disk`` and ``replay``."""

    def __init__(self, fitted: Fit, output: OutputPath) -> None:
        """For this package; use :func:`freezingtime.fit`."""
        self.fitted = fitted
        self._output = output  # kept, as what is there may go away with it

    @property
    def path(self) -> Path:
        """The device file; a temporary one goes away with this object."""
        return self._output.path

    @property
    def toml(self) -> str:
        """The content of the device file."""
        return self.fitted.toml

    @property
    def choices(self) -> Sequence[str]:
        """Return the choices of the fit, a line each."""
        return self.fitted.choices

    @property
    def not_covered(self) -> Sequence[str]:
        """Return what the logs do not cover, a line each."""
        return self.fitted.uncovered

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each operation, size and depth: the log's figures, and the device's errors.

        ``..._ns`` are the log's, ``..._error`` relative errors of the device; ``ks``, ``ks_p`` and
        ``wasserstein`` how far the distributions are apart; ``halves_ks`` is that of two halves
        of the log, or missing where its order is not known.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                **_place_of(found.cell),
                **_columns(found.distance),
                "halves_ks": None if found.drift is None else found.drift.interleaved.ks,
            }
            for found in self.fitted.cells
        )

    def __repr__(self) -> str:
        """In one line."""
        return f"<FittedDevice {self.path}: {self.fitted.model}, {len(self.fitted.cells)} cells>"


class ValidationResult:
    """Result of a validation."""

    def __init__(self, validation: Validation, output: OutputPath) -> None:
        """For this package; use :func:`freezingtime.validate`."""
        self.validation = validation
        self._output = output

    @property
    def path(self) -> Path:
        """The directory with the fitted device and the runs; a temporary one goes away."""
        return self._output.path

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row for each operation, size, depth and ``against``.

        The latter is ``guest with N CPUs``, compared with the half that was held out; ``halves``,
        that half compared with the other; ``in time``, the second half in time with the first.
        """
        import pandas as pd

        return pd.DataFrame(
            {**_place_of(found.cell), "against": name, **_columns(apart)}
            for found in self.validation.cells
            for name, apart in (
                ("halves", found.drift.interleaved),
                ("in time", found.drift.in_time),
                *_named(found.distances),
            )
        )

    @property
    def within_aim(self) -> bool:
        """Return whether all means are within 3 %, and all 99th percentiles within 10 %."""
        return not any(found.misses() for found in self.validation.cells)


@dataclass(frozen=True, slots=True)
class FitArguments(FitOptions):
    """The arguments of :func:`fit`."""

    logs: Logs
    out: FilePath | None = None
    seed: int = field(default=0, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_fields_of(FitArguments)
def fit(arguments: FitArguments) -> FittedDevice:
    """Make a device file of logs of a real device: one log or directory, or several.

    The other arguments are the options of ``freezingtime fit``; ``missing`` is a list such as
    ``["write=20us"]``. Without ``out``, the file is a temporary one that is removed with the
    result.

    Raises:
        InputError: a log cannot be read or has too little; the text names the option.
    """
    plan = make_fit_plan(arguments)
    output = OutputPath(arguments.out, "fitted.toml")
    check_out(output.path)
    with ProgressLine(arguments.progress) as line:
        observer = partial(show_share, line)
        latencies, sources = _read(arguments.logs, arguments, observer)
        fitted = fit_latencies(latencies, sources, plan, seed=arguments.seed, progress=observer)
    fitted.write(output.path)
    return FittedDevice(fitted, output)


@dataclass(frozen=True, slots=True)
class MeasureArguments(MeasureOptions):
    """The arguments of :func:`measure`."""

    path: FilePath
    out: FilePath
    seed: int = field(default=0, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_fields_of(MeasureArguments)
def measure(arguments: MeasureArguments) -> Path:
    """Measure a block device or a file; return ``out``, for :func:`fit` and :func:`validate`.

    Does not ask. The arguments are the options of ``freezingtime measure``, ``sizes`` in bytes.

    Raises:
        InputError: it may not or cannot be measured; the text names the option.
        RunError: fio failed.
    """
    paths = Path(arguments.path), Path(arguments.out)
    plan = make_measure_plan(*paths, arguments, seed=arguments.seed)
    with ProgressLine(arguments.progress) as line:
        measure_plan(plan, partial(show_share, line))
    return plan.out


@dataclass(frozen=True, slots=True)
class ValidateArguments(ValidateOptions):
    """The arguments of :func:`validate`."""

    device: Disk | str = FIT
    against: Logs = field(kw_only=True)
    cpu_rate: str = field(default=CPU_RATE, kw_only=True)
    clock: str = field(default=CLOCK, kw_only=True)
    max_leak: str = field(default=MAX_LEAK, kw_only=True)
    qemu: str | None = field(default=None, kw_only=True)
    locked: FilePath | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    out: FilePath | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)


@plain_errors
@with_fields_of(ValidateArguments)
def validate(arguments: ValidateArguments) -> ValidationResult:
    """Hold a device in a guest to logs of a real one, or to a directory of :func:`measure`.

    The arguments are the options of ``freezingtime validate``. Without ``out``, the fitted device
    and the runs are removed with the result.

    Raises:
        InputError: there is no such device, or too little to compare with.
        RunError: a run failed or is not valid.
    """
    run = RunOptions(
        seed=arguments.seed,
        cpu_rate=arguments.cpu_rate,
        clock=arguments.clock,
        max_leak=arguments.max_leak,
        qemu=arguments.qemu,
        locked=arguments.locked,
    )
    plan = make_validate_plan(arguments.device, arguments, run)
    output = OutputPath(arguments.out)
    cancelled = threading.Event()
    with ProgressLine(arguments.progress) as line:

        def observer(step: str, done: int, total: int) -> None:
            if cancelled.is_set():
                raise RunError("the validation was interrupted")
            show_share(line, step, done, total)

        latencies, sources = _read(arguments.against, arguments, observer)
        found = run_outside_event_loop(
            lambda: validate_latencies(
                latencies, sources, plan, out=output.path, observer=observer
            ),
            cancelled.set,
        )
    return ValidationResult(found, output)


def _read(
    logs: Logs, options: LogOptions, observer: Callable[[str, int, int], None]
) -> tuple[Latencies, list[Source]]:
    several = [logs] if isinstance(logs, str | os.PathLike) else logs
    paths = [Path(log) for log in several]
    return read_sources(paths, options, notify=warn, on_reading=warn_of, progress=observer)


def _place_of(cell: Cell) -> dict[str, Any]:
    return {"operation": cell.operation, "size_bytes": cell.size_bytes, "depth": cell.depth}


def _columns(apart: Distance) -> dict[str, Any]:
    return {
        "expected_count": apart.expected_count,
        "actual_count": apart.actual_count,
        **{f"{figure}_ns": apart.expected_ns[figure] for figure in FIGURES},
        **{f"{figure}_error": apart.error(figure) for figure in FIGURES},
        "ks": apart.ks,
        "ks_p": apart.ks_p,
        "wasserstein": apart.wasserstein,
    }


def _named(distances: Mapping[int, Distance]) -> Iterator[tuple[str, Distance]]:
    for cpus, apart in distances.items():
        yield f"guest with {cpus} CPU{'s' if cpus > 1 else ''}", apart
