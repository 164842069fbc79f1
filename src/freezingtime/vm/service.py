# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator at work behind a machine: sockets, clock, loop and thread, as one thing."""

from __future__ import annotations

import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from freezingtime.clock.kvm import KvmClock
from freezingtime.clock.virtual import VirtualClock
from freezingtime.device.base import Device
from freezingtime.device.constant import ConstantDevice
from freezingtime.device.contract import GuardedDevice
from freezingtime.disk_traits import NO_TRAITS, DiskTraits
from freezingtime.emulator.loop import CompletedRequest, EmulatedDisk, Emulator, Steering, Totals
from freezingtime.emulator.medium_queue import MediumQueue, new_workers
from freezingtime.errors import FreezingTimeError
from freezingtime.frontend import DEFAULT_QUEUES, Frontend, Queues
from freezingtime.host.poller import Poller
from freezingtime.medium.base import Medium
from freezingtime.nbd.export import Export
from freezingtime.nbd.server import NbdServer
from freezingtime.request import Request
from freezingtime.units import NS_PER_S
from freezingtime.vm.control_disk import ControlDisk
from freezingtime.vm.job_messages import EXIT, READY, STARTED, first_word
from freezingtime.vm.qemu.kvm_machine import KvmMachine
from freezingtime.vm.qemu.surprise import Plugging
from freezingtime.vm.realtime.marks import MARKS

#: The message that the guest time given to the job is over; it is ours and not the guest's.
LIMIT = "LIMIT"

#: The messages at which the job is over: what the guest does after them is not measured.
_JOB_IS_OVER = (EXIT, LIMIT)

#: EmulatedDisk 0 is the control disk; the user's disks follow, and the root disk if there is one.
CONTROL_DISK_INDEX = 0

_JOIN_DEADLINE_S = 5.0
#: More of them are none of ours.
_HEAD_READS_MAX = 1000


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """One disk of a machine, by the name that the guest will know it under."""

    name: str
    device: Device
    medium: Medium
    frontend: Frontend = Frontend.VIRTIO_BLK
    write_cache: bool = True
    queues: Queues = DEFAULT_QUEUES
    traits: DiskTraits = NO_TRAITS
    internal: bool = False
    """Part of the machine, not of the measurement: in no metric and no record."""
    may_fail: bool = False
    """Whether the device fails on purpose, so that the guest's kernel may complain of it."""
    disappears: bool = False
    """Whether it is to disappear while the guest runs."""
    orphans: Sequence[Request] = ()
    """What is under way in a device that goes on from a saved state; it is not the guest's."""


@dataclass(frozen=True, slots=True)
class GuestMessage:
    """Message of the guest over the control disk, with its time; or ``LIMIT``."""

    word: str
    """Its first word; empty if no job runner sends such a message."""
    text: str
    totals: Totals
    """What had happened by then; its ``now_ns`` is the guest time."""
    host_s: float
    """Host time, monotonic."""


class Companion(Protocol):
    """Served beside the machine, by the emulator's thread.

    Its calls take guest time no longer than a turn does: none.
    """

    def join(self, poller: Poller) -> None:
        """Register what it waits for, before the thread starts."""

    def turn(self, now_ns: int, *, is_over: bool) -> None:
        """Take part in a turn, after the guest's messages; ``is_over``: the job is."""


