# SPDX-License-Identifier: GPL-2.0-or-later
"""Shingled disks: the persistent cache, its cliff, cleaning, streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.disk import DiskDevice, DiskParams
from freezingtime.device.disk.state import new_state
from freezingtime.errors import InputError
from freezingtime.request import Operation, Request
from tests.support.disklib import (
    BLOCK_BYTES,
    TURN_NS,
    closed_loop,
    drive,
    iops,
    lba_at,
    random_offsets,
)

MIB = 1 << 20
BAND_BYTES = 32 * MIB
MAP_ENTRIES = 1000
#: The outermost 13 GB of the drive, its first zone, and the rate there.
SPREAD_BYTES = 400 * BAND_BYTES
OUTER_RATE = 205e6
OVERHEAD_NS = 50_000
IDLE_NS = 1_000_000_000
#: Read the band, write it beside the cache, write it.
BAND_CLEANING_NS = 3 * BAND_BYTES / OUTER_RATE * 1e9

SMR = f"""
[smr]
band = "32MiB"
cache = "1GiB"
map_entries = {MAP_ENTRIES}
"""


def shingled(more: str = "") -> DiskParams:
    return drive(SMR + more)


def run_alone(device: DiskDevice, request: Request, now_ns: int) -> int:
    """When a request that has the drive to itself completes."""
    device.submit(request, now_ns)
    while True:
        event_ns = device.next_event_ns()
        assert event_ns is not None
        if device.advance(event_ns):
            return event_ns


def run_idle(device: DiskDevice) -> int:
    """Let the drive do what it does by itself; returns when it is done."""
    last_ns = 0
    while (event_ns := device.next_event_ns()) is not None:
        assert event_ns >= last_ns
        assert device.advance(event_ns) == []
        last_ns = event_ns
    return last_ns


def read(offset_bytes: int, length_bytes: int = BLOCK_BYTES) -> Request:
    return Request(Operation.READ, offset_bytes, length_bytes)


def write(offset_bytes: int, length_bytes: int = BLOCK_BYTES, *, fua: bool = False) -> Request:
    return Request(Operation.WRITE, offset_bytes, length_bytes, fua=fua)


FLUSH = Request(Operation.FLUSH, 0, 0)


def write_at_random(
    device: DiskDevice, count: int, start_ns: int = 0, seed: int = 1
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Completion times of random writes of 4 KiB, 32 at a time, over 400 bands."""
    return device.complete_closed(
        32,
        np.full(count, int(Operation.WRITE), np.int64),
        random_offsets(count, SPREAD_BYTES, seed),
        np.full(count, BLOCK_BYTES, np.int64),
        start_ns,
    )[1]


def test_random_writes_fall_off_a_cliff_when_the_cache_is_full() -> None:
    device = DiskDevice(shingled(), seed=1)
    times_ns = write_at_random(device, 1600)
    # An append empties the write buffer of 128 extents; the next one, a turn later, finds the 32
    # of the queue, that after it the 96 that came meanwhile: 64 a turn.
    before_hz = 600 / ((times_ns[850] - times_ns[250]) / 1e9)
    assert before_hz == pytest.approx(64 / (TURN_NS / 1e9), rel=0.05)
    # Then each write waits until the band of the oldest is cleaned: with 1,000 writes on 400
    # bands, 2 or 3 of them are in it.
    after_ns = times_ns[-1] - times_ns[1200]
    after_hz = 399 / (after_ns / 1e9)
    assert 1.0 / (BAND_CLEANING_NS / 1e9) < after_hz < 3.5 / (BAND_CLEANING_NS / 1e9)
    assert before_hz > 1000 * after_hz
    # Each band takes three transfers, and seeks between bands and cache besides.
    full_ns = times_ns[MAP_ENTRIES + 130]
    per_band_ns = (times_ns[-1] - full_ns) / device.statistics()["bands_cleaned"]
    assert BAND_CLEANING_NS < per_band_ns < 1.2 * BAND_CLEANING_NS


