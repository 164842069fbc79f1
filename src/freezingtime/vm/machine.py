# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual machine: booted or restored, its disks plugged in, one job run.

Every machine follows the same path: it is brought to the point where the guest sends READY and
stopped there, by booting or from a snapshot; then the disks are plugged in and the job is
put on the control disk; then it goes on. So what the job sees cannot depend on which of
the two it was.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from freezingtime.application.clock_tie import ClockTie, tie_clocks
from freezingtime.clock.virtual import EXACT_TSC_KHZ
from freezingtime.device.contract import GuardedDevice
from freezingtime.emulator.loop import CompletedRequest, Totals
from freezingtime.errors import RunError
from freezingtime.host.patience import Patience
from freezingtime.store.snapshot import Snapshot
from freezingtime.vm.bootstrap import bootstrap_script
from freezingtime.vm.capture import Captures
from freezingtime.vm.config import MachineConfig
from freezingtime.vm.console import ConsoleWatch, complaints, disk_errors
from freezingtime.vm.endings import Endings
from freezingtime.vm.job import Job, JobResult
from freezingtime.vm.job_messages import (
    DONE,
    EXIT,
    FAILED,
    READY,
    STARTED,
    exit_status,
    unexpected_message,
)
from freezingtime.vm.machine_state import begin_to_restore, save_state
from freezingtime.vm.qemu.command import (
    DiskSocket,
    MachineFiles,
    blockdev_arguments,
    qemu_command,
)
from freezingtime.vm.qemu.frontends import (
    DriverSetting,
    QmpCommand,
    driver_settings,
    plug_commands,
    ring_query,
)
from freezingtime.vm.qemu.probe import require_qemu
from freezingtime.vm.qemu.process import QemuProcess
from freezingtime.vm.qemu.program import find_qemu
from freezingtime.vm.qemu.surprise import (
    BUS_QUERY,
    PciBus,
    free_slots,
    handler_query,
    plugging,
)
from freezingtime.vm.realtime.marks import parse_marks
from freezingtime.vm.service import (
    CONTROL_DISK_INDEX,
    LIMIT,
    Companion,
    DiskPlan,
    EmulatorService,
    GuestMessage,
)

#: The guest's speed while it boots, whatever the run's: one snapshot serves all.
BOOT_RATE_HZ = 4_000_000_000

_STOP_DEADLINE_S = 30.0
#: Up to 31 GiB of files may be handed over, and more be written out to slow media.
_AFTERMATH_DEADLINE_S = 3600.0
#: Reading a clock some times takes milliseconds; finding the disks again takes as long as before.
_MARKS_DEADLINE_S = 120.0
#: As slow as a disk may be that snapshots are on.
_RESTORE_MIN_BYTES_PER_S = 20_000_000
#: A QMP answer takes milliseconds; a machine that holds the big lock this long is stuck.
_ANSWER_DEADLINE_S = 60.0
#: QEMU reports every 100 ms of guest time, which takes seconds even on a slow, busy host.
_SILENCE_DEADLINE_S = 300.0
_POLL_S = 0.005
_TICK_S = 0.05


