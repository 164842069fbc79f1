# SPDX-License-Identifier: GPL-2.0-or-later
"""Garbage collection in idle time: what it spares later writes, and what it keeps from reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from freezingtime.device.flash import FlashDevice
from freezingtime.request import Operation
from tests.support.flashlib import MIB, check_translation, device, read, run, state_of, write

SSD_BYTES = 32 * MIB
UNITS = SSD_BYTES // 4096
PAGES_PER_BLOCK = 32
TARGET = 12
PROGRAM_NS = 500_000
ERASE_NS = 3_000_000
READ_NS = 50_000
MS_NS = 1_000_000
SECOND_NS = 1_000_000_000


def idle_device(**changes: Any) -> FlashDevice:
    """One die, long used, that collects up to 12 free blocks of 32 pages."""
    shape: dict[str, Any] = {"precondition": "steady", "gc_idle_free_blocks": TARGET}
    return device(SSD_BYTES, **(shape | changes))


def write_pages(ssd: FlashDevice, start_ns: int, pages: int) -> NDArray[np.int64]:
    """Overwrite pages at random, as fast as it goes; the completion times."""
    generator = np.random.Generator(np.random.PCG64(2))
    same = np.ones(pages, dtype=np.int64)
    offsets = generator.integers(0, UNITS, pages) * 4096
    return ssd.complete_all(same * start_ns, same * Operation.WRITE, offsets, same * 4096)


def test_after_a_rest_a_burst_meets_no_garbage_collection() -> None:
    burst = (TARGET - 2) * PAGES_PER_BLOCK  # from 12 free blocks down to the 2 that must be
    seen = {}
    for name, ssd in (("rests", idle_device()), ("not", idle_device(gc_idle_free_blocks=0))):
        end_ns = int(write_pages(ssd, 0, 100).max())
        begin_ns = end_ns + 20 * SECOND_NS
        run(ssd, [(begin_ns - MS_NS, read(0))])
        before = ssd.statistics()
        completions = write_pages(ssd, begin_ns, burst)
        collected = ssd.statistics()["gc_collections"] - before["gc_collections"]
        seen[name] = (collected, (int(completions.max()) - begin_ns) / burst)
        check_translation(ssd)
    assert seen["rests"] == (0, PROGRAM_NS)
    collected, ns_per_page = seen["not"]
    assert collected >= burst // PAGES_PER_BLOCK
    assert ns_per_page > 1.5 * PROGRAM_NS


def test_it_collects_up_to_the_target_and_is_counted() -> None:
    ssd = idle_device()
    end_ns = int(write_pages(ssd, 0, 1).max())
    free_blocks = ssd.statistics()["free_blocks"]
    assert free_blocks < TARGET
    run(ssd, [(end_ns + 20 * SECOND_NS, read(0))])
    statistics = ssd.statistics()
    assert statistics["free_blocks"] == TARGET
    assert statistics["gc_idle_collections"] >= TARGET - free_blocks
    assert statistics["gc_moved_units"] > 0
    assert statistics["write_amplification"] > 2


def test_it_begins_when_the_die_has_been_idle_for_so_long() -> None:
    for idle_ns, expected in ((50 * MS_NS - 1, 0), (50 * MS_NS + 1, 1)):
        ssd = idle_device(gc_idle_free_blocks=1000, precondition="sequential")
        end_ns = int(write_pages(ssd, 0, 1).max())
        run(ssd, [(end_ns + idle_ns, read(0))])
        assert ssd.statistics()["gc_idle_collections"] == expected


def test_a_steady_trickle_of_reads_keeps_it_from_collecting() -> None:
    ssd = idle_device()
    end_ns = int(write_pages(ssd, 0, 1).max())
    run(ssd, [(end_ns + i * 40 * MS_NS, read(0)) for i in range(1, 50)])
    assert ssd.statistics()["gc_idle_collections"] == 0


@pytest.mark.parametrize("request_of", [read, write])
def test_a_request_in_its_midst_waits_for_one_step_at_most(request_of: Any) -> None:
    """A step is a few reads and a program, or an erase."""
    ssd = idle_device()
    # From 50 ms on, what the writes before it still owe comes first: a block's moves at most.
    begin_ns = int(write_pages(ssd, 0, 1).max()) + 100 * MS_NS
    (completion_ns,) = run(ssd, [(begin_ns, request_of(0))])
    assert ssd.statistics()["gc_idle_collections"] >= 1
    own_ns = READ_NS if request_of is read else PROGRAM_NS
    assert completion_ns - begin_ns <= own_ns + 2 * READ_NS + PROGRAM_NS + ERASE_NS


def test_it_ends_where_there_is_no_garbage() -> None:
    """A target beyond the spare space: the die falls silent when all blocks are full."""
    ssd = idle_device(gc_idle_free_blocks=1000, precondition="sequential")
    end_ns = int(write_pages(ssd, 0, 500).max())
    run(ssd, [(end_ns + 1000 * SECOND_NS, read(0))])
    free_blocks = ssd.statistics()["free_blocks"]
    moved = ssd.statistics()["gc_moved_units"]
    run(ssd, [(end_ns + 2000 * SECOND_NS, read(0))])
    assert ssd.statistics()["free_blocks"] == free_blocks < 1000
    assert ssd.statistics()["gc_moved_units"] == moved
    check_translation(ssd)


def test_folding_keeps_its_own_time() -> None:
    """Garbage goes after 50 ms, what is cached after 10 s."""
    ssd = idle_device(slc_cache_share=0.1, slc_idle_ns=10 * SECOND_NS)
    end_ns = int(write_pages(ssd, 0, 1).max())
    run(ssd, [(end_ns + 9 * SECOND_NS, read(0))])
    collected = ssd.statistics()
    assert collected["free_blocks"] == TARGET
    assert collected["slc_folds"] == 0
    run(ssd, [(end_ns + 60 * SECOND_NS, read(0))])
    folded = ssd.statistics()
    assert folded["slc_folds"] > 0
    assert folded["slc_blocks"] <= 1
    assert folded["free_blocks"] >= TARGET
    assert state_of(ssd).queue["outstanding"][0] == 0