class EmulatorService:
    """Serves a machine's disks from a thread of its own until closed."""

    def __init__(
        self,
        plans: Sequence[DiskPlan],
        *,
        boots_from_last: bool = False,
        rate_hz: int,
        medium_deadline_s: float,
        bootstrap: bytes = b"",
        paced: bool = False,
        kvm: KvmMachine | None = None,
        on_completed: Callable[[CompletedRequest], None],
        on_started: Callable[[int], None] = lambda now_ns: None,
        companion: Companion | None = None,
    ) -> None:
        """``rate_hz`` is the speed of the guest's CPU while it runs its job.

        ``on_completed`` gets the requests of the disks that are not internal, in the
        service's thread; ``on_started`` the guest time at which the guest starts its job, there,
        too. With ``boots_from_last`` the last of ``plans`` is a root disk
        that the guest has yet to boot from: until it says READY, that disk takes no time and
        is not recorded, so that a booted guest is the same whatever its root device is to be.
        ``bootstrap`` is for a guest without a job runner. With ``paced`` guest time does not run
        ahead of the host's. With ``kvm`` it is KVM that executes the guest.
        """
        self.totals = Totals()
        #: Messages of the guest; None once the service has ended.
        self.messages: queue.SimpleQueue[GuestMessage | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.control = ControlDisk(bootstrap)
        self._stop_machine_at: dict[str, int | None] = {}
        self._awaits_job = False
        self._job_limit_ns: int | None = None
        self._head_reads_ns: list[int] | None = None
        self._marks: str | None = None
        self._on_started = on_started
        self._companion = companion
        self._job_is_over = False
        self._next_disks: Sequence[EmulatedDisk] = ()
        #: How disks that disappear are taken away and given back, by index.
        self.plugging: dict[int, Plugging] = {}
        self._medium_deadline_s = medium_deadline_s
        self._poller = Poller()
        self._name = f"freezingtime-{os.getpid()}-{secrets.token_hex(8)}"
        self._server = NbdServer(self._poller)
        self._clock_class = VirtualClock if kvm is None else KvmClock
        self._clock = self._clock_class(f"{self._name}-control", self._poller, paced=paced)
        if companion is not None:
            companion.join(self._poller)
        self._workers = new_workers()
        self._control_device = _ControlDevice()
        control = DiskPlan("control", self._control_device, self.control, internal=True)
        self._boot_disk: EmulatedDisk | None = None
        disks = [self._emulated(index, plan) for index, plan in enumerate([control, *plans])]
        if boots_from_last:
            self._boot_disk = disks[-1]
            disks[-1] = replace(self._boot_disk, device=_no_time(), internal=True)
        for disk, disk_plan in zip(disks, [control, *plans], strict=True):
            medium = disk.queue.medium
            export = Export(
                disk.name,
                medium.size_bytes,
                read_only=not medium.writable,
                min_block_bytes=disk_plan.traits.logical_block_bytes,
                to_agent=True,
            )
            self._server.listen(
                f"\0{self.socket_name(disk.index)}", {disk.name: (disk.index, export)}
            )
        self._emulator = Emulator(
            disks,
            self._clock,
            self._server,
            on_completed,
            self.totals,
            resolution_ns=-(-NS_PER_S // rate_hz) if kvm is None else kvm.max_leak_ns + 1,
            steer=self._steer,
            plug=self._plug,
        )
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def socket_name(self, disk_index: int) -> str:
        """The abstract Unix socket of a disk."""
        return f"{self._name}-nbd-{disk_index}"

    def environment(self, *, start_ns: int, rate_hz: int, tsc_khz: int) -> dict[str, str]:
        """Environment variables that connect QEMU to the emulator."""
        return self._clock_class.environment(
            socket_name=f"{self._name}-control",
            nbd_prefix=f"{self._name}-nbd-",
            start_ns=start_ns,
            rate_hz=rate_hz,
            tsc_khz=tsc_khz,
        )

    def stop_machine_at(self, word: str, *, then_rate_hz: int | None = None) -> None:
        """Have the machine stop at the guest time of a message that begins with ``word``."""
        self._stop_machine_at[word] = then_rate_hz

    def replace_disks(self, plans: Sequence[DiskPlan]) -> None:
        """Put others in the places of the user's disks, before the guest gets to anything else.

        The machine is stopped, with no request under way; they are of the same sizes.
        """
        self._next_disks = [
            self._emulated(index, plan) for index, plan in enumerate(plans, CONTROL_DISK_INDEX + 1)
        ]

    def guarded_device(self, disk_index: int) -> GuardedDevice:
        """Return a disk's device, of a machine that is stopped: nothing else touches it then."""
        return self._emulator.guarded_device(disk_index)

    def await_job(self, limit_ns: int | None, *, start_delay_ns: int) -> None:
        """Count and record requests from the next STARTED on, whatever ended before.

        The machine stops ``limit_ns`` of guest time after that, with the message ``LIMIT``. The
        guest, which is stopped, learns of its job ``start_delay_ns`` after it goes on.
        """
        self._awaits_job = True
        self._job_is_over = False
        self._control_device.next_delay_ns = start_delay_ns
        self._job_limit_ns = limit_ns

    def await_marks(self) -> None:
        """Note the times at which the next job reads the control disk, and its readings."""
        self._head_reads_ns, self._marks = [], None

    def take_marks(self) -> tuple[str, Sequence[int]]:
        """Return that job's readings of the guest's clock, and the guest times of its requests.

        The machine is stopped. The readings are empty if the job has sent none.
        """
        reads_ns, self._head_reads_ns = self._head_reads_ns or [], None
        return self._marks or "", reads_ns

    def close(self) -> None:
        """End the thread and all sockets. Idempotent."""
        if self._thread.is_alive():
            self._clock.request_wakeup()
            for disk in self._emulator.disks:
                disk.queue.abandon()  # the freeze that the thread may be in
            self._thread.join(_JOIN_DEADLINE_S)
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._server.close()
        self._clock.close()
        self._poller.close()
        self.control.close()

    def _run(self) -> None:
        try:
            self._emulator.run()
        except (FreezingTimeError, OSError) as error:
            self.error = error
        except BaseException as error:
            self.error = error
            raise
        finally:
            # The agent takes the closed sockets for our end, and stops QEMU.
            self._clock.hang_up()
            self.messages.put(None)

    def _emulated(self, index: int, plan: DiskPlan) -> EmulatedDisk:
        queue_of_medium = MediumQueue(plan.medium, self._workers, self._medium_deadline_s)
        return EmulatedDisk(
            *(index, plan.name, plan.device, queue_of_medium, plan.internal, plan.may_fail),
            plan.orphans,
        )

    def _steer(self, alarm_rings: bool) -> Steering:
        """Forward the guest's messages of this turn; return the changes they require."""
        steering = Steering(replace_disks=self._next_disks)
        self._next_disks = ()
        reads = self.control.take_head_reads()
        if self._head_reads_ns is not None and len(self._head_reads_ns) < _HEAD_READS_MAX:
            self._head_reads_ns += [self.totals.now_ns] * reads
        for text in self.control.take_messages():
            self._hear(text, steering)
        if alarm_rings and not steering.end_record:
            self._pass_on(LIMIT, LIMIT, steering)
        if self._companion is not None:
            self._companion.turn(self.totals.now_ns, is_over=self._job_is_over)
        return steering

    def _plug(self, disk_index: int, is_there: bool) -> Sequence[str]:
        plugging = self.plugging[disk_index]
        return plugging.insert if is_there else plugging.remove

    def _hear(self, text: str, steering: Steering) -> None:
        word = first_word(text)
        if self._head_reads_ns is not None:
            if word == STARTED:
                self._head_reads_ns.clear()  # the job runner's
            if text.startswith(MARKS):
                self._marks = text
                return
        if word == READY and self._boot_disk is not None:
            # Once: a guest may say it again, with requests under way.
            steering.replace_disks = [self._boot_disk]
            self._boot_disk = None
        if word == STARTED and self._awaits_job:
            # Once for each job: a guest may say it again.
            self._awaits_job = False
            self._on_started(self.totals.now_ns)
            steering.begin_record = True
            if self._job_limit_ns is not None:
                steering.alarm_ns = self.totals.now_ns + self._job_limit_ns
        self._pass_on(word, text, steering)

    def _pass_on(self, word: str, text: str, steering: Steering) -> None:
        if word in _JOB_IS_OVER:
            steering.end_record = self._job_is_over = True
        if word in self._stop_machine_at:
            steering.stop_machine = True
            steering.rate_hz = self._stop_machine_at[word] or steering.rate_hz
        self.messages.put(GuestMessage(word, text, replace(self.totals), time.monotonic()))


class _ControlDevice(ConstantDevice):
    """Takes no time, but for the next request."""

    def __init__(self) -> None:
        super().__init__(read_ns=0, write_ns=0, flush_ns=0, discard_ns=0)
        self.next_delay_ns = 0

    def completion_ns(self, request: Request, now_ns: int) -> int:
        delay_ns, self.next_delay_ns = self.next_delay_ns, 0
        return now_ns + delay_ns


def _no_time() -> Device:
    return ConstantDevice(read_ns=0, write_ns=0, flush_ns=0, discard_ns=0)
