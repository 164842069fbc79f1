# SPDX-License-Identifier: GPL-2.0-or-later
"""Recoveries: the guest, restored from its snapshot, with disks as a power cut left them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from freezingtime.errors import GuestError, InputError, RunError, TimeLimitError
from freezingtime.explore.crash.check import ACKED_NAME, CHECK_NAME, recovery_script
from freezingtime.explore.crash.image import BASE, Sectors
from freezingtime.explore.crash.outcome import RecoveryOutcome
from freezingtime.explore.crash.reads import ReadNotes, TouchedSectors
from freezingtime.explore.crash.state_medium import OnRead, StateMedium
from freezingtime.explore.crash.states import CrashState, PointStates
from freezingtime.images.debian.packages import Progress
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.runs.guest import open_root
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.prepare import Prepared, prepare
from freezingtime.trace.writes.log import ZEROS, Contents, WriteLog
from freezingtime.units import format_time_ns
from freezingtime.vm.job import Job, JobResult, pack
from freezingtime.vm.machine import Machine
from freezingtime.vm.service import DiskPlan

_SHOWN_LINES = 8
_SHOWN_CHARACTERS = 200
#: What file systems print that found more than an unclean end.
_FILE_SYSTEM_ERROR = re.compile(
    r"EXT4-fs error|XFS .*(Corruption|corruption)|BTRFS (error|critical)"
)


class _PromptOverlay(OverlayMedium):
    """An overlay that reads at once, so that reads come in order and a recovery repeats."""

    may_block = False


class StoppedError(Exception):
    """The exploration ends before this recovery has."""


class Recoveries:
    """Common part of all recoveries of an exploration. :meth:`run` may be called by any thread.

    A context manager: its base media and its snapshot are held until the block ends.
    """

    def __init__(self, plan: RunPlan, log: WriteLog, report: Progress) -> None:
        """``plan``: the machine with its disks, and the check as its script.

        Raises:
            InputError: the plan cannot be run, or has not the disks that were recorded.
            RunError: something failed on the way.
        """
        self.plan = plan
        self._log = log
        self._stop = threading.Event()
        self._cleanup = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.push(self._cleanup)
            self._prepared: Prepared = prepare(plan, report, self._cleanup, self._cleanup)
            sizes = [disk.plan.medium.size_bytes // 512 for disk in self._prepared.disks]
            if sizes != list(log.disk_sectors):
                raise InputError(
                    "--disk: the disks are not those of the recorded job; name another --out"
                )
            on_error.pop_all()

    def __enter__(self) -> Recoveries:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def defaults(self) -> list[int]:
        """Return the content that sectors of each disk have before the run."""
        return [
            ZEROS if isinstance(disk.plan.medium, MemoryMedium) else BASE
            for disk in self._prepared.disks
        ]

    @property
    def names(self) -> list[str]:
        """The disks' names."""
        return [disk.plan.name for disk in self._prepared.disks]

    def stop(self) -> None:
        """Have all recoveries end at once with :class:`StoppedError`."""
        self._stop.set()

    def medium(
        self, disk: int, states: PointStates, state: CrashState, on_read: OnRead
    ) -> StateMedium:
        """One disk of a state."""
        changes = {change[0]: change for change in state.changes}
        return StateMedium(
            self._prepared.disks[disk].plan.medium,
            states.images[disk],
            changes.get(disk),
            self._log,
            self.plan.seed,
            on_read,
        )

    def run(
        self, states: PointStates, state: CrashState, acked: bytes, touched: TouchedSectors
    ) -> tuple[RecoveryOutcome, list[tuple[int, Sectors, Contents]]]:
        """Recover from a state and check it; return also what was read of it.

        Raises:
            RunError: the emulator, QEMU or the host failed: nothing is known of the state.
            StoppedError: see :meth:`stop`.
        """
        notes = ReadNotes(touched)
        prepared, plan = self._prepared, self.plan
        with contextlib.ExitStack() as cleanup:
            disks = [
                self._disk(number, self.medium(number, states, state, notes.note), cleanup)
                for number in range(len(prepared.disks))
            ]
            root = open_root(
                prepared.image,
                plan.root_device,
                plan.seed + len(disks),
                prepared.snapshot,
                cleanup,
            )
            files = pack(plan.job_directory, {ACKED_NAME: acked, CHECK_NAME: plan.script})
            cleanup.callback(files.close)
            script = recovery_script(prepared.job.mounts)
            job = dataclasses.replace(prepared.job, script=script, files=files, mounts={})
            machine = cleanup.enter_context(
                Machine(
                    prepared.config,
                    disks,
                    root=None if root is None else root.plan,
                    snapshot=prepared.snapshot,
                )
            )
            machine.get_ready(self._require_going_on)
            return self._check(machine, job), notes.reads

    def _disk(self, number: int, medium: StateMedium, cleanup: contextlib.ExitStack) -> DiskPlan:
        overlay = _PromptOverlay(medium, Path(tempfile.gettempdir()))
        cleanup.callback(overlay.close)
        opened = self._prepared.disks[number]
        device = opened.spec.device.build(self.plan.seed + number, medium.size_bytes)
        return dataclasses.replace(opened.plan, device=device, medium=overlay)

    def _check(self, machine: Machine, job: Job) -> RecoveryOutcome:
        try:
            result = machine.run_job(
                job,
                limit_ns=self.plan.limit_ns,
                host_limit_s=self.plan.host_limit_s,
                on_tick=self._require_going_on,
            )
        except TimeLimitError as error:
            return _outcome(machine, self._too_long(error))
        except GuestError as error:
            return _outcome(machine, str(error))
        except RunError:
            self._require_going_on()
            raise
        return _outcome(machine, _problem(machine, result), is_exact=_is_exact(result))

    def _too_long(self, error: TimeLimitError) -> str:
        if error.guest_ns is None:
            return f"the check did not end within {self.plan.host_limit_s:g} s of real time"
        limit = format_time_ns(self.plan.limit_ns or 0)
        return f"the check did not end within {limit} of guest time (--check-limit)"

    def _require_going_on(self) -> None:
        if self._stop.is_set():
            raise StoppedError


def _problem(machine: Machine, result: JobResult) -> str:
    """Why a check that ended did not pass; empty if it did."""
    if result.exit_status:
        said = _lines(machine.stdout.last_lines(1)) or _lines(machine.stderr.last_lines(1))
        return f"the check exited with {result.exit_status}" + (f": {said[0]}" if said else "")
    if result.complaints:
        return f"the guest's kernel: {result.complaints[0]}"
    errors = [line for line in machine.console_lines(1000) if _FILE_SYSTEM_ERROR.search(line)]
    return f"the guest's file system: {errors[0]}" if errors else ""


def _is_exact(result: JobResult) -> bool:
    return not result.totals.late_count and result.totals.disturbed_ns is None


def _outcome(machine: Machine, problem: str, *, is_exact: bool = True) -> RecoveryOutcome:
    output = (*machine.stdout.last_lines(_SHOWN_LINES), *machine.stderr.last_lines(_SHOWN_LINES))
    console = machine.console_lines(_SHOWN_LINES) if problem else ()
    return RecoveryOutcome(not problem, problem, _lines(output), _lines(console), is_exact)


def _lines(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line[:_SHOWN_CHARACTERS] for line in lines)
