# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSD's state as plain data; what is loaded is checked, as compiled code does not look."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from freezingtime.device.flash.layout import (
    NONE,
    EventKind,
    ReadPhase,
    Residence,
    Role,
    ServerPhase,
)
from freezingtime.device.flash.state import FlashState
from freezingtime.device.kept.arrays import loaded_array, require_chains, require_range
from freezingtime.device.kept.state import State, entry, require
from freezingtime.request import Operation

#: What is described, and what counts from where a device goes on.
_NOT_KEPT = ("config", "counters")
#: As blocks count their age in what the host has written, this counter is put into them.
_AGE = "host_units"
#: Fields with the number of an element of another part, or NONE.
_PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "blocks": {
        "blocks": ("next",),
        "lanes": ("free_head", "free_tail", "host_block", "gc_block", "cold_block"),
        "commands": ("block",),
    },
    "commands": {
        "commands": ("next",),
        "servers": ("job_head", "job_tail", "job"),
        "readers": ("head", "tail", "read"),
        "queue": ("free_command",),
    },
    "requests": {
        "requests": ("next",),
        "commands": ("request",),
        "lanes": ("through",),
        "pieces": ("request",),
        "epochs": ("request",),
        "queue": (
            *("free_request", "command_head", "command_tail"),
            *("write_head", "write_tail", "read_wait_head", "read_wait_tail"),
        ),
        "translations": ("wait_head", "wait_tail"),
    },
    "lanes": {"commands": ("lane",), "ftl": ("stripe_lane",)},
    "readers": {"commands": ("reader",)},
    "translations": {
        "translations": ("newer", "older"),
        "commands": ("translation_page",),
        "requests": ("translation_page",),
        "ftl": ("newest_page", "oldest_page"),
    },
}
#: What begins lists, whose elements are linked by ``next``.
_LISTS: dict[str, dict[str, tuple[str, ...]]] = {
    "blocks": {"lanes": ("free_head",)},
    "commands": {"servers": ("job_head",), "readers": ("head",), "queue": ("free_command",)},
    "requests": {
        "queue": ("free_request", "command_head", "write_head", "read_wait_head"),
        "translations": ("wait_head",),
    },
}
#: How many elements of another part are in use.
_FILLED = {
    "pieces": ("pieces",),
    "events": ("events",),
    "done": ("done",),
    "requests": ("outstanding",),
    "commands": ("free_commands", "programs"),
}
_WORDS: dict[tuple[str, str], type[IntEnum]] = {
    ("blocks", "role"): Role,
    ("servers", "phase"): ServerPhase,
    ("servers", "suspended_phase"): ServerPhase,
    ("readers", "phase"): ReadPhase,
    ("translations", "residence"): Residence,
    ("events", "kind"): EventKind,
    ("requests", "operation"): Operation,
}
#: Which never change: what an element is part of.
_FIXED = {"lanes": ("server", "reader", "channel"), "readers": ("server",)}
_SLOTS_OF_LANE = ("host_slot", "host_open", "host_end", "gc_slot", "cold_slot")


def flash_state(ssd: FlashState) -> State:
    """Return what has become of an SSD; what it counts is not part of it."""
    arrays = {name: getattr(ssd, name) for name in ssd._fields if name not in _NOT_KEPT}
    return {**arrays, "age_units": int(ssd.counters[_AGE][0])}


def load_flash(ssd: FlashState, state: State) -> FlashState:
    """Return the SSD with the arrays of a state in place of its own; its counters start at 0.

    Raises:
        StateError: it is none of such an SSD.
    """
    arrays = {
        name: loaded_array(entry(state, name), getattr(ssd, name), name)
        for name in ssd._fields
        if name not in _NOT_KEPT and getattr(ssd, name).size
    }
    loaded = ssd._replace(**arrays)
    age_units = np.array([entry(state, "age_units")])
    require_range(age_units, "the age")
    _require_maps(loaded)
    _require_places(loaded)
    _require_lists(loaded)
    _require_fixed(ssd, loaded)
    # The least that is 0 or a block's age in what is now written from 0 on.
    loaded.blocks["closed_at"] -= age_units[0]
    ssd.counters[:] = 0
    return loaded


