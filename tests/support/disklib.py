# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of hard disks share: one drive and ways to run it."""

from __future__ import annotations

import tomllib

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.disk import DiskDevice, DiskParams
from freezingtime.device.parameters import Table
from freezingtime.request import Operation

#: A 7200 rpm desktop drive: the figures of a data sheet.
DRIVE = """
capacity = "4TB"
rpm = 7200
heads = 8
track_to_track = "0.6ms"
average_seek = "8.5ms"
full_stroke = "18ms"
head_switch = "0.8ms"
outer_rate = "205MB/s"
inner_rate = "95MB/s"
"""

TURN_NS = 60e9 / 7200
BLOCK_BYTES = 4096

Int64s = NDArray[np.int64]


def drive(more: str = "") -> DiskParams:
    """The drive, with keys added or replaced."""
    return Table(tomllib.loads(DRIVE) | tomllib.loads(more), "drive.toml").read(DiskParams)


def random_offsets(count: int, size_bytes: int, seed: int = 1) -> Int64s:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, size_bytes // BLOCK_BYTES, count) * BLOCK_BYTES


def closed_loop(
    device: DiskDevice,
    offsets_bytes: Int64s,
    *,
    depth: int = 1,
    operation: Operation = Operation.READ,
    length_bytes: int = BLOCK_BYTES,
) -> tuple[Int64s, Int64s]:
    count = len(offsets_bytes)
    return device.complete_closed(
        depth,
        np.full(count, int(operation), np.int64),
        offsets_bytes,
        np.full(count, length_bytes, np.int64),
    )


def iops(completions_ns: Int64s) -> float:
    return len(completions_ns) / (int(completions_ns.max()) / 1e9)
