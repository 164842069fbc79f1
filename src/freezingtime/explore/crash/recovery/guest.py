# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that recovers from power cuts, and is checked: one state after the other.

A guest costs much more to start than a recovery takes in one that runs. What is not as it was
before, which its scripts tell, or anything on its console, makes it take no other state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from freezingtime.errors import GuestError, RunError, TimeLimitError
from freezingtime.explore.crash.recovery.outcome import RecoveryOutcome
from freezingtime.explore.crash.recovery.scripts import (
    CHECK_NAME,
    TRACE,
    recovery_script,
    state_script,
)
from freezingtime.runs.guest import open_root
from freezingtime.runs.plan import RunPlan
from freezingtime.runs.prepare import Prepared
from freezingtime.store.snapshot import Snapshot
from freezingtime.units import format_time_ns
from freezingtime.vm.capture import Capture
from freezingtime.vm.job import Job, JobResult, pack
from freezingtime.vm.machine import Machine
from freezingtime.vm.service import DiskPlan

_SHOWN_LINES = 8
_SHOWN_CHARACTERS = 200
#: Of one guest: so whatever adds up in a kernel unseen stays small.
_STATES_MOST = 200
#: What file systems print that found more than an unclean end.
_FILE_SYSTEM_ERROR = re.compile(
    r"EXT4-fs error|XFS .*(Corruption|corruption)|BTRFS (error|critical)"
)


#: When the kernel said it, which is no part of a reason: failures of one reason are one failure.
_STAMP = re.compile(r"^\[ *[0-9]+\.[0-9]+\] ")


class RecoveryGuest:
    """A machine for recoveries, until :meth:`close`. Owned by one thread."""

    def __init__(
        self,
        prepared: Prepared,
        plan: RunPlan,
        disks: Sequence[DiskPlan],
        disks_cleanup: contextlib.ExitStack,
        snapshot: Snapshot | None,
        on_tick: Callable[[], None],
    ) -> None:
        """Start it with disks as they were before the job, which ``disks_cleanup`` is of.

        ``snapshot`` is of a guest that was prepared; None: this one will be. ``on_tick`` is called
        some twenty times a second.

        Raises:
            RunError: the emulator, QEMU or the host failed.
        """
        self._plan = plan
        self._job = dataclasses.replace(prepared.job, script=b"", files=None, mounts={})
        self._mounts = prepared.job.mounts
        self._names = [disk.name for disk in disks]
        #: Only a system that is all in memory is seen as a whole.
        self._is_for_one = prepared.image.root_path is not None
        self._on_tick = on_tick
        self._state_count = 0
        self._takes_more = True
        #: Guest times at which the last recovery began, and its check ended.
        self.span_ns = (0, 0)
        self._cleanup = contextlib.ExitStack()
        self._disks_cleanup = disks_cleanup
        self._cleanup.callback(self._close_disks)
        with contextlib.ExitStack() as on_error:
            on_error.push(self._cleanup)
            start = snapshot or prepared.snapshot
            self._root = open_root(
                prepared.image, plan.root_device, plan.seed + len(disks), start, self._cleanup
            )
            self._machine = self._cleanup.enter_context(
                Machine(
                    prepared.config,
                    disks,
                    root=None if self._root is None else self._root.plan,
                    snapshot=start,
                )
            )
            self.ready_ns = self._machine.get_ready(on_tick)
            if snapshot is None:
                self._prepare()
            on_error.pop_all()

    def close(self) -> None:
        """End it. Idempotent."""
        self._cleanup.close()

    @property
    def is_fresh(self) -> bool:
        """Whether no state has been recovered from yet."""
        return self._state_count == 0

    @property
    def takes_more(self) -> bool:
        """Whether it may recover from another state."""
        return self._takes_more

    def save(self, directory: Path) -> Snapshot:
        """Save the prepared guest, for others to start from.

        Raises:
            RunError: it cannot be written, or would not repeat.
        """
        snapshot = Snapshot(directory, self.ready_ns, has_disks=True)
        self._machine.save(snapshot.state_path)
        if self._root is not None and self._root.layer is not None:
            with snapshot.root_changes_path.open("wb") as file:
                self._root.layer.save_changes(file)
        return snapshot

    def recover(
        self, disks: Sequence[DiskPlan], disks_cleanup: contextlib.ExitStack, acked: bytes
    ) -> RecoveryOutcome:
        """Recover from the state that ``disks`` have, and check it.

        Raises:
            RunError: the emulator, QEMU or the host failed: nothing is known of the state.
        """
        machine = self._machine
        streams = (machine.stdout, machine.stderr, machine.console)
        said = _Said(*((stream, stream.printed_bytes()) for stream in streams))
        disks_before, self._disks_cleanup = self._disks_cleanup, disks_cleanup
        machine.replace_disks(disks)
        job = dataclasses.replace(self._job, script=state_script(acked))
        self._state_count += 1
        self._takes_more = False
        try:
            outcome = self._check(job, said)
        finally:
            disks_before.close()
        self._takes_more = (
            outcome.passed
            and outcome.is_exact
            and not self._is_for_one
            and self._state_count < _STATES_MOST
            and not said.trace()
        )
        return outcome

    def _close_disks(self) -> None:
        self._disks_cleanup.close()

    def _prepare(self) -> None:
        with pack(self._plan.job_directory, {CHECK_NAME: self._plan.script}) as files:
            script = recovery_script(self._names, self._mounts, leaves_disks=not self._is_for_one)
            job = dataclasses.replace(self._job, script=script, files=files)
            result = self._machine.run_job(job, on_tick=self._on_tick)
        if result.exit_status:
            said = self._machine.stdout.last_lines(1) or self._machine.stderr.last_lines(1)
            raise GuestError(f"the guest could not be prepared for recoveries: {said}")
        self.ready_ns = result.stop_ns

    def _check(self, job: Job, said: _Said) -> RecoveryOutcome:
        try:
            result = self._machine.run_job(
                job,
                limit_ns=self._plan.limit_ns,
                host_limit_s=self._plan.host_limit_s,
                on_tick=self._on_tick,
            )
        except TimeLimitError as error:
            return _outcome(said, self._too_long(error))
        except GuestError as error:
            return _outcome(said, str(error))
        except RunError:
            self._on_tick()  # which knows whether it was ended from here
            raise
        self.span_ns = (result.start_ns, result.end_ns)
        return _outcome(said, _problem(said, result), is_exact=_is_exact(result))

    def _too_long(self, error: TimeLimitError) -> str:
        if error.guest_ns is None:
            return f"the check did not end within {self._plan.host_limit_s:g} s of real time"
        limit = format_time_ns(self._plan.limit_ns or 0)
        return f"the check did not end within {limit} of guest time (--check-limit)"


