# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration of a machine, and its identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from freezingtime._version import RELEASE
from freezingtime.clock.agent import agent_identity
from freezingtime.store.machine_identity import KvmBoot, MachineIdentity
from freezingtime.vm.bootstrap import KERNEL_ARGUMENTS as BOOTSTRAP_ARGUMENTS
from freezingtime.vm.bootstrap import bootstrap_script
from freezingtime.vm.qemu.command import KERNEL_ARGUMENTS, MACHINE_TYPE
from freezingtime.vm.qemu.cpu_model import CpuModel
from freezingtime.vm.qemu.kvm_machine import KvmMachine, kernel_arguments_under
from freezingtime.vm.qemu.program import find_qemu


class BootableImage(Protocol):
    """Parts of a guest image that the machine needs."""

    @property
    def name(self) -> str: ...
    @property
    def image_id(self) -> str: ...
    @property
    def kernel_path(self) -> Path: ...
    @property
    def initrd_path(self) -> Path: ...
    @property
    def append(self) -> str:
        """Kernel arguments of the image's own."""
        ...

    @property
    def is_imported(self) -> bool:
        """Whether it was not built here, and gets the job runner at boot."""
        ...


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """Configuration of a machine."""

    image: BootableImage
    memory_bytes: int
    rate_hz: int
    cpu_count: int = 1
    cpu_model: CpuModel = CpuModel.V1
    qemu: str | None = None
    medium_deadline_s: float = 60.0
    boot_deadline_s: float = 300.0
    kvm: KvmMachine | None = None
    """None: TCG executes the guest, and its clock is exact."""
    booted: KvmBoot | None = None
    """The KVM under which the guest was booted; None: it was, or will be, under TCG."""

    @property
    def kernel_arguments(self) -> str:
        """Return the image's kernel arguments beyond every guest's; the image's own come last."""
        own = self.image.append
        if self.booted is not None:
            own = f"{kernel_arguments_under(self.booted)} {own}".rstrip()
        return f"{BOOTSTRAP_ARGUMENTS} {own}".rstrip() if self.image.is_imported else own

    def identity(self) -> MachineIdentity:
        """Return the machine's identity, without its rate, which is set when it is ready.

        Raises:
            InputError: QEMU or the agent is not there.
        """
        board = (MACHINE_TYPE, KERNEL_ARGUMENTS, self._bootstrap_identity())
        return MachineIdentity(
            version=RELEASE,
            image_id=self.image.image_id,
            memory_bytes=self.memory_bytes,
            cpu_count=self.cpu_count,
            cpu_model=self.cpu_model,
            board="\n".join(board),
            qemu=find_qemu(self.qemu).sha256,
            agent=agent_identity(),
        )

    def _bootstrap_identity(self) -> str:
        """Return the identity of what the guest gets at boot beside its image."""
        if not self.image.is_imported:
            return ""
        script = hashlib.sha256(bootstrap_script()).hexdigest()
        return f"{BOOTSTRAP_ARGUMENTS} {script}"