def test_idle_time_cleans_and_the_next_burst_is_fast_again() -> None:
    device = DiskDevice(shingled(), seed=1)
    fast_ns = int(write_at_random(device, 900)[-1])
    write_at_random(device, 300, fast_ns, seed=2)
    clean_ns = run_idle(device)
    assert device.statistics()["bands_cleaned"] >= 380
    again_ns = write_at_random(device, 900, clean_ns, seed=3)
    assert int(again_ns[-1]) - clean_ns == pytest.approx(fast_ns, rel=0.3)


def test_without_idle_time_nothing_is_cleaned() -> None:
    device = DiskDevice(shingled(), seed=1)
    now_ns = 0
    for offset_bytes in random_offsets(20, SPREAD_BYTES).tolist():
        now_ns = run_alone(device, write(offset_bytes), now_ns) + IDLE_NS // 2
    assert device.statistics()["bands_cleaned"] == 0
    assert device.statistics()["sectors_cached"] >= 19


def test_cleaning_begins_after_the_idle_time_and_takes_three_transfers_of_the_band() -> None:
    device = DiskDevice(shingled(), seed=1)
    run_alone(device, write(5 * BAND_BYTES), 0)
    flushed_ns = run_alone(device, FLUSH, 1)
    assert device.next_event_ns() == flushed_ns + IDLE_NS
    cleaning_ns = run_idle(device) - flushed_ns - IDLE_NS
    assert BAND_CLEANING_NS < cleaning_ns < 1.15 * BAND_CLEANING_NS
    assert device.statistics()["bands_cleaned"] == 1
    assert device.next_event_ns() is None


def test_without_a_safe_copy_cleaning_takes_two_transfers() -> None:
    device = DiskDevice(shingled("safe_copy = false\n"), seed=1)
    flushed_ns = max(run_alone(device, write(0), 0), run_alone(device, FLUSH, 1))
    cleaning_ns = run_idle(device) - flushed_ns - IDLE_NS
    assert cleaning_ns == pytest.approx(BAND_CLEANING_NS * 2 / 3, rel=0.15)


def test_a_command_waits_for_one_step_of_cleaning_only() -> None:
    device = DiskDevice(shingled(), seed=1)
    run_alone(device, write(5 * BAND_BYTES), 0)
    begin_ns = run_alone(device, FLUSH, 1) + IDLE_NS
    now_ns = begin_ns + int(BAND_CLEANING_NS / 2)
    while (event_ns := device.next_event_ns()) is not None and event_ns < now_ns:
        device.advance(event_ns)
    service_ns = run_alone(device, read(SPREAD_BYTES), now_ns) - now_ns
    step_ns = MIB / OUTER_RATE * 1e9
    assert service_ns < OVERHEAD_NS + step_ns + 18_000_000 + TURN_NS
    assert device.statistics()["bands_cleaned"] == 0
    run_idle(device)
    assert device.statistics()["bands_cleaned"] == 1


def test_what_is_cached_is_read_from_the_cache_until_it_is_cleaned() -> None:
    """The cache is on the outermost tracks, the band on the innermost: a full stroke away."""
    params = shingled()
    offset_bytes = params.capacity_bytes // BLOCK_BYTES * BLOCK_BYTES - 100 * BLOCK_BYTES
    device = DiskDevice(params, seed=1)
    other_bytes = offset_bytes + 50 * BLOCK_BYTES
    run_alone(device, write(offset_bytes), 0)
    run_alone(device, write(other_bytes), 1)
    now_ns = run_alone(device, FLUSH, 2)
    near_ns = run_alone(device, read(offset_bytes), now_ns) - now_ns
    assert near_ns < OVERHEAD_NS + TURN_NS + 1_000_000
    clean_ns = run_alone(device, read(0), run_idle(device))  # the arm is outside again
    far_ns = run_alone(device, read(other_bytes), clean_ns) - clean_ns
    assert far_ns > 17_000_000


