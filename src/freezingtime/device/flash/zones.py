# SPDX-License-Identifier: GPL-2.0-or-later
"""Zones: an SSD that is written in order, zone by zone, and has no garbage collection.

The rules of the NVM Express Zoned Namespace Command Set Specification, as far as they show
behind a disk without zone commands::

    [parameters.zones]
    size = "64MiB"
    capacity = "48MiB"             # what of it can be written; all if missing
    open_limit = 14                # zones that may be partly written at once
    active_limit = 14              # the same: whatever is open is active, and the other way
    planes = 4                     # over how many dies or planes a zone lies; all if missing

A write begins at its zone's write pointer, or at the zone's beginning, which resets the zone
first; so does a discard of the whole zone. A discard of part of a zone does nothing. A zone is
open from its first write until it is full or reset. Anything else is refused.
"""

from __future__ import annotations

from freezingtime.device.flash.layout import Refusal
from freezingtime.device.flash.state import FlashState
from freezingtime.errors import RefusalError


def refused(state: FlashState, offset_bytes: int, length_bytes: int) -> RefusalError:
    """The error for the write that has just been refused."""
    zone_bytes = int(state.config["zone_bytes"][0])
    number = offset_bytes // zone_bytes
    start_bytes = number * zone_bytes
    pointer_bytes = start_bytes + int(state.zones["accepted_bytes"][number])
    end_bytes = start_bytes + int(state.config["zone_capacity_bytes"][0])
    if pointer_bytes == start_bytes:
        where = f"it is empty; write from {start_bytes} on"
    elif pointer_bytes == end_bytes:
        where = f"it is full; write from {start_bytes} on, which resets it"
    else:
        where = (
            f"its write pointer is at {pointer_bytes}; write there, or from {start_bytes} on, "
            "which resets it"
        )
    why = {
        Refusal.POINTER: where,
        Refusal.CAPACITY: f"it exceeds the zone's capacity, which ends at {end_bytes}",
        Refusal.OPEN_ZONES: f"{int(state.ftl['open_zones'][0])} zones are open, and no more "
        "may be; fill one, or reset it by a discard of all of it",
    }[Refusal(int(state.queue["refusal"][0]))]
    return RefusalError(
        f"zone {number} refuses a write of {length_bytes} bytes at {offset_bytes}: {why}"
    )
