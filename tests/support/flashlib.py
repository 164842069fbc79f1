# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the SSD model share: drives to test, ways to drive them, their innards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freezingtime.device.flash import FlashDevice, FlashParams
from freezingtime.device.flash.hardware import Array, Cells, Channel, Host
from freezingtime.device.flash.layout import NONE, Residence, Role
from freezingtime.device.flash.parameters import Translation, WriteBuffer, Zones
from freezingtime.device.flash.state import FlashState
from freezingtime.device.schema import keys_of
from freezingtime.request import Operation, Request


def changed(params: FlashParams, **values: Any) -> FlashParams:
    """The parameters with other values, whichever table they stand in."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        parts.setdefault(TABLE_OF[name], {})[name] = value
    whole = parts.pop("", {})
    for part, inside in parts.items():
        whole[part] = structs.replace(getattr(params, part) or Zones(zone_bytes=0), **inside)
    return structs.replace(params, **whole)


#: The table that each field of an SSD's parameters is in.
TABLE_OF = {"precondition": ""} | {
    declared.field_name: table.field_name
    for table in keys_of(FlashParams)
    if table.table is not None
    for declared in keys_of(table.table)
}
#: One channel with one die and no costs but those of the cells: what happens can be counted.
PLAIN = FlashParams(
    array=Array(channels=1, pages_per_block=32, page_bytes=4096),
    cells=Cells(read_ns=(50_000,), program_ns=(500_000,), erase_ns=3_000_000),
    channel=Channel(channel_bytes_per_s=10**15, read_command_ns=0, program_command_ns=0),
    host=Host(link_bytes_per_s=10**15),
    write_buffer=WriteBuffer(buffer_bytes_per_s=10**15),
    mapping=Translation(over_provisioning=0.28),
)
MIB = 1 << 20


def device(size_bytes: int = MIB, seed: int = 1, **changes: Any) -> FlashDevice:
    """PLAIN with changes."""
    return FlashDevice(changed(PLAIN, **changes), seed, size_bytes)


def read(offset_bytes: int, length_bytes: int = 4096) -> Request:
    return Request(Operation.READ, offset_bytes, length_bytes)


def write(offset_bytes: int, length_bytes: int = 4096, *, fua: bool = False) -> Request:
    return Request(Operation.WRITE, offset_bytes, length_bytes, bytes(length_bytes), fua=fua)


def flush() -> Request:
    return Request(Operation.FLUSH, 0, 0)


def discard(offset_bytes: int, length_bytes: int) -> Request:
    return Request(Operation.DISCARD, offset_bytes, length_bytes)


def run(
    ssd: FlashDevice,
    trace: Sequence[tuple[int, Request]],
    on_completion: Callable[[int, Request], None] = lambda _time_ns, _request: None,
) -> list[int]:
    """Submit (arrival, request) in order; the completion time of each, in the same order."""
    completions: dict[int, int] = {}

    def advance_until(limit_ns: int | None) -> None:
        while (event_ns := ssd.next_event_ns()) is not None:
            if limit_ns is not None and event_ns > limit_ns:
                break
            for request in ssd.advance(event_ns):
                assert id(request) not in completions, "completed twice"
                completions[id(request)] = event_ns
                on_completion(event_ns, request)

    for arrival_ns, request in trace:
        advance_until(arrival_ns)
        ssd.submit(request, arrival_ns)
    advance_until(None)
    return [completions[id(request)] for _, request in trace]


@dataclass(frozen=True)
class ClosedLoop:
    """What a closed loop saw: response times, and when the last request completed."""

    latencies_ns: NDArray[np.float64]
    end_ns: int


def run_closed(
    ssd: FlashDevice,
    operation: Operation,
    offsets_bytes: NDArray[np.int64],
    length_bytes: int,
    queue_depth: int,
) -> ClosedLoop:
    """Keep ``queue_depth`` requests outstanding."""
    latencies_ns = np.zeros(offsets_bytes.size)
    offsets = iter(enumerate(offsets_bytes.tolist()))
    arrivals: dict[int, tuple[int, int]] = {}
    now_ns = 0

    def submit_next() -> None:
        for number, offset_bytes in offsets:
            request = Request(operation, offset_bytes, length_bytes, cookie=number)
            arrivals[number] = (now_ns, number)
            ssd.submit(request, now_ns)
            break

    for _ in range(queue_depth):
        submit_next()
    while (event_ns := ssd.next_event_ns()) is not None:
        now_ns = event_ns
        for request in ssd.advance(now_ns):
            latencies_ns[request.cookie] = now_ns - arrivals.pop(request.cookie)[0]
            submit_next()
    assert not arrivals
    return ClosedLoop(latencies_ns, now_ns)


def state_of(ssd: FlashDevice) -> FlashState:
    return ssd._state


def handle_of(ssd: FlashDevice) -> int:
    """What the kernels call the drive by."""
    return ssd._handle


def is_stable(ssd: FlashDevice, unit: int) -> bool:
    """Whether the unit's newest data, or the copy that they were moved from, are in the cells."""
    state = state_of(ssd)
    slot = int(state.slot_of_unit[unit]) - 1
    if slot < 0:
        return True
    block_id, place = divmod(slot, int(state.config["slots_per_block"][0]))
    block = state.blocks[block_id]
    return bool(block["moved"]) or place < int(block["programmed"])


