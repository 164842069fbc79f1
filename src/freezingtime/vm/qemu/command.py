# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line, as a pure function of the machine's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from freezingtime.frontend import Frontend, queues_of
from freezingtime.store.machine_identity import KvmBoot
from freezingtime.vm.qemu.cpu_model import CpuModel

#: A versioned machine type: what the guest sees does not change with QEMU's version.
MACHINE_TYPE = "pc-i440fx-7.2"

#: `panic=-1` ends a guest that panics; no mitigations: they protect from nobody here and
#: cost instructions; `nokaslr`: the boot is to be the same every time.
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic mitigations=off nokaslr "
    "random.trust_cpu=off tsc=reliable cpuidle.off=1 cryptomgr.notests"
)

# What QEMU itself calls the memory of this machine type, and so snapshots do.
_MEMORY = "pc.ram"

#: QEMU's round robin could take more, but is meant for guests of this size.
CPUS_MAX = 16

#: How many disks of the user the machine's PCI bus has slots for.
DISKS_MAX = 28

_PROBE_MEMORY_BYTES = 16 << 20

_MACHINE = f"{MACHINE_TYPE},memory-backend={_MEMORY}"
_TCG = (
    *("-accel", "tcg,thread=single"),
    *("-icount", "shift=0,sleep=off"),
)
# Interrupt controllers and timers are QEMU's, so that they have guest time.
_KVM = ("-accel", "kvm,kernel-irqchip=off")
# Of a guest that is booted under KVM: an HPET would be one more clock, and slow. It may go on under
# TCG, so its CPU has nothing that one of the two lacks.
_BOOTED_MACHINE = ",hpet=off"
_BOOTED_CPU = ",svm=off,vme=off"
# Nothing by which KVM tells the guest of the host's time.
_KVM_CPU = (
    ",kvm=off,-kvmclock,-kvm-asyncpf,-kvm-asyncpf-int,-kvm-steal-time,-kvm-pv-eoi,-kvm-pv-ipi,"
    "-kvm-pv-tlb-flush,-kvm-pv-sched-yield,-kvm-poll-control"
)

_SCSI_DEPTH = f"cmd_per_lun={queues_of(Frontend.VIRTIO_SCSI).depth}"


class DiskSocket(NamedTuple):
    """A disk as QEMU's NBD client finds it."""

    disk_index: int
    """The emulator's number for the disk."""
    name: str
    """The name of its socket (abstract)."""

    @property
    def node(self) -> str:
        """The name of QEMU's block node, by which the agent knows the disk."""
        return f"disk{self.disk_index}"


@dataclass(frozen=True, slots=True)
class MachineFiles:
    """Host paths that one QEMU process reads and writes."""

    kernel: Path
    initrd: Path
    console: str
    stdout: str
    stderr: str
    control: DiskSocket
    terminal_fd: int | None = None
    """The serial console's interactive end; its output is kept as well."""
    append: str = ""
    """Kernel arguments beside :data:`KERNEL_ARGUMENTS`."""
    root: DiskSocket | None = None
    """The root disk's, if the guest has one."""


def qemu_command(
    program: Sequence[str],
    files: MachineFiles,
    *,
    memory_bytes: int,
    cpu_count: int,
    cpu_model: CpuModel,
    qmp_fd: int,
    incoming: bool,
    is_kvm: bool = False,
    booted: KvmBoot | None = None,
) -> list[str]:
    """The argument list that builds the base machine, stopped, with its control disk.

    The guest's own disks are plugged in later, over QMP, whether the machine is booted or
    restored (``incoming``): so both see the same events at the same guest time. ``booted``: the
    guest was booted under such a KVM, or will be, and finds what it has found there.
    """
    command = [
        *_bare_machine(program, memory_bytes, cpu_count, cpu_model, is_kvm=is_kvm, booted=booted),
        *("-rtc", "base=2020-01-01,clock=vm"),
        *("-seed", "0"),
        "-no-reboot",
        *("-chardev", f"socket,id=qmp,fd={qmp_fd}"),
        *("-mon", "chardev=qmp,mode=control"),
        *("-kernel", str(files.kernel)),
        *("-initrd", str(files.initrd)),
        *("-append", f"{KERNEL_ARGUMENTS} {files.append}".rstrip()),
        *_serial_console(files.console, files.terminal_fd),
        *_output_ports(files.stdout, files.stderr),
        *("-device", f"virtio-scsi-pci,id=scsi,ioeventfd=off,num_queues=1,{_SCSI_DEPTH}"),
        *_scsi_disk("control", 0, files.control),
    ]
    if files.root is not None:
        command += _scsi_disk("root", 1, files.root)
    if incoming:
        command += ["-incoming", "defer"]
    return command


