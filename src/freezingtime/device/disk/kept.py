# SPDX-License-Identifier: GPL-2.0-or-later
"""The drive's state as plain data; what is loaded is checked, as compiled code does not look."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from freezingtime.device.disk.state import Activity, DiskState, Phase
from freezingtime.device.kept.arrays import loaded_array, require_chains, require_range
from freezingtime.device.kept.state import State, entry, require
from freezingtime.request import Operation

#: Where the platter is at time 0 is not described, but drawn.
_PHASE = "phase"
_ARRAYS = ("slots", "extents", "segments", "map")
#: What of ``core`` is not described.
_OF_CORE = ("arm", "shingles", "cleaner")
#: Of ``shingles``, what is described.
_DESCRIBED = (
    *("bands", "band_sectors", "cache_sectors", "append_sectors", "stream_sectors"),
    *("unit_sectors", "safe_copy", "clean_idle_ns", "entries"),
)
#: Fields that are sectors of the drive; -1 is none.
_ADDRESSES = (
    *("lba", "media_lba", "next_lba", "ahead_lba", "ahead_end_lba", "end_lba", "address"),
    *("asked_end_lba", "run_lba", "run_end_lba", "stream_lba", "clean_lba"),
)
_COUNTS = ("sectors", "media_sectors", "arm_sectors", "active", "step_sectors", "clean_done")


def disk_state(disk: DiskState) -> State:
    """Return what has become of a drive since time 0; its counters are not part of it."""
    core = disk.core[0]
    return {
        "phase": int(core["drive"][_PHASE]),
        **{name: disk.core[name] for name in _OF_CORE},
        **{name: getattr(disk, name) for name in _ARRAYS},
    }


def load_disk(disk: DiskState, state: State, tags: Collection[int]) -> None:
    """Have a new drive go on from a state, in which the requests of these tags are.

    Raises:
        StateError: it is none of such a drive.
    """
    mine: dict[str, Any] = {name: disk.core[name] for name in _OF_CORE}
    mine |= {name: getattr(disk, name) for name in _ARRAYS}
    loaded = {name: loaded_array(entry(state, name), mine[name], name) for name in mine}
    phase = np.array([entry(state, "phase")])
    require_range(phase, "the platter's angle", 0, 2**62)
    slots = loaded["slots"]
    in_drive = slots["tag"][slots["phase"] != Phase.FREE].tolist()
    require(len(in_drive) == len(tags) and set(in_drive) == set(tags), "what is in the drive")
    _require_sectors(disk, loaded)
    _require_places(disk, loaded)
    _require_buffer(loaded)
    _require_shingles(disk, loaded)
    for name, array in loaded.items():
        mine[name][:] = array
    disk.core["drive"][_PHASE] = phase[0]


def _require_sectors(disk: DiskState, loaded: dict[str, Any]) -> None:
    drive = disk.core["drive"][0]
    sectors = int(drive["sectors"]) + int(drive["persistent_sectors"])
    for name, array in loaded.items():
        for field in array.dtype.names:
            if field in _ADDRESSES:
                require_range(array[field], f"{name}.{field}", -1, sectors)
            elif field in _COUNTS:
                require_range(array[field], f"{name}.{field}", 0, sectors)
    for name in ("slots", "extents", "cleaner"):
        array = loaded[name]
        begins = array["media_lba"] if name == "slots" else array["lba"]
        counts = array["media_sectors"] if name == "slots" else array["sectors"]
        require(np.all((counts == 0) | ((begins >= 0) & (begins + counts <= sectors))), name)


def _require_places(disk: DiskState, loaded: dict[str, Any]) -> None:
    slots, arm = loaded["slots"], loaded["arm"][0]
    require_range(slots["phase"], "a phase", 0, max(Phase))
    require_range(slots["operation"], "an operation", 0, max(Operation))
    require(arm["activity"] in set(Activity), "what the arm does")
    targets = {
        Activity.IDLE: max(slots.size, disk.extents.size, disk.segments.size),
        Activity.MEDIA: slots.size,
        Activity.DESTAGE: disk.extents.size,
        Activity.CLEAN: max(slots.size, disk.extents.size, disk.segments.size),
    }
    require(0 <= arm["target"] < targets.get(arm["activity"], disk.segments.size), "the arm")
    require(-1 <= arm["ahead_segment"] < disk.segments.size, "what is read ahead")
    heads = int(disk.core["drive"]["heads"][0])
    for name in ("arm", "slots", "extents", "cleaner"):
        require_range(loaded[name]["head"], "a head", 0, heads - 1)
        require_range(loaded[name]["cylinder"], "a cylinder", 0, 2**31)


def _require_buffer(loaded: dict[str, Any]) -> None:
    arm, sectors = loaded["arm"][0], loaded["extents"]["sectors"]
    require(arm["buffered_extents"] == np.count_nonzero(sectors), "the write buffer")
    require(arm["buffered_sectors"] == sectors.sum(), "the write buffer")


def _require_shingles(disk: DiskState, loaded: dict[str, Any]) -> None:
    mine, shingles = disk.core["shingles"], loaded["shingles"]
    for name in _DESCRIBED:
        require(mine[name][0] == shingles[name][0], f"shingles.{name}")
    rows = disk.map.size
    require_range(loaded["map"]["next"], "the map", -1, rows - 1)
    require_range(loaded["map"]["last"], "the map", 0, max(0, rows - 1))
    for name in ("head", "tail", "place", "write_place", "clean_place", "step_place"):
        require_range(shingles[name], f"shingles.{name}", 0, 2**62)
    require_chains(
        loaded["map"]["next"], np.arange(min(rows, int(shingles["bands"][0]))), "the map"
    )
    require_range(shingles["stream_number"], "the stream", -1, 2**62)
    head, tail = int(shingles["head"][0]), int(shingles["tail"][0])
    require(0 <= head - tail <= max(0, int(mine["entries"][0])), "the map")