class Machine:
    """A guest and its emulator. A context manager: both end with the block."""

    def __init__(
        self,
        config: MachineConfig,
        disks: Sequence[DiskPlan] = (),
        *,
        root: DiskPlan | None = None,
        snapshot: Snapshot | None = None,
        terminal: socket.socket | None = None,
        on_completed: Callable[[CompletedRequest], None] = lambda completed: None,
        on_started: Callable[[int], None] = lambda now_ns: None,
        companion: Companion | None = None,
    ) -> None:
        """Start QEMU, with the machine stopped before its first instruction.

        ``root`` is the disk that the image's system is on; None if it is all in memory.
        ``terminal`` is where the serial console is typed on; guest time then keeps to the
        host's, and no two runs are the same. ``on_completed`` and ``on_started`` are called in the
        emulator's thread (:class:`~freezingtime.vm.service.EmulatorService`), which serves
        ``companion``, too.

        Raises:
            InputError: QEMU is missing, or will not do.
            RunError: QEMU or the agent refused.
        """
        self._config = config
        self._disks = disks
        self._root = root
        self._disks_may_fail = any(plan.may_fail for plan in (*disks, root) if plan is not None)
        self._snapshot = snapshot
        self._terminal = terminal
        self._limit_ns: int | None = None
        self._settings: list[DriverSetting] | None = None
        self._has_disks = snapshot is not None and snapshot.has_disks
        if snapshot is None:
            # A QEMU that fails to boot could not say why, nor which others would do.
            require_qemu(config.qemu, config.cpu_model)
        self._cleanup = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.push(self._cleanup)
            self._captures = self._cleanup.enter_context(Captures())
            self.stdout = self._captures.add("the job's output")
            self.stderr = self._captures.add("the job's stderr")
            self.console = self._captures.add("the guest's console")
            self._watch = ConsoleWatch()
            self._service = EmulatorService(
                disks if root is None else [*disks, root],
                boots_from_last=root is not None and snapshot is None,
                rate_hz=config.rate_hz,
                medium_deadline_s=config.medium_deadline_s,
                bootstrap=bootstrap_script() if config.image.is_imported else b"",
                paced=terminal is not None,
                kvm=config.kvm,
                on_completed=on_completed,
                on_started=on_started,
                companion=companion,
            )
            self._cleanup.callback(self._service.close)
            self._service.start()
            self._qemu = self._cleanup.enter_context(self._start_qemu())
            self._endings = Endings(self._qemu, self._service, self.console)
            self._qemu.connect()
            on_error.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def totals(self) -> Totals:
        """Counters of the emulator, changing while the machine runs."""
        return self._service.totals

    @property
    def collected(self) -> BinaryIO:
        """Tar archive that the guest handed over after its job, or nothing."""
        return self._service.control.collected

    def qemu_version(self) -> str:
        version = self._qemu.execute("query-version")
        numbers = version["qemu"]
        text = f"{numbers['major']}.{numbers['minor']}.{numbers['micro']}"
        return f"{text} {version['package']}".strip()

    def get_ready(self, on_tick: Callable[[], None] = lambda: None) -> int:
        """Bring the machine to the point where it takes a job; return that guest time.

        Raises:
            RunError: the guest did not get there; the console's last lines show why.
        """
        if self._snapshot is None:
            return self._boot(on_tick)
        if self._has_disks:
            self._plug_disks()  # restored disks must be plugged in first
        state_path = self._snapshot.state_path
        begin_to_restore(self._execute, self._hand_over, state_path)
        self._await_status(
            "restoring the snapshot",
            lambda status: status != "inmigrate",
            _STOP_DEADLINE_S + state_path.stat().st_size / _RESTORE_MIN_BYTES_PER_S,
        )
        return self._snapshot.ready_ns

    def save(self, path: Path) -> None:
        """Save the state of the machine, which is stopped or about to be, to a file.

        Raises:
            RunError: QEMU could not, or took too long.
        """
        self._await_stop()
        if self.totals.disturbed_ns is not None:
            raise RunError(
                f"the machine is not saved: at guest time {self.totals.disturbed_ns} ns an "
                "interrupt from the host reached it, so it would not repeat; try again"
            )
        save_state(self._execute, self._hand_over, path)

    def guarded_device(self, disk_index: int) -> GuardedDevice:
        """Return the device of a disk, from 1, of a machine that stands; the root disk is last."""
        return self._service.guarded_device(disk_index)

    def replace_disks(self, disks: Sequence[DiskPlan]) -> None:
        """Put other devices and media behind the controllers of a machine between two jobs.

        They have the sizes and traits of its disks, none of which the guest has open.
        """
        self._service.replace_disks(disks)

    def run_job(
        self,
        job: Job,
        *,
        limit_ns: int | None = None,
        host_limit_s: float | None = None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> JobResult:
        """Plug in the disks and run ``job`` in the guest, which is ready, to its end.

        The job may take ``limit_ns`` of guest time and ``host_limit_s`` of host time.
        ``on_tick`` is called some twenty times a second of host time.

        The machine is stopped then. It may run another job if the guest looks for one.

        Raises:
            InputError: the job is too large.
            GuestError: the guest died, or could not start the job.
            TimeLimitError: the job was not done in time.
            RunError: QEMU, the emulator or a medium failed.
        """
        if not self._has_disks:
            self._plug_disks()
            self._has_disks = True
        self._await_stop()
        if self._settings is None:
            self._settings = self._driver_settings()
        self._service.control.set_job(
            job, disk_count=len(self._disks), driver_settings=self._settings
        )
        for word in (DONE if job.has_post_job_work else EXIT, FAILED, LIMIT):
            self._service.stop_machine_at(word)
        self._limit_ns = limit_ns
        self._service.await_job(limit_ns, start_delay_ns=job.start_delay_ns)
        self._execute("cont")
        start = self._await_message(STARTED, None, on_tick)
        end = stop = self._await_message(EXIT, host_limit_s, on_tick)
        if job.has_post_job_work:
            stop = self._await_message(DONE, _AFTERMATH_DEADLINE_S, on_tick)
        found = complaints(self.console.lines(), disks_may_fail=self._disks_may_fail)
        of_disks = disk_errors(self.console.lines()) if self._disks_may_fail else ()
        self._captures.check()
        return JobResult(
            exit_status=exit_status(end.text),
            start_ns=start.totals.now_ns,
            end_ns=end.totals.now_ns,
            stop_ns=stop.totals.now_ns,
            totals=end.totals.since(start.totals),
            host_s=end.host_s - start.host_s,
            complaints=found,
            disk_errors=of_disks,
        )

    def tie_clock(self, marks: Job) -> ClockTie:
        """Tie the guest's clock to guest time by a job of marks, behind one that has ended.

        That job had post-job work, so that the guest looks for its next one now.

        The machine runs on a little, and is stopped again. No disk's figures are concerned.

        Raises:
            ValueError: the clocks cannot be tied; the text says why.
            RunError: the guest died; QEMU, the emulator or a medium failed.
        """
        self._await_stop()
        self._service.control.set_job(
            marks, disk_count=len(self._disks), driver_settings=self._settings or ()
        )
        self._service.stop_machine_at(DONE)
        self._service.await_marks()
        self._execute("cont")
        for word in (STARTED, EXIT, DONE):
            self._await_message(word, _MARKS_DEADLINE_S, lambda: None)
        self._await_stop()
        text, requests_ns = self._service.take_marks()
        if not text:
            raise ValueError(
                "the guest has no shell that reads its clock (busybox's, or bash), or may not "
                "read the control disk"
            )
        return tie_clocks(parse_marks(text), requests_ns)

    def _boot(self, on_tick: Callable[[], None]) -> int:
        # The new rate counts from the very instruction at which the guest said READY.
        self._service.stop_machine_at(READY, then_rate_hz=self._config.rate_hz)
        self._execute("cont")
        ready = self._await_message(READY, self._config.boot_deadline_s, on_tick)
        self._await_status("stopping the booted machine", lambda status: status == "paused")
        return ready.totals.now_ns

    def _await_stop(self) -> None:
        self._await_status("stopping the machine", lambda status: status == "paused")

    def _plug_disks(self) -> None:
        commands = [self._plug(index, plan) for index, plan in enumerate(self._disks, start=1)]
        leaving = [index for index, plan in enumerate(self._disks, start=1) if plan.disappears]
        if not leaving:
            return
        path = str(self._query(BUS_QUERY))
        bus = PciBus(path, str(self._query(handler_query(path))))
        slots = free_slots(self._query(QmpCommand("query-pci", {})))
        for index in leaving:
            frontend, node = self._disks[index - 1].frontend, self._socket(index).node
            self._service.plugging[index] = plugging(
                frontend, node, commands[index - 1], bus, slots
            )

    def _driver_settings(self) -> list[DriverSetting]:
        """Settings that the guest's drivers need for the disks that are plugged in."""
        settings: list[DriverSetting] = []
        for index, plan in enumerate(self._disks, start=1):
            ring_entries = None
            if query := ring_query(plan.frontend, self._socket(index).node):
                status = self._execute(query.name, **query.arguments)
                ring_entries = int(status["vring-num-default"])
            settings += driver_settings(
                plan.frontend, plan.name, plan.queues, plan.traits, ring_entries
            )
        return settings

    def _plug(self, index: int, plan: DiskPlan) -> Sequence[QmpCommand]:
        """Plug a disk in; return the commands of its controller."""
        disk = self._socket(index)
        self._execute(
            "blockdev-add", **blockdev_arguments(disk, read_only=not plan.medium.writable)
        )
        commands = plug_commands(
            plan.frontend,
            disk.node,
            plan.name,
            plan.queues,
            plan.traits,
            write_cache=plan.write_cache,
        )
        for command in commands:
            self._execute(command.name, **command.arguments)
        return commands

    def _query(self, query: QmpCommand) -> Any:
        """Return QEMU's answer, which need not be a table."""
        return self._execute(query.name, **query.arguments)

    def _socket(self, index: int) -> DiskSocket:
        return DiskSocket(index, self._service.socket_name(index))

    def _start_qemu(self) -> QemuProcess:
        config, snapshot = self._config, self._snapshot
        ours, theirs = socket.socketpair()
        inherit = [self.console.fileno(), self.stdout.fileno(), self.stderr.fileno()]
        if self._terminal is not None:
            inherit.append(self._terminal.fileno())
        files = MachineFiles(
            config.image.kernel_path,
            config.image.initrd_path,
            self.console.path_in_child,
            self.stdout.path_in_child,
            self.stderr.path_in_child,
            self._socket(CONTROL_DISK_INDEX),
            append=config.kernel_arguments,
            root=None if self._root is None else self._socket(1 + len(self._disks)),
            terminal_fd=None if self._terminal is None else self._terminal.fileno(),
        )
        qemu = find_qemu(config.qemu)
        command = qemu_command(
            qemu.command + qemu.options,
            files,
            memory_bytes=config.memory_bytes,
            cpu_count=config.cpu_count,
            cpu_model=config.cpu_model,
            qmp_fd=theirs.fileno(),
            incoming=snapshot is not None,
            is_kvm=config.kvm is not None,
            booted=config.booted,
        )
        environment = self._service.environment(
            start_ns=snapshot.ready_ns if snapshot else 0,
            rate_hz=config.rate_hz if snapshot else BOOT_RATE_HZ,
            tsc_khz=EXACT_TSC_KHZ if config.booted is None else config.booted.tsc_khz,
        )
        log = self._captures.add("QEMU's output")
        return QemuProcess(
            command,
            name=str(qemu.path),
            qmp=ours,
            qmp_peer=theirs,
            environment={**environment, **qemu.environment},
            log=log,
            inherit=inherit,
            # The answer to `cont` may have to wait until the guest's first requests are done.
            answer_deadline_s=_ANSWER_DEADLINE_S + 4 * config.medium_deadline_s,
        )

    def _execute(self, command: str, **arguments: object) -> dict[str, Any]:
        with self._explained():
            result: dict[str, Any] = self._qemu.execute(command, **arguments)
        return result

    def _hand_over(self, file: int, name: str) -> None:
        with self._explained():
            self._qemu.hand_over(file, name)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say why QEMU was lost, if that is known better than QEMU's process knows it."""
        try:
            yield
        except RunError:
            if self._service.error is not None:
                raise self._endings.failure() from self._service.error
            self._captures.check()
            raise

    def _await_status(
        self, doing: str, wanted: Callable[[str], bool], deadline_s: float = _STOP_DEADLINE_S
    ) -> None:
        patience = Patience(deadline_s)
        while not wanted(status := self._execute("query-status")["status"]):
            if patience.is_over:
                raise RunError(f"{doing} took over {deadline_s:.0f} s; QEMU is {status}")
            time.sleep(_POLL_S)

    def _await_message(
        self, word: str, deadline_s: float | None, on_tick: Callable[[], None]
    ) -> GuestMessage:
        patience = None if deadline_s is None else Patience(deadline_s)
        silence = Patience(_SILENCE_DEADLINE_S)
        turn_count = self.totals.turn_count
        while (message := self._next_message()) is None:
            self._require_sound()
            on_tick()
            if turn_count != self.totals.turn_count or self.totals.waiting_for:
                turn_count = self.totals.turn_count
                silence.renew()
            elif silence.is_over:
                raise self._endings.silence(_SILENCE_DEADLINE_S)
            if patience is not None and deadline_s is not None and patience.is_over:
                raise self._endings.too_late(word, deadline_s)
        if message.word == LIMIT:
            raise self._endings.over_time(self._limit_ns or 0, message.totals.now_ns)
        if message.word != word:
            raise unexpected_message(message.text, word)
        return message

    def _next_message(self) -> GuestMessage | None:
        """Return the guest's next message, or None after a tick without one."""
        try:
            message = self._service.messages.get(timeout=_TICK_S)
        except queue.Empty:
            return None
        if message is None:
            raise self._endings.failure()
        return message

    def _require_sound(self) -> None:
        """Raise the error of a run that has ended silently."""
        if self._qemu.exit_status() is not None:
            raise self._endings.failure()  # the emulator, in a freeze, may not know yet
        self._captures.check()
        self._watch.read(self.console)
