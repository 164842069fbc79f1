# SPDX-License-Identifier: GPL-2.0-or-later
"""History of an SSD before time 0: nothing, a sequential fill, or long random use.

The steady state of random overwriting is not reached by writing for hours but put there. In
it, the share of a block that is still valid falls exponentially with the block's age, from 1
to that of the block that garbage collection takes (Hu et al., "Write Amplification Analysis
in Flash-Based Solid State Drives", SYSTOR 2009; Desnoyers, "Analytic Models of SSD Write
Performance", ACM Transactions on Storage 10(2), 2014, section 4), and a unit may be on any
lane unless its address says on which. A part of the capacity is then overwritten in truth, so
that what the formula leaves out settles.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.flash.state import FlashState
from freezingtime.device.flash.statistics import mapped_units

#: The history that is put there: written once in order, then so many times over at random.
_OVERWRITES = 3
#: Overwrites to let the constructed state settle: this share of the units, at most so many.
_SETTLING_SHARE = 0.05
_SETTLING_WRITES_MAX = 5_000_000
#: But so many blocks of each lane at least: garbage collection is then under way everywhere.
_SETTLING_BLOCKS_LEAST = 1.5
#: Where there is hardly any spare space, each halves the distance only.
_NEWTON_STEPS_MAX = 60


def precondition(state: FlashState, handle: int, kind: str, seed: int) -> None:
    """Bring a new SSD into a state: ``fresh``, ``sequential`` or ``steady``."""
    # The compiler takes a while to import: only who makes an SSD pays for it.
    from freezingtime.device.flash.kernels.ftl import precondition as kernels
    from freezingtime.device.flash.kernels.zone import fill_zones

    if state.zones.size:
        if kind == "sequential":
            fill_zones(handle)
    elif kind == "sequential":
        kernels.write_sequentially(handle)
        kernels.fold_all(handle)
    elif kind == "steady":
        generator = np.random.Generator(np.random.PCG64(seed))
        units_of_lane = _units_of_lanes(state, generator)
        oldest_share = _oldest_shares(state, units_of_lane)
        kernels.scatter(handle, generator, units_of_lane, oldest_share, math.exp(-_OVERWRITES))
        kernels.write_randomly(handle, generator, _settling_writes(state))
    if kind != "fresh":
        kernels.settle(handle)
        # Blocks count their age in the host's units, which start at 0 again.
        state.blocks["closed_at"] -= state.counters["host_units"]
        state.counters[:] = 0
        state.ftl["preconditioned_units"] = mapped_units(state)


def _settling_writes(state: FlashState) -> int:
    config = state.config[0]
    least = _SETTLING_BLOCKS_LEAST * int(config["slots_per_block"]) * int(config["lanes"])
    share = int(config["units"]) * _SETTLING_SHARE
    slc_slots = int(config["slc_blocks"]) * int(config["slc_slots_per_block"])
    return int(max(min(share, _SETTLING_WRITES_MAX), least) + slc_slots * int(config["lanes"]))


def victim_share(spare_factor: float) -> float:
    """The valid share of the blocks that greedy collection takes, under uniform overwriting.

    ``spare_factor`` is the ratio of physical to logical capacity, more than 1. The solution
    below 1 of p = exp(-a (1 - p)), that is -W(-a exp(-a)) / a with Lambert's W; the write
    amplification is 1 / (1 - p) (Xiang and Kurkoski, "An Improved Analytic Expression for
    Write Amplification in NAND Flash", ICNC 2012; the same in Desnoyers 2014).
    """
    share = 0.0
    for _ in range(_NEWTON_STEPS_MAX):  # from below: the difference is concave
        kept = math.exp(-spare_factor * (1.0 - share))
        step = (kept - share) / (1.0 - spare_factor * kept)
        share += step
        if step < 1e-12:
            break
    return share


def _units_of_lanes(state: FlashState, generator: np.random.Generator) -> NDArray[np.int64]:
    """How many units each lane holds.

    With static allocation, those striped to it. With dynamic allocation writes go round the
    lanes, whereas what they overwrite is drawn, and a lane that has more loses more: the
    variance comes to half of what it were if each unit had drawn its lane (an
    Ornstein-Uhlenbeck process: N writes make it forget, of which each adds 1 / lanes).
    """
    config = state.config[0]
    units, lanes = int(config["units"]), int(config["lanes"])
    if not config["dynamic"]:
        stripe = int(config["slots_per_sense"])
        rows, rest = divmod(units, stripe * lanes)
        last_row = [min(max(rest - lane * stripe, 0), stripe) for lane in range(lanes)]
        return rows * stripe + np.array(last_row, np.int64)
    drawn = generator.multinomial(units // 2, np.full(lanes, 1 / lanes))
    deviation = drawn - units // 2 / lanes
    even = units / lanes
    # A lane takes no more writes when a program's would not fit (ftl.py).
    room = max(0.0, int(config["lane_slots_max"]) - int(config["slots_per_program"]) - even)
    if deviation.max() > room:
        deviation *= room / deviation.max()
    counts: NDArray[np.int64] = np.floor(even + deviation).astype(np.int64)
    counts[: units - int(counts.sum())] += 1
    return counts


def _oldest_shares(state: FlashState, units_of_lane: NDArray[np.int64]) -> NDArray[np.float64]:
    """The valid share of each lane's oldest block; more than 0: it has a logarithm."""
    config = state.config[0]
    # Of two frontiers, each half full on average, one block counts.
    slots = int(config["lane_slots_max"] + config["slots_per_block"])
    shares = [victim_share(slots / max(units, 1)) for units in units_of_lane.tolist()]
    return np.maximum(shares, np.finfo(np.float64).tiny)
