# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock QEMU on the same guest image: what Freezing Time's costs are compared with.

No agent, and a disk of QEMU's own or of an NBD server's as /dev/vda.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from freezingtime.images.guest_image import GuestImage
from freezingtime.images.qemu import ready_qemu
from freezingtime.vm import control_disk
from freezingtime.vm.job import Job
from freezingtime.vm.qemu.command import KERNEL_ARGUMENTS, MACHINE_TYPE
from freezingtime.vm.qemu.cpu_model import CpuModel
from freezingtime.vm.qemu.program import find_qemu

#: What executes the guest, and what its time is: counted instructions, or real.
VIRTUAL = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off")
REAL = ("-accel", "tcg,thread=single")
KVM = ("-accel", "kvm")

#: A disk that takes no time.
NULL_DISK = "driver=null-co,size=1073741824,read-zeroes=on"

_DEADLINE_S = 900.0


def nbd_disk(socket_path: Path, export: str) -> str:
    """A disk that an NBD server serves."""
    return f"driver=nbd,server.type=unix,server.path={socket_path},export={export}"


def stock_s(
    image: GuestImage,
    script: bytes,
    disk: str = NULL_DISK,
    *,
    accelerator: Sequence[str] = VIRTUAL,
) -> float:
    """Host seconds of a job under stock QEMU, boot excluded."""
    control = control_disk.ControlDisk()
    control.set_job(Job(script), disk_count=1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "control"
        path.write_bytes(bytes(control.read(0, 16 * control_disk.BLOCK_BYTES)))
        os.truncate(path, control_disk.SIZE_BYTES)
        ready_qemu(None, lambda *_: None)
        stock = find_qemu()
        command = [
            *(*stock.command, *stock.options),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", MACHINE_TYPE),
            *accelerator,
            *("-cpu", CpuModel.V1.qemu_argument, "-m", "512M"),
            *("-rtc", "base=2020-01-01,clock=vm", "-seed", "0", "-no-reboot"),
            *("-kernel", str(image.kernel_path), "-initrd", str(image.initrd_path)),
            *("-append", f"{KERNEL_ARGUMENTS} {image.manifest.append}", "-serial", "null"),
            *("-device", "virtio-serial-pci,id=ports"),
            # Not `null`, which never says that it is connected: a job that prints would wait.
            *("-chardev", "file,id=out,path=/dev/null", "-chardev", "file,id=err,path=/dev/null"),
            *("-device", "virtserialport,bus=ports.0,chardev=out,name=ft.stdout"),
            *("-device", "virtserialport,bus=ports.0,chardev=err,name=ft.stderr"),
            *("-blockdev", f"driver=file,node-name=control,filename={path}"),
            *("-device", "virtio-scsi-pci,id=scsi"),
            *("-device", "scsi-hd,scsi-id=0,drive=control,serial=freezingtime-control"),
            *_root_disk(image),
            *("-blockdev", f"node-name=disk,{disk}"),
            *("-device", "virtio-blk-pci,drive=disk"),
        ]
        environment = {**os.environ, **stock.environment}
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) as qemu:
            try:
                start_s = _await_message(path, b"STARTED", qemu)
                return _await_message(path, b"DONE 0", qemu) - start_s
            finally:
                qemu.kill()


def _root_disk(image: GuestImage) -> list[str]:
    """What is written to it goes to a temporary file of QEMU's."""
    if image.root_path is None:
        return []
    return [
        *("-drive", f"if=none,id=root,format=raw,snapshot=on,file={image.root_path}"),
        *("-device", "scsi-hd,scsi-id=1,drive=root,serial=freezingtime-root"),
    ]


def _await_message(control: Path, wanted: bytes, qemu: subprocess.Popen[bytes]) -> float:
    deadline_s = time.monotonic() + _DEADLINE_S
    with control.open("rb", buffering=0) as file:
        while time.monotonic() < deadline_s:
            message = os.pread(file.fileno(), 512, control_disk.MESSAGE_OFFSET_BYTES)
            if message.startswith(wanted):
                return time.monotonic()
            if message.startswith((b"DONE", b"FAILED")) or qemu.poll() is not None:
                break
            time.sleep(0.002)
    raise SystemExit(f"stock QEMU's guest said {message.rstrip(bytes(1))!r}, not {wanted!r}")
