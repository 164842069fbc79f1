# SPDX-License-Identifier: GPL-2.0-or-later
"""Power cuts during recoveries: what one writes is recorded, and explored as what the job writes.

The disks that a recovery starts on are themselves states, read in place.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from freezingtime.explore.crash.explore import CrashObserver, Exploration
from freezingtime.explore.crash.image import BASE
from freezingtime.explore.crash.reads import TouchedSectors
from freezingtime.explore.crash.recovery.candidate import Candidate, Ground, ignore_read
from freezingtime.trace.explored.crash_files import CrashSummary
from freezingtime.trace.writes.log import WriteLog


class CutRecoveries:
    """The explorations of the recoveries from an exploration's states.

    A context manager: explorations whose failures are to be reported stay open until it ends.
    """

    def __init__(self, exploration: Exploration, scratch: Path) -> None:
        """``scratch`` is a directory for their logs."""
        self._exploration = exploration
        self._scratch = scratch
        self._cleanup = contextlib.ExitStack()
        self.summary = CrashSummary()
        #: Those with failures of reasons that none before had.
        self.failed: list[Exploration] = []

    def __enter__(self) -> CutRecoveries:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def run(self, workers: int, observer: CrashObserver) -> None:
        """Explore the recoveries from all states that passed.

        Raises:
            RunError: a recovery could not be run.
        """
        parents = self._exploration.passed
        reasons = {failed.outcome.reason for failed in self._exploration.failures}
        for number, parent in enumerate(parents, 1):
            with contextlib.ExitStack() as cleanup:
                recovery = self.open(parent, cleanup)
                recovery.summary = self.summary
                recovery.run(workers, CrashObserver())
                new = {failed.outcome.reason for failed in recovery.failures} - reasons
                if new:
                    reasons |= new
                    self.failed.append(recovery)
                    self.keep(cleanup.pop_all())
            observer.cutting_recoveries(self.summary, number, len(parents))

    def open(self, parent: Candidate, cleanup: contextlib.ExitStack) -> Exploration:
        """Record the recovery from a state; ``cleanup`` closes its log.

        Raises:
            RunError: it could not be run.
        """
        exploration = self._exploration
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir=self._scratch)))
        _, span = exploration.recoveries.record(parent, directory)
        log = cleanup.enter_context(WriteLog(directory))
        ground = Ground(
            media=[parent.medium(disk, ignore_read) for disk in range(len(log.disk_sectors))],
            defaults=[BASE] * len(log.disk_sectors),
            log=log,
            touched=TouchedSectors(log.events()),
            seed=parent.ground.seed,
            of_state=f"{parent.state.fingerprint:032x}/",
        )
        return Exploration(
            exploration.request,
            exploration.directory,
            ground,
            exploration.recoveries,
            span,
            parent,
        )

    def keep(self, cleanup: contextlib.ExitStack) -> None:
        """Keep open what ``cleanup`` closes."""
        self._cleanup.push(cleanup)

    def owners(self) -> Sequence[Exploration]:
        """The exploration of the job, and those with failures."""
        return [self._exploration, *self.failed]
