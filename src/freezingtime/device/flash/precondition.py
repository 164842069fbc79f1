# SPDX-License-Identifier: GPL-2.0-or-later
"""History of an SSD before time 0: nothing, a sequential fill, or long random use.

The steady state of random overwriting is not reached by writing for hours but put there: in
it, the share of a block that is still valid falls exponentially with the block's age, from 1
to that of the block that garbage collection takes (Hu et al., "Write Amplification Analysis
in Flash-Based Solid State Drives", SYSTOR 2009; Desnoyers, "Analytic Models of SSD Write
Performance", ACM Transactions on Storage 10(2), 2014, section 4). A part of the capacity is
then overwritten in truth, so that what the formula leaves out settles.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from freezingtime.device.flash.state import FlashState
from freezingtime.device.flash.statistics import mapped_units

#: Overwrites to let the constructed state settle: this share of the units, at most so many.
_SETTLING_SHARE = 0.05
_SETTLING_WRITES_MAX = 5_000_000
#: But so many blocks of each lane at least: garbage collection is then under way everywhere.
_SETTLING_BLOCKS_LEAST = 1.5


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
        kernels.scatter(handle, generator, _valid_shares(state))
        kernels.write_randomly(handle, generator, _settling_writes(state))
    if kind != "fresh":
        kernels.settle(handle)
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
    for _ in range(100_000):  # converges slowly where there is little spare
        better = math.exp(-spare_factor * (1.0 - share))
        if better - share < 1e-12:
            break
        share = better
    return share


def _valid_shares(state: FlashState) -> NDArray[np.float64]:
    """The valid shares of a lane's blocks, youngest first."""
    config = state.config[0]
    blocks = int(config["lane_slots_max"] // config["slots_per_block"])
    units_per_lane = -(-int(config["units"]) // int(config["lanes"]))
    oldest = victim_share(int(config["lane_slots_max"]) / units_per_lane)
    ages = (np.arange(blocks) + 0.5) / blocks
    shares: NDArray[np.float64] = oldest**ages
    return shares