def probe_command(program: Sequence[str], cpu_model: CpuModel) -> list[str]:
    """The argument list that builds the smallest machine in which the agent finds all it needs."""
    return _bare_machine(program, _PROBE_MEMORY_BYTES, 2, cpu_model)


def _bare_machine(
    program: Sequence[str],
    memory_bytes: int,
    cpu_count: int,
    cpu_model: CpuModel,
    *,
    is_kvm: bool = False,
    booted: KvmBoot | None = None,
) -> list[str]:
    machine, cpu = _MACHINE, cpu_model.qemu_argument
    if booted is not None:
        machine, cpu = f"{machine}{_BOOTED_MACHINE}", f"{cpu}{_booted_cpu(booted)}"
    return [
        *program,
        "-nodefaults",
        "-no-user-config",
        "-S",
        *("-display", "none"),
        *("-machine", machine),
        *(_KVM if is_kvm else _TCG),
        *("-cpu", f"{cpu}{_KVM_CPU if is_kvm else ''}"),
        *("-smp", f"{cpu_count},sockets=1,cores={cpu_count},threads=1"),
        *("-m", f"{memory_bytes >> 20}M"),
        # The host has yet to give it: it may be more than the host has, as long as the guest
        # does not write to all of it.
        *("-object", f"memory-backend-ram,id={_MEMORY},size={memory_bytes >> 20}M,reserve=off"),
    ]


def _booted_cpu(booted: KvmBoot) -> str:
    return f",vendor={booted.cpu_vendor}{_BOOTED_CPU}"


def _file_chardev(name: str, path: str) -> list[str]:
    return ["-chardev", f"file,id={name},path={path}"]


def _serial_console(path: str, terminal_fd: int | None) -> list[str]:
    if terminal_fd is None:
        chardev = _file_chardev("console", path)
    else:
        chardev = ["-chardev", f"socket,id=console,fd={terminal_fd},logfile={path}"]
    return [*chardev, "-serial", "chardev:console"]


def _output_ports(stdout: str, stderr: str) -> list[str]:
    return [
        *("-device", "virtio-serial-pci,id=ports,ioeventfd=off"),
        *_file_chardev("stdout", stdout),
        *("-device", "virtserialport,bus=ports.0,chardev=stdout,name=ft.stdout"),
        *_file_chardev("stderr", stderr),
        *("-device", "virtserialport,bus=ports.0,chardev=stderr,name=ft.stderr"),
    ]


def _scsi_disk(name: str, target: int, socket: DiskSocket) -> list[str]:
    """One of the machine's own disks: not virtio-blk, whose names are the user's disks'."""
    return [
        "-blockdev",
        f"driver=nbd,node-name={socket.node},detect-zeroes=off,discard=unmap,"
        f"server.type=unix,server.path={socket.name},server.abstract=on",
        "-device",
        f"scsi-hd,bus=scsi.0,scsi-id={target},drive={socket.node},serial=freezingtime-{name}",
    ]


def blockdev_arguments(socket: DiskSocket, *, read_only: bool) -> dict[str, object]:
    """QMP ``blockdev-add`` arguments of a user's disk."""
    return {
        "driver": "nbd",
        "node-name": socket.node,
        "read-only": read_only,
        "discard": "unmap",
        "detect-zeroes": "off",
        "server": {"type": "unix", "path": socket.name, "abstract": True},
    }