def test_a_read_of_which_a_part_is_cached_takes_the_arm_there_and_back() -> None:
    params = shingled()
    offset_bytes = params.capacity_bytes // BLOCK_BYTES * BLOCK_BYTES - 100 * BLOCK_BYTES
    device = DiskDevice(params, seed=1)
    run_alone(device, write(offset_bytes), 0)
    now_ns = run_alone(device, FLUSH, 1)
    before = device.statistics()["media_operations"]
    split = read(offset_bytes - BLOCK_BYTES, 3 * BLOCK_BYTES)
    service_ns = run_alone(device, split, now_ns) - now_ns
    assert device.statistics()["media_operations"] - before == 3
    assert service_ns > 3 * 17_000_000


def test_streams_go_past_the_cache() -> None:
    device = DiskDevice(shingled(), seed=1)
    block_bytes = 128 << 10
    count = 12 * BAND_BYTES // block_bytes
    offsets_bytes = np.arange(count, dtype=np.int64) * block_bytes
    _, completions_ns = closed_loop(
        device, offsets_bytes, depth=8, operation=Operation.WRITE, length_bytes=block_bytes
    )
    run_alone(device, FLUSH, int(completions_ns[-1]))
    statistics = device.statistics()
    # The first band goes to the cache: a stream must show itself first.
    assert statistics["sectors_cached"] == BAND_BYTES // BLOCK_BYTES
    assert statistics["sectors_streamed"] == 11 * BAND_BYTES // BLOCK_BYTES
    rate = iops(completions_ns) * block_bytes
    assert rate == pytest.approx(OUTER_RATE, rel=0.15)
    run_idle(device)
    assert device.statistics()["bands_cleaned"] == 1


def test_a_stream_that_stops_inside_a_band_leaves_it_to_be_cleaned() -> None:
    device = DiskDevice(shingled(), seed=1)
    offsets_bytes = np.arange(40, dtype=np.int64) * MIB
    closed_loop(device, offsets_bytes, operation=Operation.WRITE, length_bytes=MIB)
    run_idle(device)
    statistics = device.statistics()
    assert statistics["sectors_streamed"] == 8 * MIB // BLOCK_BYTES
    assert statistics["bands_cleaned"] == 2


def test_a_large_write_without_write_cache_goes_by_bands() -> None:
    device = DiskDevice(drive("write_cache = false\n" + SMR), seed=1)
    run_alone(device, write(BAND_BYTES - MIB, BAND_BYTES + 2 * MIB), 0)
    statistics = device.statistics()
    assert statistics["media_operations"] == 3
    assert statistics["sectors_cached"] == MIB // BLOCK_BYTES
    assert statistics["sectors_streamed"] == (BAND_BYTES + MIB) // BLOCK_BYTES


def test_fua_is_on_the_platters_after_one_append() -> None:
    device = DiskDevice(shingled(), seed=1)
    run_alone(device, write(0), 0)
    now_ns = run_alone(device, FLUSH, 1)
    service_ns = run_alone(device, write(SPREAD_BYTES, fua=True), now_ns) - now_ns
    assert TURN_NS / 2 < service_ns < TURN_NS + 2_000_000


def test_reads_are_not_starved_by_writes_that_wait_for_cleaning() -> None:
    device = DiskDevice(shingled('cache_place = "middle"\n'), seed=1)
    now_ns = int(write_at_random(device, 1600)[-1])
    for number, offset_bytes in enumerate(random_offsets(64, SPREAD_BYTES, 5).tolist()):
        device.submit(write(offset_bytes), now_ns + number)
    service_ns = run_until(device, read(SPREAD_BYTES), now_ns + 100)
    # What came before it waits for a band each at most.
    assert service_ns < 64 * 1.2 * BAND_CLEANING_NS


def run_until(device: DiskDevice, request: Request, now_ns: int) -> int:
    """The service time of a request among others."""
    device.submit(request, now_ns)
    while True:
        event_ns = device.next_event_ns()
        assert event_ns is not None
        if request in device.advance(event_ns):
            return event_ns - now_ns


