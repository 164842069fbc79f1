# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk of a run, as values instead of the text of ``--disk``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of a run: a device, which decides when, and a medium, which decides what.

    Sizes and times may be text as in ``--disk``, such as ``"1GiB"`` and ``"3ms"``; a number is
    bytes or nanoseconds. What cannot be is said when the disk is used.
    """

    device: str | Path
    """A name of :func:`freezingtime.devices`, a TOML file, ``file.py:Class`` or ``module:Class``,
    or ``constant:10us`` and the like."""
    name: str | None = None
    """Its name in the guest (``/dev/disk/by-id/virtio-NAME``) and in the record."""
    file: str | os.PathLike[str] | None = None
    """The medium: a file; None: memory."""
    size: str | int | None = None
    writable: bool = False
    """Whether writes go to the file; else they are forgotten after the run."""
    direct: bool = False
    """Whether the file is accessed past the host's page cache."""
    delay: str | int | None = None
    """Real time that each call of the medium takes longer: a time, or ``"2.5ms..10ms"``."""
    frontend: str | None = None
    """The controller that the guest sees: ``"virtio-blk"`` (None: this one), ``"virtio-scsi"``,
    ``"sata"`` or ``"nvme"``."""
    write_cache: bool = True
    """Whether the controller says that it has a write cache."""
    queue_depth: int | None = None
    """How many requests one of its queues takes; None: as many as the real controller's."""
    queues: int | None = None
    """How many queues it has."""
    format: str | None = None
    """``"raw"``: the file's bytes are the disk's, even where they look like qcow2 or its kin."""

    block_size: str | int | None = None
    """Its logical block, ``"512/4096"``: and its physical one; None: as the device has it."""
    rotational: bool | None = None
    """Whether it says that it turns; None: what the device says."""
    mount: str | None = None
    """The directory of the guest on which it is mounted before the job, formatted if blank."""
    fs: str | None = None
    """The file system that it is formatted with: ``"ext4"`` (None: this one), ``"xfs"``,
    ``"btrfs"``."""

    @property
    def spec(self) -> str:
        """The disk as the text of ``--disk``."""
        fields = {
            "medium": None if self.file is None else _escaped(f"file:{os.fspath(self.file)}"),
            "size": self.size,
            "writable": "yes" if self.writable else None,
            "direct": "yes" if self.direct else None,
            "format": self.format,
            "delay": f"{self.delay}ns" if isinstance(self.delay, int) else self.delay,
            "name": self.name,
            "frontend": self.frontend,
            "write-cache": None if self.write_cache else "off",
            "queue-depth": self.queue_depth,
            "queues": self.queues,
            "block-size": self.block_size,
            "rotational": None if self.rotational is None else _yes_no(self.rotational),
            "mount": self.mount,
            "fs": self.fs,
        }
        device = _escaped(str(self.device)) if isinstance(self.device, Path) else self.device
        return ",".join(
            [device, *(f"{key}={value}" for key, value in fields.items() if value is not None)]
        )


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _escaped(path: str) -> str:
    return path.replace(",", "\\,")


def disk_text(disk: Disk | str) -> str:
    """A disk as text, however it is given."""
    return disk.spec if isinstance(disk, Disk) else disk
