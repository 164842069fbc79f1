# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics of an SSD."""

from __future__ import annotations

import numpy as np

from freezingtime.device.flash.layout import ServerPhase
from freezingtime.device.flash.state import FlashState


def statistics(state: FlashState) -> dict[str, float]:
    """Counts since the SSD was made, preconditioning left out.

    ``write_amplification`` is bytes programmed, moved ones and padding included, over bytes
    that the host wrote (0 if it wrote none). ``die_utilisation`` and ``channel_utilisation``
    are shares of the time from 0 to the last event, as means over all dies (or what the
    scheduler takes for one) and channels; a transfer that has begun counts as a whole. Units
    are mapping units. ``wear`` counts erases of a block; ``wear_moves`` counts blocks whose data
    were moved to level it. ``map_hits`` and ``map_misses`` are look-ups in the mapping cache, one
    for each request and translation page; ``translation_reads`` and ``translation_writes`` count
    those pages themselves. ``preconditioned_units`` is what was mapped at time 0, and
    ``discarded_units`` what discards have unmapped, of that or of what was written later.
    """
    counters = {name: int(state.counters[name][0]) for name in state.counters.dtype.names}
    unit_bytes = int(state.config["unit_bytes"][0])
    programmed_bytes = (counters["programmed_slots"] + counters["moved_slots"]) * unit_bytes
    erases = state.blocks["erases"]
    now_ns = max(int(state.queue["now_ns"][0]), 1)
    return {
        "write_amplification": programmed_bytes / max(counters["host_bytes"], 1),
        "host_written_bytes": counters["host_bytes"],
        "programmed_bytes": programmed_bytes,
        "gc_collections": counters["collections"],
        "gc_idle_collections": counters["idle_collections"],
        "gc_moved_units": counters["moved_units"],
        "wear_moves": counters["wear_moves"],
        "zone_resets": counters["zone_resets"],
        "open_zones": int(state.ftl["open_zones"][0]),
        "slc_folds": counters["folds"],
        "slc_blocks": int(state.lanes["slc_blocks"].sum()),
        "erases": counters["erases"],
        "old_data_reads": counters["old_reads"],
        "buffer_read_hits": counters["buffer_hits"],
        "buffer_coalesced_units": counters["coalesced_units"],
        "suspensions": counters["suspensions"],
        "map_hits": counters["translation_hits"],
        "map_misses": counters["translation_misses"],
        "translation_reads": counters["translation_reads"],
        "translation_writes": counters["translation_writes"],
        "mapped_units": mapped_units(state),
        "preconditioned_units": int(state.ftl["preconditioned_units"][0]),
        "discarded_units": counters["discarded_units"],
        "free_blocks": int(state.lanes["free_count"].sum()),
        "die_utilisation": _busy_ns(state, now_ns) / state.servers.size / now_ns,
        "channel_utilisation": float(state.channels["busy_ns"].mean()) / now_ns,
        "wear_min": int(erases.min()),
        "wear_mean": float(erases.mean()),
        "wear_max": int(erases.max()),
    }


def mapped_units(state: FlashState) -> int:
    """The host's units that are mapped; translation pages are none."""
    first_page = int(state.config["host_units"][0])
    pages = np.count_nonzero(state.slot_of_unit[first_page:])
    return int(state.lanes["valid"].sum() - pages)


def _busy_ns(state: FlashState, now_ns: int) -> int:
    servers = state.servers
    at_work = servers["phase"] != ServerPhase.IDLE
    begun_ns = now_ns - servers["busy_since_ns"][at_work]
    return int(servers["busy_ns"].sum() + begun_ns.sum())