def test_bands_cache_and_safe_copy_do_not_overlap() -> None:
    from freezingtime.device.disk.kernels import mechanics

    for place in ("outer", "middle", "inner"):
        params = shingled(f'cache_place = "{place}"\n')
        disk = new_state(params, seed=1)
        assert params.shingles is not None
        persistent = params.shingles.persistent_bytes // BLOCK_BYTES
        total = params.logical_sectors + persistent
        middle = params.logical_sectors // 2 // 8192 * 8192
        corners = {0, 1, middle - 1, middle, params.logical_sectors - 1, params.logical_sectors}
        seen = {}
        for lba in sorted({*corners, total - 1}):
            cylinder, head = mechanics.track_of(disk, lba)
            mechanics.place(disk, disk.slots[0], lba)
            slot = disk.slots[0]
            at = lba_at(params.geometry, int(cylinder), int(head), int(slot["angle"]))
            assert at not in seen.values()
            assert 0 <= at < total
            seen[lba] = at
        first = {"outer": 0, "middle": middle, "inner": params.logical_sectors}[place]
        assert seen[params.logical_sectors] == first


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), min_size=1, max_size=60
    )
)
def test_the_map_finds_the_newest_place_of_every_sector(
    steps: list[tuple[int, int, bool]],
) -> None:
    """Against a dictionary from sector to address, around the first two bands' border."""
    from freezingtime.device.disk.kernels import shingle_map

    disk = new_state(drive('[smr]\nband = "4MiB"\ncache = "8MiB"\nmap_entries = 64\n'), 1)
    newest: dict[int, int] = {}
    for step, length, cleans in steps:
        lba = 1000 + step
        sectors = min(length, 1024 - lba % 1024)
        place = shingle_map.take_log(disk, sectors)
        address = shingle_map.log_address(disk, place)
        shingle_map.insert(disk, lba, sectors, address, place)
        newest |= {lba + n: address + n for n in range(sectors)}
        if cleans:
            band_lba = lba - lba % 1024
            limit = int(disk.core["shingles"]["head"][0])
            shingle_map.forget(disk, band_lba, band_lba + 1024, limit)
            newest = {s: a for s, a in newest.items() if s // 1024 != lba // 1024}
        for sector in range(990, 1090):
            found, count = shingle_map.locate(disk, sector, 1090 - sector)
            assert count >= 1
            for number in range(count):
                assert found + number == newest.get(sector + number, sector + number)
    shingles = disk.core["shingles"][0]
    assert (shingles["tail"] == shingles["head"]) == (not newest)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('band = "0"', "smr.band = '0': must be at least 4MiB"),
        ('band = "5000000B"', "smr.band = '5000000B': must be a multiple of the sector, 4096"),
        ('cache = "1MiB"', "smr.cache = '1MiB': must be at least two bands, 62914560 bytes"),
        ("map_entries = 3", "smr.map_entries = 3: must be a whole number from 16 to 16777216"),
        ('cache_place = "moon"', "smr.cache_place = 'moon': must be one of: inner, middle, outer"),
        ("clean_idle = 1", "smr.clean_idle = 1: must be a time such as"),
        ('clean_unit = "1B"', "smr.clean_unit = '1B': must be a multiple of the sector, 4096"),
        ('stream = "0"', "smr.stream = '0': must be at least 1"),
        ("safe_copy = 1", "smr.safe_copy = 1: must be true or false"),
        (
            "bands = 1",
            "smr.bands: unknown key; did you mean band? allowed: band, cache,",
        ),
    ],
)
def test_mistakes_are_named(table: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        drive(f"[smr]\n{table}\n")
    assert str(caught.value).startswith("drive.toml: smr.")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_smr_must_be_a_table() -> None:
    with pytest.raises(InputError, match=r"drive\.toml: smr = True: must be a table: \[smr\]"):
        drive("smr = true\n")
