# SPDX-License-Identifier: GPL-2.0-or-later
"""States to recover from, and what they are states of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freezingtime.explore.crash.directory import Key, state_key
from freezingtime.explore.crash.reads import TouchedSectors
from freezingtime.explore.crash.recovery.state_medium import OnRead, StateMedium
from freezingtime.explore.crash.states import CrashState, PointStates
from freezingtime.medium.base import Medium
from freezingtime.trace.explored.crash_files import CutPoint
from freezingtime.trace.writes.log import WriteLog


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Disks as they were before a recorded run, of the job or of a recovery, and its writes."""

    media: Sequence[Medium]
    defaults: Sequence[int]
    """Of each disk, the content of sectors that nothing was written to."""
    log: WriteLog
    touched: TouchedSectors
    seed: int
    of_state: str = ""
    """The fingerprint of the state that the recorded recovery is from; empty: it was the job."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A state to recover from."""

    ground: Ground
    point: CutPoint
    states: PointStates
    state: CrashState
    acked: bytes

    @property
    def key(self) -> Key:
        """Return the key of its outcome."""
        fingerprint, acked = state_key(self.state.fingerprint, self.acked)
        return self.ground.of_state + fingerprint, acked

    def medium(self, disk: int, on_read: OnRead) -> StateMedium:
        """One of the disks."""
        changes = {change[0]: change for change in self.state.changes}
        ground = self.ground
        return StateMedium(
            ground.media[disk],
            self.states.images[disk],
            changes.get(disk),
            ground.log,
            ground.seed,
            on_read,
        )


def ignore_read(*_: object) -> None:
    """Take no note of a read."""
