"""What exactness costs: the same job here and in stock QEMU on its own null-co disk.

Both run the same guest image under icount; boot is excluded on both sides: the time is
taken from the guest's STARTED message to its EXIT message. Rounds alternate, and the
ratio is taken round by round, so that the machine's mood cancels out. The limit holds for
the device that is like null-co, with no latency; one with latency costs a second exchange
per request, and is shown beside it. The emulator is a process of its own: where other work
keeps the second core busy, the ratio grows.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from freezingtime.experiment.run import RunObserver, RunPlan, run
from freezingtime.machine import control_disk
from freezingtime.machine.guest_image import GuestImage, find_image
from freezingtime.machine.image_build import build_mini_image
from freezingtime.machine.qemu_command import CPU_MODEL, KERNEL_ARGUMENTS, MACHINE_TYPE
from freezingtime.spec import parse_disk

READS = 20_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LIMIT_RATIO = 1.5
STOCK_DEADLINE_S = 300.0
SCRIPT = f"""#!/bin/sh
exec fio --name=cost --filename=/dev/vda --direct=1 --rw=randread --bs=4k --ioengine=psync \
    --size=512m --number_ios={READS} --output=/dev/null
""".encode()


class _Quiet(RunObserver):
    def output(self, stdout: bytes, stderr: bytes) -> None:
        if stderr:
            sys.stderr.write(stderr.decode(errors="replace"))


def ours_s(disk: str, rate_hz: int) -> float:
    """Host seconds of the job under Freezing Time."""
    result = run(RunPlan([parse_disk(disk)], SCRIPT, rate_hz=rate_hz), _Quiet())
    if result.job.exit_status or not result.valid:
        raise SystemExit(f"cost: the run on {disk} failed or is not valid")
    return result.job.host_s


def stock_s(image: GuestImage) -> float:
    """Host seconds of the job under stock QEMU: no agent, icount, null-co."""
    control = control_disk.ControlDisk(lambda text: None)
    control.set_job(SCRIPT, environment={}, disk_count=1)
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
            *("-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-hd,drive=control"),
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
    deadline_s = time.monotonic() + STOCK_DEADLINE_S
    with control.open("rb", buffering=0) as file:
        while time.monotonic() < deadline_s:
            message = os.pread(file.fileno(), 512, control_disk.MESSAGE_OFFSET_BYTES)
            if message.startswith(wanted):
                return time.monotonic()
            if message.startswith((b"EXIT", b"FAILED")):
                break
            time.sleep(0.002)
    raise SystemExit(f"cost: stock QEMU's guest said {message[:60]!r}, not {wanted!r}")


def main() -> None:
    """Print the table; exit 1 if the cost is above the limit."""
    image = find_image() or build_mini_image()
    subjects = [
        ("constant:0, 1 GHz", "constant:0", 1_000_000_000),
        ("constant:0, 4 GHz", "constant:0", 4_000_000_000),
        ("constant:10us, 4 GHz", "constant:10us", 4_000_000_000),
    ]
    for _, disk, rate_hz in subjects:
        ours_s(disk, rate_hz)  # warm up: image, snapshot, page cache
    stock: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name, _, _ in subjects}
    for _ in range(ROUNDS):
        stock.append(stock_s(image))
        for name, disk, rate_hz in subjects:
            ours[name].append(ours_s(disk, rate_hz))

    table = Table("disk", "wall s (median)", "us per read", "x stock (median of rounds)")
    stock_median_s = statistics.median(stock)
    table.add_row("stock QEMU, null-co", f"{stock_median_s:.2f}", _per_read(stock_median_s), "1.00")
    worst = 0.0
    for name, seconds in ours.items():
        ratio = statistics.median(s / t for s, t in zip(seconds, stock, strict=True))
        if name.startswith("constant:0,"):
            worst = max(worst, ratio)
        median_s = statistics.median(seconds)
        table.add_row(name, f"{median_s:.2f}", _per_read(median_s), f"{ratio:.2f}")
    Console().print(f"{READS} 4 KiB random reads at queue depth 1, {ROUNDS} rounds", table)
    if worst > LIMIT_RATIO:
        raise SystemExit(f"cost: {worst:.2f} x stock QEMU is above {LIMIT_RATIO}")


def _per_read(seconds: float) -> str:
    return f"{seconds / READS * 1e6:.0f}"


if __name__ == "__main__":
    main()
