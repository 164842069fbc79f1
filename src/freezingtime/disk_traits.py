# SPDX-License-Identifier: GPL-2.0-or-later
"""Traits that a disk reports to the guest, beside its name and its size.

The terms are those of Linux's ``/sys/block/*/queue``: see Documentation/ABI/stable/sysfs-block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from freezingtime.errors import InputError

#: Rotation rate of a rotational disk whose speed is unknown.
USUAL_RPM = 7200
#: What ATA and SCSI can say of a rotation rate (ACS-4, word 217; SBC-4, VPD page B1h).
RPM_LEAST, RPM_MOST = 1025, 65534
#: A logical block above a page of memory is none for Linux.
BLOCK_BYTES_LEAST, LOGICAL_BLOCK_BYTES_MOST = 512, 4096
PHYSICAL_BLOCK_BYTES_MOST = 2 << 20
#: ATA's IDENTIFY DEVICE has room for so many characters of ASCII.
_MODEL_NAME = re.compile(r"[ -~]{1,40}")


class DiskTraits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Traits that a disk reports. Where one is None, QEMU's default holds.

    Raises InputError where the traits do not go together.
    """

    logical_block_bytes: int = BLOCK_BYTES_LEAST
    """The unit of addresses: requests that are no multiple of it are refused."""
    physical_block_bytes: int = BLOCK_BYTES_LEAST
    """What the disk reads and writes at once; 4096 over a logical 512 is a drive with 512e."""
    rpm: int | None = None
    """How fast it turns; 0: it does not."""
    discards: bool = True
    discard_granularity_bytes: int | None = None
    optimal_io_bytes: int | None = None
    model_name: str | None = None
    write_cache: bool = True
    """Whether what it has acknowledged is safe from power loss only after a flush."""

    def __post_init__(self) -> None:
        for name, value, most in (
            ("logical", self.logical_block_bytes, LOGICAL_BLOCK_BYTES_MOST),
            ("physical", self.physical_block_bytes, PHYSICAL_BLOCK_BYTES_MOST),
        ):
            if not BLOCK_BYTES_LEAST <= value <= most or value & (value - 1):
                raise InputError(
                    f"a {name} block of {value} bytes: must be a power of two from "
                    f"{BLOCK_BYTES_LEAST} to {most}"
                )
        if self.physical_block_bytes < self.logical_block_bytes:
            raise InputError(
                f"a physical block of {self.physical_block_bytes} bytes: must not be smaller than "
                f"a logical one, {self.logical_block_bytes}"
            )
        for what, size_bytes in (
            ("discard granularity", self.discard_granularity_bytes),
            ("optimal I/O size", self.optimal_io_bytes),
        ):
            if size_bytes is not None and (
                size_bytes % self.logical_block_bytes or not 0 < size_bytes < 2**31
            ):
                raise InputError(
                    f"{what} of {size_bytes} bytes: must be a multiple of a logical block, "
                    f"{self.logical_block_bytes} bytes, and below 2GiB"
                )
        if self.rpm not in (None, 0) and not RPM_LEAST <= (self.rpm or 0) <= RPM_MOST:
            raise InputError(f"rotation rate {self.rpm}: must be 0, or {RPM_LEAST} to {RPM_MOST}")
        if self.model_name is not None and not _MODEL_NAME.fullmatch(self.model_name):
            raise InputError(
                f"model name {self.model_name!r}: must be 1 to 40 printable ASCII characters"
            )

    @property
    def is_rotational(self) -> bool | None:
        """Return whether the disk is rotational; None: unknown."""
        return None if self.rpm is None else self.rpm > 0


#: Traits of a disk without a description.
NO_TRAITS = DiskTraits()


@dataclass(frozen=True, slots=True)
class TraitOverrides:
    """Traits that the user sets in place of the device's."""

    logical_block_bytes: int | None = None
    physical_block_bytes: int | None = None
    is_rotational: bool | None = None

    def applied_to(self, traits: DiskTraits) -> DiskTraits:
        """Return the traits with these overrides.

        Raises:
            InputError: they do not go together.
        """
        changed = traits
        if self.logical_block_bytes is not None:
            physical_bytes = self.physical_block_bytes or self.logical_block_bytes
            changed = replace(
                changed,
                logical_block_bytes=self.logical_block_bytes,
                physical_block_bytes=physical_bytes,
                discard_granularity_bytes=_rounded_up(
                    traits.discard_granularity_bytes, self.logical_block_bytes
                ),
                optimal_io_bytes=_rounded_up(traits.optimal_io_bytes, self.logical_block_bytes),
            )
        if self.is_rotational is not None and self.is_rotational is not traits.is_rotational:
            changed = replace(changed, rpm=USUAL_RPM if self.is_rotational else 0)
        return changed


def _rounded_up(size_bytes: int | None, unit_bytes: int) -> int | None:
    return None if size_bytes is None else -(-size_bytes // unit_bytes) * unit_bytes
