# SPDX-License-Identifier: GPL-2.0-or-later
"""The controllers through which a guest can see a disk, and the queues that each offers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from freezingtime.errors import InputError


class Frontend(StrEnum):
    """A disk's controller, by the name that ``frontend=`` has for it."""

    VIRTIO_BLK = "virtio-blk"
    VIRTIO_SCSI = "virtio-scsi"
    SATA = "sata"
    NVME = "nvme"


class Queues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Queues of a controller: their number and depth."""

    depth: int
    """Requests in one queue; of virtio-scsi, on the disk as a whole."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Limits:
    default_depth: int
    depth_min: int
    depth_max: int
    depth_is_power_of_two: bool = False
    count_max: int = 16


# The defaults are what QEMU and Linux make of the controller without further ado.
_LIMITS = {
    # QEMU's queue-size; VIRTQUEUE_MAX_SIZE.
    Frontend.VIRTIO_BLK: _Limits(256, 4, 1024, depth_is_power_of_two=True),
    # QEMU's cmd_per_lun.
    Frontend.VIRTIO_SCSI: _Limits(128, 1, 1024),
    # NCQ has 32 tags, and AHCI one queue.
    Frontend.SATA: _Limits(32, 1, 32, count_max=1),
    # Linux asks for 1024 entries (nvme.io_queue_depth), of which one stays empty; and its block
    # layer goes no lower than BLKDEV_MIN_RQ.
    Frontend.NVME: _Limits(1023, 4, 1023),
}


def queues_of(frontend: Frontend, depth: int | None = None, count: int | None = None) -> Queues:
    """The queues of a controller; what is None is as the real one has it.

    Raises:
        InputError: the controller cannot have such queues.
    """
    limits = _LIMITS[frontend]
    if depth is None:
        depth = limits.default_depth
    fits = limits.depth_min <= depth <= limits.depth_max
    if not fits or (limits.depth_is_power_of_two and depth & (depth - 1)):
        what = "a power of two" if limits.depth_is_power_of_two else "a whole number"
        raise InputError(f"{frontend} takes {what} from {limits.depth_min} to {limits.depth_max}")
    if count is None:
        count = 1
    if not 1 <= count <= limits.count_max:
        has = "has one queue" if limits.count_max == 1 else f"has 1 to {limits.count_max} queues"
        raise InputError(f"{frontend} {has}")
    return Queues(depth, count)


#: Those of virtio-blk, the default frontend.
DEFAULT_QUEUES = queues_of(Frontend.VIRTIO_BLK)
