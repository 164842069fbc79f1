# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's machine: started for a script, and gone with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from freezingtime.images.debian.suite import Suite
from freezingtime.images.qemu import fetch_qemu
from freezingtime.vm.qemu.program import PINNED_SUITE, QemuProgram, find_qemu
from tests.kvm.lab.image import Lab, make_ext4, make_lab

PROJECT = Path(__file__).parents[3]

_PRODUCT_BYTES = 64 << 20
_RESULTS_BYTES = 64 << 20

_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr nohz=off cryptomgr.notests "
    "tsc=reliable random.trust_cpu=off"
)

#: What it does then. Host time is the emulated machine's, as is its idle time, which is skipped.
_SCRIPT = """
/bin/busybox mkdir -p /dev/shm /dev/pts
/bin/busybox mount -t tmpfs tmpfs /tmp
/bin/busybox mount -t tmpfs tmpfs /dev/shm
/bin/busybox mount -t tmpfs tmpfs /results
/bin/busybox ip link set lo up
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8
export PYTHONPATH=/product/src:/opt/site-packages
export FREEZINGTIME_QEMU=debian:{suite}
cd /results
/bin/busybox touch /results/stdout.txt /results/stderr.txt
{follow}
/bin/busybox sh -e /product/job.sh >/results/stdout.txt 2>/results/stderr.txt
echo $? >/results/status
/bin/busybox tar -cf /dev/vdc -C /results .
/bin/busybox sync
/bin/busybox poweroff -f
"""

#: For a person who waits: the console has it as it comes, which takes the machine's time.
_FOLLOW = "/bin/busybox tail -f /results/stdout.txt /results/stderr.txt >/dev/console &"


class LabError(Exception):
    """The outer machine did not come to its end; the message has the end of its console."""


@dataclass(frozen=True, slots=True)
class LabResult:
    """What a script in the lab has left."""

    status: int
    stdout: str
    stderr: str
    files: dict[str, bytes] = field(repr=False)
    console: str = field(repr=False)


def run_in_lab(
    script: str,
    *,
    files: Mapping[str, bytes] | None = None,
    suite: str = PINNED_SUITE,
    cpus: int = 1,
    deadline_s: float = 3400.0,
    append: str = "",
    follow: bool = False,
) -> LabResult:
    """Run a shell script in the outer machine, where `freezingtime` is this checkout's.

    Whatever it leaves in its working directory is in the result. ``files`` are programs, by their
    paths below ``/product/files``. ``suite``: the QEMU of the inner machine.

    With ``follow`` the console has what the script prints, as it comes. ``cpus`` and ``append``
    are the outer machine's: its CPUs, and more arguments for its kernel.

    Raises:
        RunError, NoLabError: as of :func:`make_lab`.
        LabError: the machine has not come to its end.
    """
    lab = make_lab()
    with tempfile.TemporaryDirectory(prefix="kvm-lab-") as name:
        directory = Path(name)
        product = _product_image(directory, script, files or {}, suite, follow=follow)
        results = directory / "results.img"
        results.touch()
        os.truncate(results, _RESULTS_BYTES)
        console = directory / "console.txt"
        qemu = _outer_qemu()
        command = _command(qemu, lab, product, results, console, cpus, append)
        try:
            subprocess.run(
                command,
                env={**os.environ, **qemu.environment},
                check=True,
                timeout=deadline_s,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        except subprocess.SubprocessError as error:
            words = console.read_text(errors="replace")[-4000:] if console.exists() else ""
            raise LabError(f"{error}\n{getattr(error, 'stderr', b'')!r}\n{words}") from error
        return _read_results(results, console.read_text(errors="replace"))


def _outer_qemu() -> QemuProgram:
    return find_qemu(str(fetch_qemu(Suite(PINNED_SUITE), lambda _step, _done, _total: None)))


def _command(
    qemu: QemuProgram, lab: Lab, product: Path, results: Path, console: Path, cpus: int, append: str
) -> list[str]:
    return [
        *qemu.command,
        *qemu.options,
        "-nodefaults",
        "-no-user-config",
        *("-display", "none"),
        *("-machine", "pc-i440fx-7.2"),
        *("-accel", "tcg,thread=single"),
        *("-icount", "shift=0,sleep=off"),
        *("-cpu", "EPYC,+svm,+npt,+invtsc"),
        *("-smp", str(cpus)),
        *("-m", "3072M"),
        *("-rtc", "base=2020-01-01,clock=vm"),
        *("-seed", "0"),
        "-no-reboot",
        *("-kernel", str(lab.kernel)),
        *("-initrd", str(lab.initrd)),
        *("-append", f"{_KERNEL_ARGUMENTS} {append}".rstrip()),
        *("-chardev", f"file,id=console,path={console}"),
        *("-serial", "chardev:console"),
        *_disk(lab.disk, "snapshot=on"),
        *_disk(product, "snapshot=off"),
        *_disk(results, "snapshot=off"),
    ]


def _disk(path: Path, option: str) -> list[str]:
    return ["-drive", f"if=virtio,format=raw,cache=unsafe,{option},file={path}"]


def _product_image(
    directory: Path, script: str, files: Mapping[str, bytes], suite: str, *, follow: bool
) -> Path:
    root = directory / "product"
    root.mkdir()
    shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    (root / "job.sh").write_text(script)
    (root / "lab.sh").write_text(_SCRIPT.format(suite=suite, follow=_FOLLOW if follow else ""))
    for name, content in files.items():
        file = root / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755)
    image = directory / "product.img"
    make_ext4(root, image, _PRODUCT_BYTES)
    return image


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        content = tar.extractfile(member) if member.isfile() else None
        if content is not None:
            yield member.name.removeprefix("./"), content.read()


def _read_results(image: Path, console: str) -> LabResult:
    try:
        with tarfile.open(image, "r:") as tar:
            files = dict(_members(tar))
    except tarfile.TarError as error:
        raise LabError(f"no results ({error})\n{console[-4000:]}") from error
    return LabResult(
        int(files.pop("status")),
        files.pop("stdout.txt").decode(),
        files.pop("stderr.txt").decode(),
        files,
        console,
    )
