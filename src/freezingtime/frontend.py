"""The controllers through which a guest can see a disk."""

from __future__ import annotations

from enum import StrEnum


class Frontend(StrEnum):
    """A disk's controller, by the name that ``frontend=`` has for it."""

    VIRTIO_BLK = "virtio-blk"
    VIRTIO_SCSI = "virtio-scsi"
    SATA = "sata"
    NVME = "nvme"
