# SPDX-License-Identifier: GPL-2.0-or-later
"""Replays through the store of results: `replay --store`. What is known is read back, not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from freezingtime.cli.device.replay_progress import ReplayProgress
from freezingtime.cli.device.replayed.shown import ShownReplay
from freezingtime.errors import RunError
from freezingtime.explore.sweep.replay_unit import ReplayUnit
from freezingtime.host.foreign_text import say
from freezingtime.results.replay_figures import ReplayFigures, read_replay_figures
from freezingtime.simulate.replay import (
    DEVICE_OPTION,
    Replayed,
    TraceSource,
    copy_record,
    replay,
)
from freezingtime.simulate.workload import Workload
from freezingtime.store.results.result_store import ResultStore, StoredResult, damage
from freezingtime.trace.readers import Reading


@dataclass(frozen=True, slots=True)
class StoredReplays:
    """Replays of one source on some devices, whose results are looked for in a store."""

    source: TraceSource | Workload
    devices: Sequence[str]
    seed: int
    store: ResultStore
    refresh: bool

    def results(self, progress: ReplayProgress, *, quiet: bool) -> Iterator[ShownReplay]:
        """Find the results, and replay and store the others; they come in the order of the devices.

        Raises:
            InputError: a device, the trace or the store is not right.
            RunError: a device broke its contract, or the store takes no more.
        """
        self.store.refuse_if_no_directory()
        units = [ReplayUnit(self.source, each, self.seed, DEVICE_OPTION) for each in self.devices]
        digests = [unit.key().digest for unit in units]
        found = [None if self.refresh else self._find(digest) for digest in digests]
        return self._results(units, digests, found, progress, quiet=quiet)

    def _results(
        self,
        units: Sequence[ReplayUnit],
        digests: Sequence[str],
        found: Sequence[StoredResult | None],
        progress: ReplayProgress,
        *,
        quiet: bool,
    ) -> Iterator[ShownReplay]:
        readings: list[Reading] = []

        def on_reading(reading: Reading) -> None:
            readings.append(reading)
            progress.on_reading(reading)

        missing = [unit.device for unit, hit in zip(units, found, strict=True) if hit is None]
        replays: Iterator[Replayed] = iter(())
        if missing:
            self.store.require_writable()
            replays = replay(
                self.source,
                missing,
                seed=self.seed,
                observer=progress,
                notify=progress.notify,
                on_reading=on_reading,
                with_samples=True,
            )
        is_said = bool(missing)
        for unit, digest, hit in zip(units, digests, found, strict=True):
            if hit is None:
                reading = readings[0] if readings else None
                yield self._run(unit, digest, next(replays), reading)
                continue
            figures = read_replay_figures(hit.run_path)
            if not is_said and figures.reading and isinstance(self.source, TraceSource):
                for line in figures.reading.lines(self.source.path, only_notes=quiet):
                    progress.notify(line)
                is_said = True
            yield ShownReplay(figures, None, _copying(unit, hit))
        known = len(units) - len(missing)
        if known and not quiet:
            of = f"{known} of {len(units)} results" if missing else "the result" + "s" * (known > 1)
            progress.notify(f"not replayed again: the store has {of}")

    def _find(self, digest: str) -> StoredResult | None:
        found = self.store.find(digest)
        if found is None:
            return None
        if (problem := damage(found.directory)) is not None:
            say(f"the result in {found.directory} is damaged ({problem}): it is replayed again")
            return None
        return found

    def _run(
        self, unit: ReplayUnit, digest: str, replayed: Replayed, reading: Reading | None
    ) -> ShownReplay:
        figures = ReplayFigures.of(replayed, reading)
        with self.store.building() as run_path:
            stored = unit.write(run_path, replayed, figures)
            key = unit.key()
            if key.digest != digest:
                raise RunError("one of its files was changed meanwhile; nothing is stored")
            result = self.store.publish(run_path, key, stored, replace=self.refresh)
        return ShownReplay(figures, replayed.host_s, _copying(unit, result))


def _copying(unit: ReplayUnit, result: StoredResult) -> Callable[..., None]:
    return partial(copy_record, source=unit.record_path(result.run_path))