class _Said:
    """What a guest says from a moment on; each stream with what it had printed by then."""

    def __init__(
        self, stdout: tuple[Capture, int], stderr: tuple[Capture, int], console: tuple[Capture, int]
    ) -> None:
        self._stdout, self._stderr, self._console = stdout, stderr, console

    def trace(self) -> str:
        """Return what the guest has kept of a state; empty: nothing."""
        last = _last_lines(self._stdout, 1)
        if last and last[0].startswith(TRACE):
            return last[0].removeprefix(TRACE)
        console = self.console(1)
        return console[0] if console else ""

    def output(self) -> tuple[str, ...]:
        """The last lines of the check, first those of its stdout."""
        lines = _last_lines(self._stdout, _SHOWN_LINES + 1)
        if lines and lines[-1].startswith(TRACE):
            lines.pop()
        return (*lines[-_SHOWN_LINES:], *_last_lines(self._stderr, _SHOWN_LINES))

    def last_line(self) -> str:
        """The last line of stdout, or of stderr if there is nothing on that."""
        return (_last_lines(self._stdout, 1) or _last_lines(self._stderr, 1) or [""])[0]

    def console(self, count: int) -> tuple[str, ...]:
        return tuple(_last_lines(self._console, count))


def _last_lines(stream: tuple[Capture, int], count: int) -> list[str]:
    capture, since_bytes = stream
    lines = capture.last_lines(count, since_bytes)
    return [line[:_SHOWN_CHARACTERS] for line in lines]


def _problem(said: _Said, result: JobResult) -> str:
    """Why a check that ended did not pass; empty if it did."""
    if result.exit_status:
        last = said.last_line()
        return f"the check exited with {result.exit_status}" + (f": {last}" if last else "")
    if result.complaints:
        return f"the guest's kernel: {_STAMP.sub('', result.complaints[0])}"
    errors = [line for line in said.console(1000) if _FILE_SYSTEM_ERROR.search(line)]
    return f"the guest's file system: {_STAMP.sub('', errors[0])}" if errors else ""


def _is_exact(result: JobResult) -> bool:
    return not result.totals.late_count and result.totals.disturbed_ns is None


def _outcome(said: _Said, problem: str, *, is_exact: bool = True) -> RecoveryOutcome:
    console = said.console(_SHOWN_LINES) if problem else ()
    return RecoveryOutcome(not problem, problem, said.output(), console, is_exact)
