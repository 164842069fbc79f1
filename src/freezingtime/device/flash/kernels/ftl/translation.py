# SPDX-License-Identifier: GPL-2.0-or-later
"""Translation pages: look-ups in the mapping cache, and what a miss costs. Compiled.

A part of the map is cached, the rest is on flash, as in DFTL (Gupta, Kim and Urgaonkar, "DFTL:
A Flash Translation Layer Employing Demand-based Selective Caching of Page-level Address
Mappings", ASPLOS 2009), but by whole translation pages. These are mapping units like any other
and lie among the host's data: they follow the host's units in the map, are programmed together
with them and moved by garbage collection.

A **job** is a translation page on its way: read, or written back. Who may cause one takes it
before, so that there are never more than commands for them.
"""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.kernels.command import release_command, take_read_command
from freezingtime.device.flash.kernels.ftl.ftl import place
from freezingtime.device.flash.kernels.ftl.map import is_buffered, open_slot_of, slot_of
from freezingtime.device.flash.kernels.ftl.translation_cache import insert, remove_oldest, use
from freezingtime.device.flash.kernels.program import program
from freezingtime.device.flash.kernels.server import enqueue_read
from freezingtime.device.flash.layout import NONE, Residence


@inner
def page_end_bytes(ssd: int, offset_bytes: int) -> int:
    """Return the end of the range mapped by the same translation page as an offset."""
    config = memory.config(ssd)
    page_bytes = config.translation_entries * config.unit_bytes
    return int((offset_bytes // page_bytes + 1) * page_bytes)


@inner
def take_job(ssd: int) -> bool:
    """Whether another translation page may be on its way; if so, it counts from now on."""
    ftl = memory.ftl(ssd)
    if ftl.translation_jobs == memory.config(ssd).translation_jobs_max:
        return False
    ftl.translation_jobs += 1
    return True


@inner
def look_up_to_read(ssd: int, request_id: int, page_id: int, now_ns: int) -> bool:
    """Whether the page is here; if not, the request waits for it. A job must be taken."""
    page = memory.translations(ssd)[page_id]
    requests = memory.requests(ssd)
    request = requests[request_id]
    request.translation_page = page_id
    if _is_here(ssd, page_id, now_ns):
        return True
    request.next = NONE
    request.waiting_since_ns = now_ns
    if page.wait_head == NONE:
        page.wait_head = request_id
    else:
        requests[page.wait_tail].next = request_id
    page.wait_tail = request_id
    return False


@inner
def look_up_to_write(ssd: int, page_id: int, now_ns: int) -> None:
    """Change the page, at once or as soon as it is here. A job must be taken."""
    _is_here(ssd, page_id, now_ns)
    memory.translations(ssd)[page_id].dirty = 1


@inner
def translation_read(ssd: int, command_id: int, now_ns: int) -> int:
    """A translation page is here: returns the first of the requests that wait for it, or NONE."""
    page_id = memory.commands(ssd)[command_id].translation_page
    release_command(ssd, command_id)
    _admit(ssd, page_id, now_ns)
    page = memory.translations(ssd)[page_id]
    request_id = page.wait_head
    page.wait_head = NONE
    return int(request_id)


@inner
def _is_here(ssd: int, page_id: int, now_ns: int) -> bool:
    """Look a page up; the job that was taken is given back if it is not needed."""
    ftl = memory.ftl(ssd)
    counters = memory.counters(ssd)
    page = memory.translations(ssd)[page_id]
    if page.residence == Residence.CACHED:
        counters.translation_hits += 1
        ftl.translation_jobs -= 1
        use(ssd, page_id)
        return True
    counters.translation_misses += 1
    if page.residence == Residence.LOADING:
        ftl.translation_jobs -= 1
    else:
        _load(ssd, page_id, now_ns)
    return bool(page.residence == Residence.CACHED)


@inner
def _load(ssd: int, page_id: int, now_ns: int) -> None:
    """Read a page; what was never written, or is not yet in the cells, is here at once."""
    config = memory.config(ssd)
    slot = slot_of(ssd, config.host_units + page_id)
    if slot == NONE or is_buffered(ssd, slot):
        _admit(ssd, page_id, now_ns)
        return
    memory.translations(ssd)[page_id].residence = Residence.LOADING
    memory.counters(ssd).translation_reads += 1
    command_id = take_read_command(ssd, slot, config.unit_bytes, True)
    memory.commands(ssd)[command_id].translation_page = page_id
    enqueue_read(ssd, command_id, now_ns)


@inner
def _admit(ssd: int, page_id: int, now_ns: int) -> None:
    """Put a page into the cache, in the place of the oldest if need be."""
    ftl = memory.ftl(ssd)
    written_back = False
    if ftl.cached_pages == memory.config(ssd).cached_pages_max:
        oldest_id = remove_oldest(ssd)
        oldest = memory.translations(ssd)[oldest_id]
        if oldest.dirty:
            oldest.dirty = 0
            written_back = _write_back(ssd, oldest_id, now_ns)
    if not written_back:
        ftl.translation_jobs -= 1
    insert(ssd, page_id)


@inner
def _write_back(ssd: int, page_id: int, now_ns: int) -> bool:
    """Write a page; false if its former version has yet to be programmed, and takes it in."""
    config = memory.config(ssd)
    unit = config.host_units + page_id
    slot = slot_of(ssd, unit)
    if slot != NONE and open_slot_of(ssd, slot) != NONE:
        return False
    lane_id = place(ssd, unit)
    memory.counters(ssd).translation_writes += 1
    memory.open_slots(ssd)[open_slot_of(ssd, slot_of(ssd, unit))].old_on_flash = 0
    lane = memory.lanes(ssd)[lane_id]
    lane.open_translations += 1
    if lane.host_slot - lane.host_open == lane.host_program:
        program(ssd, lane_id, now_ns)
    return True
