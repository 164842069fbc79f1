# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSD's SLC cache: the fast start of a long write, the cliff, and what idle time mends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from freezingtime.device.flash import FlashDevice
from freezingtime.request import Operation
from tests.support.flashlib import MIB, check_translation, device, read, run, state_of, write

SSD_BYTES = 64 * MIB
SHARE = 0.25
PROGRAM_NS = 1_500_000
SLC_PROGRAM_NS = 200_000
ERASE_NS = 3_000_000
SECOND_NS = 1_000_000_000


def cached_device(**changes: Any) -> FlashDevice:
    """One die that programs three pages at once, or one in the cache."""
    shape: dict[str, Any] = {
        "pages_per_program": 3,
        "pages_per_block": 96,
        "program_ns": (PROGRAM_NS,),
        "slc_cache_share": SHARE,
        "slc_program_ns": SLC_PROGRAM_NS,
        "slc_read_ns": 20_000,
        "slc_idle_ns": SECOND_NS,
        "write_buffer_bytes": 12 * 4096,
        "power_loss_protection": True,
    }
    return device(SSD_BYTES, **(shape | changes))


def write_all(ssd: FlashDevice, start_ns: int = 0, pages: int = SSD_BYTES // 4096) -> NDArray[Any]:
    """Write sequentially, as fast as it goes; the completion times."""
    same = np.ones(pages, dtype=np.int64)
    offsets = np.arange(pages) * 4096
    return ssd.complete_all(same * start_ns, same * Operation.WRITE, offsets, same * 4096)


def ns_per_page(completions_ns: NDArray[Any], begin: float, end: float) -> float:
    """The mean time per page between two shares of the disk."""
    first, last = (int(share * (completions_ns.size - 1)) for share in (begin, end))
    return float(completions_ns[last] - completions_ns[first]) / (last - first)


def test_writing_is_fast_until_the_cache_is_full() -> None:
    completions = write_all(cached_device())
    assert ns_per_page(completions, 0.02, 0.24) == pytest.approx(SLC_PROGRAM_NS, rel=0.02)
    assert ns_per_page(completions, 0.30, 0.98) == pytest.approx(PROGRAM_NS / 3, rel=0.02)


def test_the_cache_scales_with_the_disk() -> None:
    ssd = cached_device()
    geometry = ssd.geometry
    cached = geometry.slc_blocks_per_lane * geometry.slc_slots_per_block * geometry.lanes
    assert cached / geometry.units == pytest.approx(SHARE, rel=0.05)
    assert geometry.slc_slots_per_block * 3 == geometry.slots_per_block


def test_what_is_cached_is_read_faster() -> None:
    ssd = cached_device()
    end_ns = int(write_all(ssd).max()) + 10_000_000
    arrivals = [end_ns, end_ns + 1_000_000]
    completions = run(ssd, [(arrivals[0], read(0)), (arrivals[1], read(SSD_BYTES // 2))])
    services = [done - at for at, done in zip(arrivals, completions, strict=True)]
    assert services == [20_000, 50_000]


def test_an_idle_die_empties_the_cache_and_writing_is_fast_again() -> None:
    ssd = cached_device()
    end_ns = int(write_all(ssd).max())
    full = ssd.statistics()
    assert full["slc_folds"] == 0
    run(ssd, [(end_ns + 100 * SECOND_NS, read(0))])
    emptied = ssd.statistics()
    assert emptied["slc_blocks"] <= 1  # the open one
    assert emptied["slc_folds"] >= full["slc_blocks"] - 1
    moved_bytes = emptied["programmed_bytes"] - full["programmed_bytes"]
    assert moved_bytes == pytest.approx(SHARE * SSD_BYTES, rel=0.05)
    check_translation(ssd)
    again = write_all(ssd, end_ns + 101 * SECOND_NS, pages=2000)
    assert ns_per_page(again, 0.1, 0.9) == pytest.approx(SLC_PROGRAM_NS, rel=0.02)


def test_a_short_pause_empties_nothing() -> None:
    ssd = cached_device()
    end_ns = int(write_all(ssd).max())
    run(ssd, [(end_ns + SECOND_NS // 2 + i * SECOND_NS // 2, read(0)) for i in range(4)])
    assert ssd.statistics()["slc_folds"] == 0


def test_folding_stands_back_for_the_host() -> None:
    """A read in the midst of folding waits for one program or erase at most."""
    ssd = cached_device()
    end_ns = int(write_all(ssd).max())
    begin_ns = end_ns + SECOND_NS + 100_000_000
    (completion_ns,) = run(ssd, [(begin_ns, read(0))])
    folds = ssd.statistics()["slc_folds"]
    assert folds >= 1
    assert completion_ns - begin_ns <= ERASE_NS + 50_000
    run(ssd, [(begin_ns + SECOND_NS // 2, read(0))])
    assert ssd.statistics()["slc_folds"] - folds <= 1


def test_nobody_is_woken_for_folding() -> None:
    ssd = cached_device()
    run(ssd, [(0, write(0))])
    assert ssd.next_event_ns() is None
    write_all(ssd)
    assert ssd.next_event_ns() is None
    assert state_of(ssd).queue["events"][0] > 0


def test_used_drives_begin_with_the_cache_in_its_usual_state() -> None:
    """Full after long random use, empty after a fill and a rest."""
    steady = cached_device(precondition="steady", allocation="static")
    assert steady.statistics()["slc_blocks"] == steady.geometry.slc_blocks_per_lane
    check_translation(steady)
    filled = cached_device(precondition="sequential")
    assert filled.statistics()["slc_blocks"] <= 1
    check_translation(filled)


DYNAMIC_SHARE = 0.2
FOLD_NS = 4_500_000


def dynamic_device(**changes: Any) -> FlashDevice:
    """The cache takes free blocks, 60 % of the raw capacity for 20 % of the disk's."""
    dynamic = {"slc_cache_share": 0.0, "slc_dynamic_share": DYNAMIC_SHARE, "slc_fold_ns": FOLD_NS}
    return cached_device(**(dynamic | {"over_provisioning": 0.10} | changes))


def test_a_dynamic_cache_gives_its_blocks_back_when_they_run_short() -> None:
    """Three rates: of the cache, of the flash while there are free blocks, and of folding.

    The cache lies on 0.6 of 1.10 disks. What is left, 0.50, is written directly: up to 0.70.
    Each block from then on needs one and a half of the cache's, with half a block to be moved.
    """
    ssd = dynamic_device()
    completions = write_all(ssd)
    assert ns_per_page(completions, 0.02, 0.18) == pytest.approx(SLC_PROGRAM_NS, rel=0.02)
    assert ns_per_page(completions, 0.22, 0.65) == pytest.approx(PROGRAM_NS / 3, rel=0.02)
    folding_ns = ns_per_page(completions, 0.75, 0.98)
    per_page_ns = (PROGRAM_NS + 0.5 * FOLD_NS + 1.5 * ERASE_NS / 32) / 3 + 0.5 * 50_000
    assert folding_ns == pytest.approx(per_page_ns, rel=0.04)
    assert ssd.statistics()["slc_folds"] > 0
    check_translation(ssd)


def test_a_dynamic_cache_shrinks_as_the_disk_fills() -> None:
    """Filled by three quarters and folded, 0.35 of a disk is free: an eighth in the cache."""
    ssd = dynamic_device()
    filled = SSD_BYTES // 4096 * 3 // 4
    rest_ns = int(write_all(ssd, pages=filled).max()) + 200 * SECOND_NS
    run(ssd, [(rest_ns, read(0))])
    assert ssd.statistics()["slc_blocks"] <= 1
    pages = SSD_BYTES // 4096 - filled
    same = np.ones(pages, dtype=np.int64)
    offsets = (filled + np.arange(pages)) * 4096
    at_ns = rest_ns + SECOND_NS
    completions = ssd.complete_all(same * at_ns, same * Operation.WRITE, offsets, same * 4096)
    cached = 0.35 / 3 / 0.25  # of what is written now
    assert ns_per_page(completions, 0.02, 0.9 * cached) == pytest.approx(SLC_PROGRAM_NS, rel=0.02)
    assert ns_per_page(completions, 1.1 * cached, 0.98) > 3 * SLC_PROGRAM_NS


def test_the_least_of_the_cache_is_its_own() -> None:
    """Static blocks stay when the disk is full; the dynamic ones are there besides."""
    both = dynamic_device(slc_cache_share=0.05)
    completions = write_all(both)
    assert ns_per_page(completions, 0.02, 0.23) == pytest.approx(SLC_PROGRAM_NS, rel=0.02)
    assert both.statistics()["slc_blocks"] >= both.geometry.slc_blocks_per_lane > 0


def test_what_was_not_written_is_read_from_the_flash_if_it_says_so() -> None:
    """In order, program by program: pages on one die one after the other, on two at once."""
    shape: dict[str, Any] = {"pages_per_program": 3, "pages_per_block": 96, "channels": 2}
    zeros = device(SSD_BYTES, **shape)
    assert run(zeros, [(0, read(0))]) == [0]
    ssd = device(SSD_BYTES, **shape, unwritten="flash")
    assert run(ssd, [(0, read(0)), (0, read(4096)), (0, read(3 * 4096))]) == [
        50_000,
        100_000,
        50_000,
    ]
    assert run(ssd, [(1_000_000, read(SSD_BYTES - 4096))]) == [1_050_000]
    run(ssd, [(2_000_000, write(0))])
    assert ssd.statistics()["old_data_reads"] == 0
