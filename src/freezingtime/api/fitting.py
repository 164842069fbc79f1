# SPDX-License-Identifier: GPL-2.0-or-later
"""``freezingtime.fit``, ``measure`` and ``validate``, as the commands of the same names."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezingtime.api.event_loop import outside_of_event_loops
from freezingtime.api.output_path import OutputPath
from freezingtime.api.plain_errors import plain_errors
from freezingtime.api.progress import Line, show_share
from freezingtime.api.result import warn, warn_of
from freezingtime.calibrate.distance import FIGURES, Distance
from freezingtime.calibrate.fit.fit import EMPIRICAL, Fit, FitPlan, check_out, parse_missing
from freezingtime.calibrate.fit.fit import fit as fit_latencies
from freezingtime.calibrate.fit.sources import read_sources
from freezingtime.calibrate.latency_cells import Cell
from freezingtime.calibrate.measure.measure import DEPTHS, ROUNDS, SIZES_BYTES
from freezingtime.calibrate.measure.measure import measure as measure_plan
from freezingtime.calibrate.measure.options import RUNTIME, make_measure_plan
from freezingtime.calibrate.validate.options import make_validate_plan
from freezingtime.calibrate.validate.validate import FIT, Validation
from freezingtime.calibrate.validate.validate import validate as validate_latencies
from freezingtime.errors import RunError
from freezingtime.runs.options import CPU_RATE, RunOptions
from freezingtime.trace.readers import parse_hints

if TYPE_CHECKING:
    import pandas as pd

Logs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


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


@plain_errors
def fit(
    logs: Logs,
    out: str | os.PathLike[str] | None = None,
    *,
    model: str = EMPIRICAL,
    missing: Sequence[str] = (),
    depth: int | None = None,
    trace_disk: str | None = None,
    time_unit: str | None = None,
    read_code: str | None = None,
    correlation: bool = True,
    summary: str = "",
    seed: int = 0,
    progress: bool | None = None,
) -> FittedDevice:
    """Make a device file of logs of a real device: one log or directory, or several.

    The other arguments are the options of ``freezingtime fit``; ``missing`` is a list such as
    ``["write=20us"]``. Without ``out``, the file is a temporary one that is removed with the
    result.

    Raises:
        InputError: a log cannot be read or has too little; the text names the option.
    """
    plan = FitPlan(model, parse_missing(missing), correlation, summary)
    output = OutputPath(out, "fitted.toml")
    check_out(output.path)
    with Line(progress) as line:
        observer = partial(show_share, line)
        latencies, sources = read_sources(
            _paths(logs),
            depth=depth,
            disk=trace_disk,
            hints=parse_hints(time_unit, read_code),
            notify=warn,
            tell=warn_of,
            progress=observer,
        )
        fitted = fit_latencies(latencies, sources, plan, seed=seed, progress=observer)
    fitted.write(output.path)
    return FittedDevice(fitted, output)


@plain_errors
def measure(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    sizes: Sequence[int] = SIZES_BYTES,
    depths: Sequence[int] = DEPTHS,
    rounds: int = ROUNDS,
    runtime: str = RUNTIME,
    write: bool = False,
    overwrite: bool = False,
    create: str | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Path:
    """Measure a block device or a file; return ``out``, for :func:`fit` and :func:`validate`.

    Does not ask. The arguments are the options of ``freezingtime measure``, ``sizes`` in bytes.

    Raises:
        InputError: it may not or cannot be measured; the text names the option.
        RunError: fio failed.
    """
    plan = make_measure_plan(
        Path(path),
        Path(out),
        sizes=",".join(map(str, sizes)),
        depths=",".join(map(str, depths)),
        rounds=rounds,
        runtime=runtime,
        write=write,
        overwrite=overwrite,
        create=create,
        seed=seed,
    )
    with Line(progress) as line:
        measure_plan(plan, partial(show_share, line))
    return plan.out


@plain_errors
def validate(
    device: str = FIT,
    *,
    against: Logs,
    model: str = EMPIRICAL,
    cpus: Sequence[int] = (1, 4),
    requests: int | None = None,
    delay: str | None = None,
    depth: int | None = None,
    trace_disk: str | None = None,
    time_unit: str | None = None,
    read_code: str | None = None,
    cpu_rate: str = CPU_RATE,
    qemu: str | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> ValidationResult:
    """Hold a device in a guest to logs of a real one, or to a directory of :func:`measure`.

    The arguments are the options of ``freezingtime validate``. Without ``out``, the fitted device
    and the runs are removed with the result.

    Raises:
        InputError: there is no such device, or too little to compare with.
        RunError: a run failed or was not exact.
    """
    plan = make_validate_plan(
        device,
        model=model,
        cpus=",".join(map(str, cpus)),
        requests=requests,
        delay=delay,
        run=RunOptions(seed=seed, cpu_rate=cpu_rate, qemu=qemu),
    )
    output = OutputPath(out)
    cancelled = threading.Event()
    with Line(progress) as line:

        def observer(step: str, done: int, total: int) -> None:
            if cancelled.is_set():
                raise RunError("the validation was interrupted")
            show_share(line, step, done, total)

        latencies, sources = read_sources(
            _paths(against),
            depth=depth,
            disk=trace_disk,
            hints=parse_hints(time_unit, read_code),
            notify=warn,
            tell=warn_of,
            progress=observer,
        )
        found = outside_of_event_loops(
            lambda: validate_latencies(
                latencies, sources, plan, out=output.path, observer=observer
            ),
            cancelled.set,
        )
    return ValidationResult(found, output)


def _paths(logs: Logs) -> list[Path]:
    if isinstance(logs, str | os.PathLike):
        return [Path(logs)]
    return [Path(log) for log in logs]


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
