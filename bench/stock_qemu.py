"""Stock QEMU on the same guest image: what Freezing Time's costs are compared with."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from freezingtime.machine import control_disk
from freezingtime.machine.guest_image import GuestImage
from freezingtime.machine.job import Job
from freezingtime.machine.qemu_command import CPU_MODEL, KERNEL_ARGUMENTS, MACHINE_TYPE

_DEADLINE_S = 300.0


def stock_s(image: GuestImage, script: bytes) -> float:
    """Host seconds of a job under stock QEMU: no agent, icount, its null-co disk as /dev/vda."""
    control = control_disk.ControlDisk(lambda text: None)
    control.set_job(Job(script), disk_count=1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "control"
        path.write_bytes(bytes(control.read(0, 2 * control_disk.BLOCK_BYTES)))
        os.truncate(path, control_disk.SIZE_BYTES)
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", MACHINE_TYPE, "-accel", "tcg,thread=single"),
            *("-icount", "shift=0,sleep=off", "-cpu", CPU_MODEL, "-m", "512M"),
            *("-rtc", "base=2020-01-01,clock=vm", "-seed", "0", "-no-reboot"),
            *("-kernel", str(image.kernel_path), "-initrd", str(image.initrd_path)),
            *("-append", KERNEL_ARGUMENTS, "-serial", "null"),
            *("-device", "virtio-serial-pci,id=ports"),
            *("-chardev", "null,id=out", "-chardev", "null,id=err"),
            *("-device", "virtserialport,bus=ports.0,chardev=out,name=ft.stdout"),
            *("-device", "virtserialport,bus=ports.0,chardev=err,name=ft.stderr"),
            *("-blockdev", f"driver=file,node-name=control,filename={path}"),
            *("-device", "virtio-scsi-pci,id=scsi"),
            *("-device", "scsi-hd,drive=control,serial=freezingtime-control"),
            *("-blockdev", "driver=null-co,node-name=null,size=1073741824,read-zeroes=on"),
            *("-device", "virtio-blk-pci,drive=null"),
        ]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as qemu:
            try:
                start_s = _await_message(path, b"STARTED")
                return _await_message(path, b"EXIT 0") - start_s
            finally:
                qemu.kill()


def _await_message(control: Path, wanted: bytes) -> float:
    deadline_s = time.monotonic() + _DEADLINE_S
    with control.open("rb", buffering=0) as file:
        while time.monotonic() < deadline_s:
            message = os.pread(file.fileno(), 512, control_disk.MESSAGE_OFFSET_BYTES)
            if message.startswith(wanted):
                return time.monotonic()
            if message.startswith((b"EXIT", b"FAILED")):
                break
            time.sleep(0.002)
    raise SystemExit(f"stock QEMU's guest said {message[:60]!r}, not {wanted!r}")
