# SPDX-License-Identifier: GPL-2.0-or-later
"""Closed loops that an SSD works off at once, against the same request by request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freezingtime.device.annotations.columns import new_annotations
from freezingtime.device.base import statistics_of
from freezingtime.device.flash import FlashDevice
from freezingtime.errors import RefusalError
from freezingtime.request import Operation
from freezingtime.simulate.simulate import simulate_closed_loop
from freezingtime.trace.readers.columns import Trace
from tests.simulate.test_closed_loop import OneByOne
from tests.support.flashlib import MIB, PLAIN, changed, check_translation

SIZE_BYTES = 16 * MIB
DRIVE = changed(
    PLAIN,
    channels=2,
    chips_per_channel=2,
    planes_per_die=2,
    channel_bytes_per_s=800_000_000,
    link_bytes_per_s=2_000_000_000,
    over_provisioning=0.2,
    precondition="sequential",
)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fresh": {"precondition": "fresh"},
    "steady": {"precondition": "steady"},
    "no time at all": {"read_overhead_ns": 0, "submission_ns": 0, "precondition": "fresh"},
    "planes apart": {"scheduler": "plane", "plane_reads": True},
    "chips": {"scheduler": "chip", "multi_plane": True},
    "few places": {"queue_depth": 4},
    "no buffer": {"write_buffer_bytes": 0},
    "buffer": {"write_buffer_bytes": 256 << 10},
    "protected buffer": {"write_buffer_bytes": 64 << 10, "power_loss_protection": True},
    "map cache": {"mapping_cache_bytes": 32 << 10},
    "suspension": {"suspend_ns": 20_000, "resume_ns": 10_000},
    "writes first": {"read_priority": False},
    "whole transfers": {"link_transfer": "whole", "allocation": "static"},
    "writes wait": {"writes_waiting_max": 1, "write_buffer_bytes": 64 << 10},
    "bursts": {"gc_pacing": "burst", "gc_policy": "cost-benefit", "precondition": "steady"},
    "SLC": {"slc_cache_share": 0.05},
}


ZONED: dict[str, Any] = {"zone_bytes": MIB, "precondition": "fresh", "write_buffer_bytes": MIB}


def mixed(count: int, size_bytes: int = SIZE_BYTES) -> Trace:
    """Requests of all kinds, aligned and not; nobody looks at their arrival times."""
    generator = np.random.default_rng(5)
    kinds = [Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD]
    operations = generator.choice(kinds, count, p=[0.5, 0.4, 0.03, 0.07])
    lengths = generator.choice([512, 4096, 4096, 8192, 65536], count)
    offsets = generator.integers(0, (size_bytes - 65536) // 512, count) * 512
    offsets[::2] &= ~4095
    lengths[operations == Operation.FLUSH] = offsets[operations == Operation.FLUSH] = 0
    none = np.zeros(count, np.int64)
    return Trace(none, operations.astype(np.uint8), offsets, lengths, none.astype(np.bool_))


@pytest.mark.parametrize("name", OPTIONS)
def test_at_once_gives_the_same_as_one_by_one(name: str) -> None:
    params = changed(DRIVE, **OPTIONS[name])
    trace = mixed(400)
    for depth in (1, 7, 40):
        ssd, slow_ssd = (FlashDevice(params, 3, SIZE_BYTES) for _ in range(2))
        quick = simulate_closed_loop(ssd, [trace], depth)
        slow = simulate_closed_loop(OneByOne(slow_ssd), [trace], depth)
        assert quick.trace.arrival_ns.tolist() == slow.trace.arrival_ns.tolist()
        assert quick.completion_ns.tolist() == slow.completion_ns.tolist()
        assert quick.annotations.tolist() == slow.annotations.tolist()
        assert statistics_of(ssd) == statistics_of(slow_ssd)
        check_translation(ssd)


def test_pieces_of_a_loop_are_the_whole() -> None:
    trace = mixed(700)
    columns = trace.operation.astype(np.int64), trace.offset_bytes, trace.length_bytes
    whole = FlashDevice(DRIVE, 3, SIZE_BYTES).complete_closed(9, *columns)
    seen: list[tuple[int, int]] = []
    parts = FlashDevice(DRIVE, 3, SIZE_BYTES).complete_closed(
        9, *columns, pause=lambda done, now_ns: seen.append((done, now_ns))
    )
    assert [column.tolist() for column in parts] == [column.tolist() for column in whole]
    assert len(seen) > 5
    assert seen == sorted(seen)


def test_a_loop_goes_on_where_the_last_one_ended() -> None:
    ssd = FlashDevice(DRIVE, 3, SIZE_BYTES)
    reads = np.zeros(20, np.int64), np.arange(20) * 4096, np.full(20, 4096)
    _, first_ns = ssd.complete_closed(4, *reads)
    arrivals_ns, _ = ssd.complete_closed(4, *reads)
    assert arrivals_ns[:4].tolist() == [int(first_ns.max())] * 4
    later_ns, _ = ssd.complete_closed(50, *reads, start_ns=10**9)
    assert later_ns.tolist() == [10**9] * 20
    with pytest.raises(ValueError, match="queue depth is 0; must be 1 or more"):
        ssd.complete_closed(0, *reads)


def test_a_write_that_a_zone_refuses_ends_the_loop() -> None:
    ssd = FlashDevice(changed(DRIVE, **ZONED), 3, SIZE_BYTES)
    writes = np.full(3, Operation.WRITE), np.array([0, 4096, 65536]), np.full(3, 4096)
    with pytest.raises(RefusalError, match="65536"):
        ssd.complete_closed(1, *writes)


def test_annotations_must_be_one_for_each_request() -> None:
    ssd = FlashDevice(DRIVE, 3, SIZE_BYTES)
    reads = np.zeros(4, np.int64), np.zeros(4, np.int64), np.full(4, 4096)
    for wrong in (new_annotations(3), new_annotations(8)[::2]):
        with pytest.raises(ValueError, match="annotations"):
            ssd.complete_closed(2, *reads, annotations=wrong)
