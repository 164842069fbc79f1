"""What machine it is to be, and which snapshot fits it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from freezingtime._version import __version__
from freezingtime.clock.agent import agent_path
from freezingtime.errors import InputError
from freezingtime.machine.bootstrap import KERNEL_ARGUMENTS as BOOTSTRAP_ARGUMENTS
from freezingtime.machine.bootstrap import bootstrap_script
from freezingtime.machine.guest_image import GuestImage
from freezingtime.machine.qemu_command import CPU_MODEL, KERNEL_ARGUMENTS, MACHINE_TYPE
from freezingtime.machine.snapshot import snapshot_key

#: The program, unless another one is named.
QEMU = "qemu-system-x86_64"


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What machine it is to be."""

    image: GuestImage
    memory_bytes: int
    rate_hz: int
    cpu_count: int = 1
    qemu: str = QEMU
    medium_deadline_s: float = 60.0
    boot_deadline_s: float = 300.0

    @property
    def kernel_arguments(self) -> str:
        """What the image's kernel is told beside what every guest's is; the image's own last."""
        own = self.image.manifest.append
        return f"{BOOTSTRAP_ARGUMENTS} {own}".rstrip() if self.image.is_imported else own

    @property
    def key(self) -> str:
        """The key of this machine's snapshot; the rate is set after it."""
        qemu_path = find_qemu(self.qemu)
        qemu, agent = qemu_path.stat(), agent_path().stat()
        return snapshot_key(
            [
                __version__,
                self.image.image_id,
                str(self.memory_bytes),
                str(self.cpu_count),
                MACHINE_TYPE,
                CPU_MODEL,
                KERNEL_ARGUMENTS,
                self._bootstrap_identity(),
                f"{qemu_path} {qemu.st_size} {qemu.st_mtime_ns}",
                f"{agent.st_size} {agent.st_mtime_ns}",
            ]
        )

    def _bootstrap_identity(self) -> str:
        """What the guest gets at boot that is not in its image."""
        if not self.image.is_imported:
            return ""
        script = hashlib.sha256(bootstrap_script()).hexdigest()
        return f"{BOOTSTRAP_ARGUMENTS} {script}"


def find_qemu(name: str) -> Path:
    """QEMU's binary.

    Raises:
        InputError: it is not there.
    """
    found = shutil.which(name)
    if found is None:
        raise InputError(
            f"{name} is not installed; install it with 'apt-get install qemu-system-x86', "
            "or name another with --qemu"
        )
    return Path(found)
