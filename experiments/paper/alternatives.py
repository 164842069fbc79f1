# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user would pick instead: nbdkit's delay filter, beside our server and our guest.

4 KiB random reads, one at a time, from a disk that is to take 1 ms or 10 ms: in real time over
NBD (nbdkit, and ``freezingtime serve``), and in a guest; on the machine as it is, and with a busy
process on each processor. ``python -m experiments.paper.alternatives``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from experiments.paper.errors import variation_percent
from experiments.paper.figures import draw_bars, panels
from experiments.paper.guest import measure
from experiments.paper.nbd import (
    SIZE,
    busy_processors,
    nbdkit_command,
    random_reads_ns,
    require_programs,
    serve_command,
    serving,
)
from experiments.paper.outcome import Outcome, Settings, Table, main, show
from numpy.typing import NDArray

TARGETS_MS = (1, 10)
RUNS = 3
HOSTS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "as it is": contextlib.nullcontext,
    "busy": busy_processors,
}
GUEST = "guest"

_READS = 150
_HEAD = (
    *("host", "what", "target ms", "mean us", "sd us", "p99 us"),
    *("error of mean %", "error of p99 %", "variation from run to run %", "runs equal"),
)


@dataclass(frozen=True)
class Spread:
    """Latencies of several runs in the same order of requests, and what they were to be."""

    runs: Sequence[NDArray[np.int64]]
    target_ns: int

    @property
    def all_ns(self) -> NDArray[np.int64]:
        """Those of all runs."""
        return np.concatenate(list(self.runs))

    @property
    def mean_error_percent(self) -> float:
        """The error of the mean over all runs."""
        return 100 * (float(self.all_ns.mean()) / self.target_ns - 1)

    @property
    def p99_error_percent(self) -> float:
        """The error of the 99th percentile over all runs."""
        return 100 * (float(np.percentile(self.all_ns, 99)) / self.target_ns - 1)

    @property
    def variation_percent(self) -> float:
        """The coefficient of variation of the runs' means."""
        return variation_percent([float(run.mean()) for run in self.runs])

    @property
    def is_reproduced(self) -> bool:
        """Whether every request took the same in each run, to the nanosecond."""
        return all(np.array_equal(run, self.runs[0]) for run in self.runs)


def _over_nbd(command: Callable[[int], Sequence[str]]) -> Callable[[int, int], NDArray[np.int64]]:
    def run(target_ms: int, count: int) -> NDArray[np.int64]:
        with serving(command(target_ms)) as socket:
            random_reads_ns(socket, 10)  # the first ones find nothing ready
            return random_reads_ns(socket, count)

    return run


def _in_guest(target_ms: int, count: int) -> NDArray[np.int64]:
    return measure(f"constant:{target_ms}ms", count=count).application["read"]


#: What is compared: given the target and the number of reads, the latencies of a run.
SUBJECTS: Mapping[str, Callable[[int, int], NDArray[np.int64]]] = {
    "nbdkit --filter=delay": _over_nbd(lambda target_ms: nbdkit_command(f"{target_ms}ms")),
    "serve": _over_nbd(lambda target_ms: serve_command(f"constant:{target_ms}ms,size={SIZE}")),
    GUEST: _in_guest,
}


def experiment(settings: Settings) -> Sequence[Outcome]:
    """All subjects, on both hosts."""
    require_programs("nbdkit", "fio")
    outcome = Outcome("What a user would pick instead: nbdkit's delay filter")
    count = _READS * settings.scale
    rows: list[Sequence[str]] = [_HEAD]
    found: dict[tuple[str, str, int], Spread] = {}
    for host, load in HOSTS.items():
        with load():
            for name, subject in SUBJECTS.items():
                for target_ms in TARGETS_MS:
                    runs = [subject(target_ms, count) for _ in range(RUNS)]
                    spread = Spread(runs, target_ms * 1_000_000)
                    found[host, name, target_ms] = spread
                    rows.append([host, name, str(target_ms), *_figures(spread)])
    outcome.tables.append(Table(f"{RUNS} runs of {count} random 4 KiB reads each", rows))
    outcome.notes.append(
        "The application's own latencies, nothing taken off: in the guest they hold the guest's "
        "software time, over NBD the way through the socket."
    )
    for target_ms in TARGETS_MS:
        quiet, busy = (found[host, GUEST, target_ms] for host in HOSTS)
        outcome.require(
            f"guest, {target_ms} ms: every read takes the same in each run and on both hosts",
            f"mean {quiet.all_ns.mean():.1f} and {busy.all_ns.mean():.1f} ns",
            quiet.is_reproduced
            and busy.is_reproduced
            and np.array_equal(quiet.runs[0], busy.runs[0]),
        )
    _draw(outcome, settings, found)
    return [show(outcome)]


def _figures(spread: Spread) -> list[str]:
    all_us = spread.all_ns / 1000
    return [
        *(f"{all_us.mean():,.1f}", f"{all_us.std():,.1f}", f"{np.percentile(all_us, 99):,.1f}"),
        *(f"{spread.mean_error_percent:+.2f}", f"{spread.p99_error_percent:+.2f}"),
        *(f"{spread.variation_percent:.3f}", "yes" if spread.is_reproduced else "no"),
    ]


def _draw(
    outcome: Outcome, settings: Settings, found: Mapping[tuple[str, str, int], Spread]
) -> None:
    with panels(outcome, settings.directory / "alternatives", len(TARGETS_MS)) as axes:
        for target_ms, panel in zip(TARGETS_MS, axes, strict=True):
            errors = {
                f"{name}, {host}": spread.p99_error_percent
                for (host, name, target), spread in found.items()
                if target == target_ms
            }
            draw_bars(panel, errors)
            panel.set_xscale("symlog", linthresh=0.01)
            panel.set_xlabel(f"error of the 99th percentile at {target_ms} ms, %")


if __name__ == "__main__":
    main("alternatives", experiment)
