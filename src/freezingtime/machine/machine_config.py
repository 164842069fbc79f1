"""What machine it is to be, and what identifies it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from freezingtime._version import __version__
from freezingtime.clock.agent import agent_identity
from freezingtime.errors import InputError
from freezingtime.machine.bootstrap import KERNEL_ARGUMENTS as BOOTSTRAP_ARGUMENTS
from freezingtime.machine.bootstrap import bootstrap_script
from freezingtime.machine.checksums import digest_file
from freezingtime.machine.guest_image import GuestImage
from freezingtime.machine.machine_identity import MachineIdentity
from freezingtime.machine.qemu_command import CPU_MODEL, KERNEL_ARGUMENTS, MACHINE_TYPE
from freezingtime.machine.qemu_program import find_qemu


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What machine it is to be."""

    image: GuestImage
    memory_bytes: int
    rate_hz: int
    cpu_count: int = 1
    qemu: str | None = None
    medium_deadline_s: float = 60.0
    boot_deadline_s: float = 300.0

    @property
    def kernel_arguments(self) -> str:
        """What the image's kernel is told beside what every guest's is; the image's own last."""
        own = self.image.manifest.append
        return f"{BOOTSTRAP_ARGUMENTS} {own}".rstrip() if self.image.is_imported else own

    def identity(self) -> MachineIdentity:
        """What identifies the machine; not its rate, which is set when it is ready.

        Raises:
            InputError: QEMU or the agent is not there.
        """
        board = (MACHINE_TYPE, CPU_MODEL, KERNEL_ARGUMENTS, self._bootstrap_identity())
        return MachineIdentity(
            version=__version__,
            image_id=self.image.image_id,
            memory_bytes=self.memory_bytes,
            cpu_count=self.cpu_count,
            board="\n".join(board),
            qemu=_qemu_digest(self.qemu),
            agent=agent_identity(),
        )

    def _bootstrap_identity(self) -> str:
        """What the guest gets at boot that is not in its image."""
        if not self.image.is_imported:
            return ""
        script = hashlib.sha256(bootstrap_script()).hexdigest()
        return f"{BOOTSTRAP_ARGUMENTS} {script}"


def _qemu_digest(name: str | None) -> str:
    path = find_qemu(name).path
    try:
        return digest_file(path)
    except OSError as error:
        raise InputError(f"--qemu {path}: {error.strerror}; name a readable file") from error
