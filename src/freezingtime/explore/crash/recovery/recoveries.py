# SPDX-License-Identifier: GPL-2.0-or-later
"""Recoveries of an exploration: each thread has a guest that takes one state after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.explore.crash.image import BASE, new_images
from freezingtime.explore.crash.points import JobSpan
from freezingtime.explore.crash.reads import ReadNotes, Reads, TouchedSectors
from freezingtime.explore.crash.recovery.candidate import Candidate, Ground, ignore_read
from freezingtime.explore.crash.recovery.guest import RecoveryGuest
from freezingtime.explore.crash.recovery.outcome import RecoveryOutcome
from freezingtime.explore.crash.recovery.state_medium import OnRead
from freezingtime.explore.crash.states import Fate, PointStates
from freezingtime.images.debian.packages import Progress
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.prepare import Prepared, prepare
from freezingtime.runs.saving import can_be_saved
from freezingtime.store.snapshot import Snapshot
from freezingtime.trace.explored.crash_files import CutPoint
from freezingtime.trace.writes.log import ZEROS, WriteLog, WriteLogWriter
from freezingtime.trace.writes.recorded_device import RecordedDevice
from freezingtime.vm.service import DiskPlan


class _PromptOverlay(OverlayMedium):
    """An overlay that reads at once, so that reads come in order and a recovery repeats."""

    may_block = False


class StoppedError(Exception):
    """The exploration ends before this recovery has."""


class Recoveries:
    """Common part of all recoveries of an exploration. :meth:`run` may be called by any thread.

    A context manager: its base media and its snapshot are held until the block ends.
    """

    def __init__(self, plan: RunPlan, log: WriteLog, scratch: Path, report: Progress) -> None:
        """``plan``: the machine with its disks, and the check as its script.

        ``scratch`` is a directory for what is as large as the guest's memory.

        Raises:
            InputError: the plan cannot be run, or has not the disks that were recorded.
            RunError: something failed on the way.
        """
        self.plan = plan
        self._log = log
        self._stop = threading.Event()
        self._scratch = scratch
        self._lock = threading.Lock()
        self._guests: dict[int, RecoveryGuest] = {}
        self._snapshot: Snapshot | None = None
        #: States that did not pass in a guest that had recovered from others, and did in its own.
        self.unlike_count = 0
        #: Guests that were started for states.
        self.guest_count = 0
        self._cleanup = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.push(self._cleanup)
            self._prepared: Prepared = prepare(plan, report, self._cleanup, self._cleanup)
            sizes = [disk.plan.medium.size_bytes // 512 for disk in self._prepared.disks]
            if sizes != list(log.disk_sectors):
                raise InputError(
                    "--disk: the disks are not those of the recorded job; name another --out"
                )
            self._cleanup.callback(self._close_guests)
            self._snapshot = self._prepare()
            on_error.pop_all()

    def __enter__(self) -> Recoveries:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def ground(self, log: WriteLog) -> Ground:
        """Return what the states of the job's log are states of."""
        media = [disk.plan.medium for disk in self._prepared.disks]
        defaults = [ZEROS if isinstance(medium, MemoryMedium) else BASE for medium in media]
        return Ground(media, defaults, log, TouchedSectors(log.events()), self.plan.seed)

    @property
    def names(self) -> list[str]:
        """The disks' names."""
        return [disk.plan.name for disk in self._prepared.disks]

    @property
    def file_systems(self) -> list[str | None]:
        """Return what the disks are mounted as; None: they are not."""
        mounts = [disk.spec.mount for disk in self._prepared.disks]
        return [None if mount is None else mount.file_system for mount in mounts]

    def stop(self) -> None:
        """Have all recoveries end at once with :class:`StoppedError`."""
        self._stop.set()

    def run(self, candidate: Candidate, *, afresh: bool = False) -> tuple[RecoveryOutcome, Reads]:
        """Recover from a state and check it; return also what was read of it.

        A state that does not pass has been recovered from in a guest of its own, as all have with
        ``afresh``.

        Raises:
            RunError: the emulator, QEMU or the host failed: nothing is known of the state.
            StoppedError: see :meth:`stop`.
        """
        if afresh:
            self._leave_guest()
        guest = self._guest()
        is_first = guest.is_fresh
        found = self._recover(guest, candidate)
        if found[0].passed or is_first:
            return found
        again = self._recover(self._guest(), candidate)
        if again[0].passed:
            with self._lock:
                self.unlike_count += 1
        return again

    def record(self, candidate: Candidate, directory: Path) -> tuple[RecoveryOutcome, JobSpan]:
        """Recover from a state in a guest of its own, and write the log of what that writes.

        Raises:
            RunError: as :meth:`run`, or the log cannot be written.
        """
        self._leave_guest()
        guest = self._guest()
        sizes = candidate.ground.log.disk_sectors
        with WriteLogWriter(directory, sizes) as log, contextlib.ExitStack() as disks_cleanup:
            disks = [
                dataclasses.replace(
                    disk, device=RecordedDevice(disk.device, number, log, _nothing_printed)
                )
                for number, disk in enumerate(self._disks(candidate, ignore_read, disks_cleanup))
            ]
            try:
                outcome = guest.recover(disks, disks_cleanup.pop_all(), candidate.acked)
            finally:
                self._leave_guest()
        return outcome, JobSpan(*guest.span_ns, b"", "recovery")

    def _recover(self, guest: RecoveryGuest, candidate: Candidate) -> tuple[RecoveryOutcome, Reads]:
        notes = ReadNotes(candidate.ground.touched)
        with contextlib.ExitStack() as on_error:
            disks = self._disks(candidate, notes.note, on_error)
            disks_cleanup = on_error.pop_all()
        try:
            outcome = guest.recover(disks, disks_cleanup, candidate.acked)
        except BaseException:
            self._leave_guest()
            raise
        if not guest.takes_more:
            self._leave_guest()
        return outcome, notes.reads

    def _guest(self) -> RecoveryGuest:
        """The guest of this thread."""
        thread = threading.get_ident()
        with self._lock:
            guest = self._guests.get(thread)
        if guest is None:
            guest = self._start(self._snapshot)
            with self._lock:
                self._guests[thread] = guest
                self.guest_count += 1
        return guest

    def _leave_guest(self) -> None:
        """End the guest of this thread, if there is one."""
        with self._lock:
            guest = self._guests.pop(threading.get_ident(), None)
        if guest is not None:
            guest.close()

    def _close_guests(self) -> None:
        for guest in self._guests.values():
            guest.close()
        self._guests.clear()

    def _start(self, snapshot: Snapshot | None) -> RecoveryGuest:
        ground = self.ground(self._log)
        states = PointStates(
            new_images(self._log.disk_sectors, ground.defaults), (), (Fate.OLD, Fate.NEW)
        )
        nothing = Candidate(ground, CutPoint(0, 0, 0, ""), states, states.state(b""), b"")
        with contextlib.ExitStack() as cleanup:
            disks = self._disks(nothing, ignore_read, cleanup)
            disks_cleanup = cleanup.pop_all()
        return RecoveryGuest(
            self._prepared, self.plan, disks, disks_cleanup, snapshot, self._require_going_on
        )

    def _prepare(self) -> Snapshot | None:
        """The snapshot of a prepared guest; None: its controllers cannot be saved."""
        if not can_be_saved([disk.spec for disk in self._prepared.disks]):
            return None
        guest = self._start(None)
        try:
            return guest.save(self._scratch)
        finally:
            guest.close()

    def _disks(
        self, candidate: Candidate, on_read: OnRead, cleanup: contextlib.ExitStack
    ) -> list[DiskPlan]:
        """The disks of a state, with layers for what is written; ``cleanup`` closes these."""
        disks = []
        for number, opened in enumerate(self._prepared.disks):
            medium = candidate.medium(number, on_read)
            overlay = _PromptOverlay(medium, Path(tempfile.gettempdir()))
            cleanup.callback(overlay.close)
            device = opened.spec.device.build(self.plan.seed + number, medium.size_bytes)
            disks.append(dataclasses.replace(opened.plan, device=device, medium=overlay))
        return disks

    def _require_going_on(self) -> None:
        if self._stop.is_set():
            raise StoppedError


def _nothing_printed() -> int:
    return 0
