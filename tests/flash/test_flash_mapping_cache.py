# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSD's mapping cache: what look-ups cost, who shares them, and what is written back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freezingtime.device.flash import FlashDevice
from freezingtime.request import Operation
from tests.support.flashlib import (
    MIB,
    check_translation,
    device,
    discard,
    read,
    run,
    run_closed,
    write,
)

READ_NS = 50_000
PROGRAM_NS = 500_000
PAGE_REACH_BYTES = 4 * MIB  # 4 KiB of map, 4 bytes for each unit of 4 KiB
SSD_BYTES = 64 * MIB


def cached_device(pages: int = 1, **changes: Any) -> FlashDevice:
    """A filled SSD whose mapping cache holds so many translation pages."""
    shape: dict[str, Any] = {"precondition": "sequential", "mapping_cache_bytes": pages * 4096}
    return device(SSD_BYTES, **(shape | changes))


def services(ssd: FlashDevice, *offsets_bytes: int) -> list[int]:
    """The service times of reads, one after the other."""
    trace = [(i * 10_000_000, read(offset)) for i, offset in enumerate(offsets_bytes)]
    return [done - at for (at, _), done in zip(trace, run(ssd, trace), strict=True)]


def test_a_miss_reads_a_translation_page_first() -> None:
    ssd = cached_device()
    assert services(ssd, 0, 4096, PAGE_REACH_BYTES - 4096) == [2 * READ_NS, READ_NS, READ_NS]
    statistics = ssd.statistics()
    assert statistics["map_misses"] == statistics["translation_reads"] == 1
    assert statistics["map_hits"] == 2


def test_a_translation_page_goes_over_the_channel_but_not_to_the_host() -> None:
    ssd = cached_device(
        channel_bytes_per_s=1_000_000_000,
        link_bytes_per_s=4_096_000_000,
        read_command_ns=300,
        read_overhead_ns=7_000,
    )
    look_up_ns = 300 + READ_NS + 4096
    assert services(ssd, 0) == [look_up_ns + 300 + READ_NS + 4096 + 1000 + 7_000]


def test_the_page_used_least_recently_makes_room() -> None:
    ssd = cached_device(pages=2)
    first, second, third = (number * PAGE_REACH_BYTES for number in range(3))
    hits = [
        service == READ_NS
        for service in services(ssd, first, second, first, third, first, second, third)
    ]
    assert hits == [False, False, True, False, True, False, False]


def test_misses_of_the_same_page_share_one_read() -> None:
    ssd = cached_device()
    assert run(ssd, [(0, read(i * 4096)) for i in range(3)]) == [
        2 * READ_NS,
        3 * READ_NS,
        4 * READ_NS,
    ]
    statistics = ssd.statistics()
    assert (statistics["map_misses"], statistics["translation_reads"]) == (3, 1)


def test_a_read_over_two_pages_looks_both_up() -> None:
    ssd = cached_device()
    assert run(ssd, [(0, read(PAGE_REACH_BYTES - 4096, 8192))]) == [4 * READ_NS]


def test_translation_pages_are_read_from_the_dies_that_hold_them() -> None:
    """Two dies, and the map of the first unit on one and of the last on the other."""
    ssd = cached_device(pages=2, dies_per_chip=2, allocation="static")
    reads = [(0, read(0)), (0, read(SSD_BYTES - 4096))]
    assert run(ssd, reads) == [2 * READ_NS, 2 * READ_NS]
    one_die = cached_device(pages=2)
    assert run(one_die, reads) == [3 * READ_NS, 4 * READ_NS]


def test_changed_pages_are_written_back_when_they_must_go() -> None:
    ssd = cached_device()
    write_ns, *reads_ns = run(
        ssd,
        [(0, write(0)), (1_000_000, read(PAGE_REACH_BYTES)), (5_000_000, read(0))],
    )
    assert write_ns == READ_NS + PROGRAM_NS  # the die looks up first; the data were there
    assert reads_ns == [1_000_000 + 2 * READ_NS, 5_000_000 + 2 * READ_NS]
    statistics = ssd.statistics()
    assert statistics["translation_writes"] == 1
    assert statistics["write_amplification"] == 2.0
    check_translation(ssd)


def test_a_discard_changes_the_map_too() -> None:
    ssd = cached_device()
    run(ssd, [(0, read(0)), (1_000_000, discard(0, 4096)), (2_000_000, read(PAGE_REACH_BYTES))])
    assert ssd.statistics()["translation_writes"] == 1


def test_a_page_that_is_not_yet_programmed_is_read_from_the_buffer() -> None:
    """Four slots to a program: what is written back waits for company."""
    ssd = cached_device(page_bytes=16384, write_buffer_bytes=MIB)
    run(ssd, [(0, write(0)), (1_000_000, read(PAGE_REACH_BYTES))])
    before = ssd.statistics()
    assert before["translation_writes"] == 1
    (completion_ns,) = run(ssd, [(9_000_000, read(4096))])
    assert completion_ns - 9_000_000 == READ_NS
    after = ssd.statistics()
    assert after["translation_reads"] == before["translation_reads"]
    assert after["map_misses"] == before["map_misses"] + 1


def test_what_was_never_written_needs_no_look_up_on_flash() -> None:
    ssd = cached_device(precondition="fresh", link_bytes_per_s=4_096_000_000)
    assert services(ssd, 0, PAGE_REACH_BYTES) == [1_000, 1_000]


def random_reads(ssd: FlashDevice, span_bytes: int) -> float:
    """The mean latency of random reads, one at a time, once the cache is warm."""
    generator = np.random.Generator(np.random.PCG64(3))
    offsets = generator.integers(0, span_bytes // 4096, 4_000) * 4096
    loop = run_closed(ssd, Operation.READ, offsets, 4096, queue_depth=1)
    return float(loop.latencies_ns[1_000:].mean())


@pytest.mark.parametrize("shape", [{}, {"channels": 4, "allocation": "dynamic"}])
def test_random_reads_beyond_the_reach_of_the_cache_pay_for_it(shape: dict[str, Any]) -> None:
    """As on drives without DRAM: within the reach one read of the cells, else up to two."""
    reach_bytes = 8 * PAGE_REACH_BYTES
    within = random_reads(cached_device(pages=8, **shape), reach_bytes)
    beyond = random_reads(cached_device(pages=8, **shape), SSD_BYTES)
    whole_map = random_reads(device(SSD_BYTES, precondition="sequential", **shape), SSD_BYTES)
    assert within == whole_map == READ_NS
    assert beyond == pytest.approx(READ_NS * (1 + 1 - reach_bytes / SSD_BYTES), rel=0.03)


def test_random_writes_beyond_the_reach_amplify() -> None:
    """Nearly each write makes a page dirty, which is written back: about as much again."""
    amplification = {}
    for pages in (2, 16):
        ssd = cached_device(pages, over_provisioning=1.0)
        generator = np.random.Generator(np.random.PCG64(4))
        offsets = generator.integers(0, SSD_BYTES // 4096, 4_000) * 4096
        run_closed(ssd, Operation.WRITE, offsets, 4096, queue_depth=1)
        amplification[pages] = ssd.statistics()["write_amplification"]
        check_translation(ssd)
    assert amplification[16] == 1.0
    assert amplification[2] == pytest.approx(1 + 14 / 16, rel=0.03)
