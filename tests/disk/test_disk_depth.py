# SPDX-License-Identifier: GPL-2.0-or-later
"""Throughput of hard disks as the queue grows: more to choose from is never slower."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import pytest

import freezingtime.device
from freezingtime.device.disk import DiskDevice, DiskParams
from freezingtime.device.parameters import Table
from freezingtime.request import Operation
from tests.support.disklib import closed_loop, drive, iops, random_offsets

CATALOGUE = Path(freezingtime.device.__file__).parent / "catalogue"
#: Around the usual queue of 32 commands, where its requests come of age, and far beyond it.
DEPTHS = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 64, 128, 256)


@functools.cache
def catalogue_disks() -> dict[str, DiskParams]:
    described = {path: tomllib.loads(path.read_text()) for path in CATALOGUE.glob("*.toml")}
    return {
        path.stem: Table(table["parameters"], path.name).read(DiskParams)
        for path, table in described.items()
        if table["model"] == "disk"
    }


def random_iops(params: DiskParams, depth: int, operation: Operation, count: int) -> float:
    device = DiskDevice(params, seed=1)
    offsets_bytes = random_offsets(count, params.capacity_bytes)
    return iops(closed_loop(device, offsets_bytes, depth=depth, operation=operation)[1])


def assert_never_slower(
    params: DiskParams, depths: tuple[int, ...], operation: Operation, count: int
) -> None:
    best = 0.0
    for depth in depths:
        found = random_iops(params, depth, operation, count)
        assert found > 0.98 * best, f"{found:.1f} IOPS at depth {depth}, {best:.1f} below it"
        best = max(best, found)


def test_a_full_queue_of_a_slow_drive_keeps_its_order() -> None:
    """With a limit below the age of a full queue, it went first come first served: 100 IOPS."""
    slow = catalogue_disks()["seagate-archive-st8000as0002-8tb"]
    assert_never_slower(slow, (24, 32), Operation.READ, 2000)
    assert random_iops(slow, 32, Operation.READ, 2000) > 135


def test_the_default_age_limit_follows_from_the_drive() -> None:
    """A full queue of 32, each with a full stroke of 18 ms and a revolution of 8.333 ms."""
    assert drive().age_limit_ns == 32 * (18_000_000 + 8_333_333)
    assert drive("rpm = 5400\nqueue = 4").age_limit_ns == 4 * (18_000_000 + 11_111_111)
    assert drive('age_limit = "0"').age_limit_ns == 0


@pytest.mark.slow
@pytest.mark.parametrize("operation", [Operation.READ, Operation.WRITE], ids=["read", "write"])
@pytest.mark.parametrize("name", sorted(catalogue_disks()))
def test_no_catalogue_disk_gets_slower_with_depth(name: str, operation: Operation) -> None:
    count = 4000 if operation is Operation.READ else 2000
    assert_never_slower(catalogue_disks()[name], DEPTHS, operation, count)