def check_translation(ssd: FlashDevice) -> None:
    """The map is one to one, all counts are right, nothing is lost."""
    state = state_of(ssd)
    mapped = np.flatnonzero(state.slot_of_unit)
    slots = state.slot_of_unit[mapped] - 1
    assert np.unique(slots).size == slots.size, "two units share a slot"
    assert np.array_equal(state.unit_of_slot[slots] - 1, mapped)
    assert np.count_nonzero(state.unit_of_slot) == mapped.size
    slots_per_block = int(state.config["slots_per_block"][0])
    valid = np.bincount(slots // slots_per_block, minlength=state.blocks.size)
    assert np.array_equal(valid, state.blocks["valid"])
    by_lane = valid.reshape(state.lanes.size, -1)
    assert np.array_equal(by_lane.sum(axis=1), state.lanes["valid"])
    assert np.all(valid <= slots_per_block)
    map_size = ssd.geometry.units + ssd.geometry.translation_pages
    if ssd.geometry.zones:  # there may be addresses beyond what a zone holds
        unit_bytes = int(state.config["unit_bytes"][0])
        capacity_bytes = int(state.config["zone_capacity_bytes"][0])
        map_size = ssd.geometry.zones * (capacity_bytes // unit_bytes)
    assert mapped.size <= map_size <= ssd.geometry.slots
    roles = state.blocks["role"].reshape(state.lanes.size, -1)
    assert np.array_equal((roles == Role.FREE).sum(axis=1), state.lanes["free_count"])
    assert not np.any(valid[state.blocks["role"] == Role.FREE])
    assert np.all((roles == Role.HOST).sum(axis=1) <= 1)
    assert np.all((roles == Role.GC).sum(axis=1) <= 2)  # moved data, and cold ones apart
    for records, count, limit in (
        (state.queue, "staged_units", "staging_units"),
        (state.ftl, "cached_pages", "cached_pages_max"),
        (state.ftl, "translation_jobs", "translation_jobs_max"),
    ):
        assert 0 <= int(records[count][0]) <= int(state.config[limit][0])
    translations = state.translations
    cached = translations["residence"] == Residence.CACHED
    assert np.count_nonzero(cached) == state.ftl["cached_pages"][0]
    assert np.all(translations["wait_head"] == NONE), "idle, and a read waits for the map"
    by_age, page = [], int(state.ftl["newest_page"][0])
    while page != NONE:
        by_age.append(page)
        page = int(translations["older"][page])
    assert sorted(by_age) == np.flatnonzero(cached).tolist()