def _require_maps(ssd: FlashState) -> None:
    config = ssd.config[0]
    require_range(ssd.slot_of_unit, "the map", 0, ssd.unit_of_slot.size)
    require_range(ssd.unit_of_slot, "the map", 0, int(config["units"]))
    require_range(ssd.chunks[:1], "the chunks", 0, max(0, ssd.chunks.size - 1))
    require_range(ssd.chunks[1:], "the chunks", 0, int(ssd.chunks[:1].sum()))
    slots_per_block, per_program = int(config["slots_per_block"]), int(config["slots_per_program"])
    lanes = ssd.lanes
    for name in _SLOTS_OF_LANE:
        require_range(lanes[name], f"lanes.{name}", 0, slots_per_block)
    require_range(lanes["host_program"], "lanes.host_program", 0, per_program)
    require_range(lanes["host_slot"] - lanes["host_open"], "an open slot", 0, per_program)
    require_range(ssd.blocks["valid"], "blocks.valid", 0, slots_per_block)
    require_range(ssd.blocks["programmed"], "blocks.programmed", 0, slots_per_block)
    bytes_most = int(config["units"]) * int(config["unit_bytes"])
    for name in ("requests", "pieces"):
        for field in ("begin", "end"):
            require_range(getattr(ssd, name)[field], f"{name}.{field}", 0, bytes_most)
    require_range(ssd.requests["cursor"], "requests.cursor", 0, bytes_most)


def _require_places(ssd: FlashState) -> None:
    for target, sources in _PLACES.items():
        last = max(0, getattr(ssd, target).size - 1)  # of what is not there, nothing is used
        for source, fields in sources.items():
            for field in fields:
                require_range(getattr(ssd, source)[field], f"{source}.{field}", NONE, last)
    for target, fields in _FILLED.items():
        for field in fields:
            require_range(ssd.queue[field], f"queue.{field}", 0, getattr(ssd, target).size)
    for (source, field), words in _WORDS.items():
        require_range(getattr(ssd, source)[field], f"{source}.{field}", 0, max(words))
    queue = ssd.queue[0]
    require(0 <= queue["piece_head"] < max(1, ssd.pieces.size), "queue.piece_head")
    require(0 <= queue["epoch_done"] <= queue["epoch"] < 2**62, "queue.epoch")
    require_range(ssd.commands["epoch"], "commands.epoch", 0, 2**62)
    events = ssd.events[: int(queue["events"])]
    for kinds, target in (
        ((EventKind.SERVER, EventKind.IDLE), ssd.servers),
        ((EventKind.DISPATCH, EventKind.COMPLETION), ssd.requests),
        ((EventKind.READER,), ssd.readers),
    ):
        of_kind: Any = events["target"][np.isin(events["kind"], kinds)]
        require_range(of_kind, "an event's target", 0, target.size - 1)


def _require_lists(ssd: FlashState) -> None:
    """Compiled code follows them to their ends, and nothing can interrupt it there."""
    for of, sources in _LISTS.items():
        heads = [getattr(ssd, name)[field] for name, fields in sources.items() for field in fields]
        require_chains(getattr(ssd, of)["next"], np.concatenate(heads), f"{of}.next")
    queue, requests, commands = ssd.queue, ssd.requests, ssd.commands
    free = require_chains(requests["next"], queue["free_request"], "requests.next")
    require(free == requests.size - queue["outstanding"][0], "the free requests")
    free = require_chains(commands["next"], queue["free_command"], "commands.next")
    require(free == queue["free_commands"][0], "the free commands")


def _require_fixed(mine: FlashState, loaded: FlashState) -> None:
    for name, fields in _FIXED.items():
        for field in fields:
            same = np.array_equal(getattr(mine, name)[field], getattr(loaded, name)[field])
            require(same, f"{name}.{field}")
