# SPDX-License-Identifier: GPL-2.0-or-later
"""Identity of a machine: a saved state is restored only by a machine of the same identity."""

from __future__ import annotations

import hashlib
import json

import msgspec
from msgspec.structs import asdict

from freezingtime.units import format_size_bytes

_KEY_DIGITS = 16
_ID_DIGITS_SHOWN = 12


class KvmBoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The KVM that a guest was booted under, as far as its kernel relies on what it found there."""

    tsc_khz: int
    """Frequency of the cycle counter."""
    cpu_vendor: str
    """The CPU's, such as ``GenuineIntel``."""


class MachineIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of a machine by content: reinstalling its parts does not change it."""

    version: str
    """Of freezingtime."""
    image_id: str
    """The guest image's."""
    memory_bytes: int
    cpu_count: int
    board: str
    """Machine type, kernel arguments, and settings of the image's system."""
    qemu: str
    """The digest of QEMU's binary."""
    agent: str
    """The digest of the agent's sources."""
    cpu_model: str = "v1"
    """The CPU's level; "v1" was the only one once."""

    @property
    def key(self) -> str:
        """Return the name of the machine's state in the cache."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:_KEY_DIGITS]

    def differences(self, was: MachineIdentity) -> list[str]:
        """List the differences of this machine from ``was``, naming both values."""
        memory, memory_was = (format_size_bytes(each.memory_bytes) for each in (self, was))
        image, image_was = (each.image_id[:_ID_DIGITS_SHOWN] for each in (self, was))
        words = {
            "version": f"freezingtime is {self.version}, not {was.version}",
            "image_id": f"the guest's image is {image}, not {image_was}",
            "memory_bytes": f"it has {memory} of memory, not {memory_was}",
            "cpu_count": f"it has {self.cpu_count} CPUs, not {was.cpu_count}",
            "cpu_model": f"its CPU is {self.cpu_model}, not {was.cpu_model}",
            "board": "its machine type or kernel arguments differ",
            "qemu": "the QEMU binary differs",
            "agent": "freezingtime's agent was built from different sources",
        }
        return [text for name, text in words.items() if getattr(self, name) != getattr(was, name)]
