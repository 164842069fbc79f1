# SPDX-License-Identifier: GPL-2.0-or-later
"""The steady state that is constructed, against the one that overwriting leads to."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from freezingtime.device.flash import FlashDevice
from freezingtime.device.flash.kernels.ftl import precondition as kernels
from freezingtime.device.flash.layout import Role
from freezingtime.request import Operation
from tests.support.flashlib import MIB, check_translation, device, handle_of, state_of

#: A data centre drive: 16 dies whose planes are programmed together and read by themselves.
DRIVE: dict[str, Any] = {
    "channels": 8,
    "chips_per_channel": 2,
    "planes_per_die": 4,
    "pages_per_block": 1728,
    "page_bytes": 16384,
    "pages_per_program": 3,
    "multi_plane": True,
    "plane_reads": True,
    "channel_bytes_per_s": 680_000_000,
    "over_provisioning": 0.16,
}


def constructed(size_bytes: int, seed: int = 1, **changes: Any) -> FlashDevice:
    return device(size_bytes, seed=seed, **(DRIVE | {"precondition": "steady"} | changes))


def overwritten(size_bytes: int, seed: int = 1, **changes: Any) -> FlashDevice:
    """The same drive, written once in order and three times over at random, in truth."""
    ssd = constructed(size_bytes, seed, **(changes | {"precondition": "sequential"}))
    generator = np.random.Generator(np.random.PCG64(seed))
    kernels.write_randomly(handle_of(ssd), generator, 3 * int(state_of(ssd).config["units"][0]))
    kernels.settle(handle_of(ssd))
    return ssd


def lane_of_unit(ssd: FlashDevice) -> NDArray[np.int64]:
    geometry = ssd.geometry
    slots = state_of(ssd).slot_of_unit.astype(np.int64) - 1
    lanes: NDArray[np.int64] = slots // (geometry.blocks_per_lane * geometry.slots_per_block)
    return lanes


def adjacency(ssd: FlashDevice) -> float:
    """How often the next unit is on the same die."""
    lanes = lane_of_unit(ssd)
    return float((lanes[1:] == lanes[:-1]).mean())


def valid_shares(ssd: FlashDevice) -> NDArray[np.float64]:
    """Percentiles of the valid shares of the closed blocks."""
    blocks = state_of(ssd).blocks
    valid = blocks["valid"][blocks["role"] == Role.CLOSED]
    return np.percentile(valid, [5, 25, 50, 75, 95]) / ssd.geometry.slots_per_block


def read_figures(ssd: FlashDevice, length_bytes: int) -> tuple[float, float]:
    """The mean latency of random reads one at a time, and the bandwidth of many at once."""
    units = ssd.geometry.units * int(state_of(ssd).config["unit_bytes"][0]) // length_bytes
    count = 256 * MIB // length_bytes
    offsets = np.random.Generator(np.random.PCG64(9)).integers(0, units, count) * length_bytes
    same = np.ones(count, dtype=np.int64)
    means = []
    for apart_ns in (10_000_000, 0):
        begin_ns = int(state_of(ssd).queue["now_ns"][0]) + 10_000_000
        arrivals_ns = begin_ns + np.arange(count) * apart_ns
        ends_ns = ssd.complete_all(arrivals_ns, same * Operation.READ, offsets, same * length_bytes)
        whole_ns = int(ends_ns.max()) - begin_ns
        means.append(float((ends_ns - arrivals_ns).mean()) if apart_ns else count / whole_ns)
    return means[0], means[1]


@pytest.mark.parametrize(
    ("size_bytes", "unit_bytes"), [(1_000_000_512, 4096), (2_000_003_072, 16384)]
)
def test_the_constructed_state_cannot_be_told_from_three_overwrites(
    size_bytes: int, unit_bytes: int
) -> None:
    made = constructed(size_bytes, mapping_unit_bytes=unit_bytes)
    used = overwritten(size_bytes, mapping_unit_bytes=unit_bytes)
    check_translation(made)
    assert adjacency(made) == pytest.approx(adjacency(used), rel=0.03)
    assert valid_shares(made) == pytest.approx(valid_shares(used), rel=0.03)
    for kib in (16, 64, 128):
        assert read_figures(made, kib << 10) == pytest.approx(
            read_figures(used, kib << 10), rel=0.03
        )


def test_with_static_allocation_units_stay_where_they_are_striped() -> None:
    ssd = constructed(300_000_256, allocation="static")
    units = np.arange(ssd.geometry.units)
    stripes = units // ssd.geometry.slots_per_sense % ssd.geometry.lanes
    assert np.array_equal(lane_of_unit(ssd), stripes)


def test_lanes_are_as_unevenly_filled_as_round_robin_leaves_them() -> None:
    """Half the variance of units that draw their lanes; overwriting agrees."""
    shape = {"channels": 32, "chips_per_channel": 16, "multi_plane": False, "page_bytes": 4096}
    shape |= {"planes_per_die": 1, "pages_per_block": 48}
    for ssd in (constructed(1024 * MIB, **shape), overwritten(1024 * MIB, **shape)):
        valid = state_of(ssd).lanes["valid"]
        assert valid.sum() == ssd.geometry.units
        assert valid.var() / valid.mean() == pytest.approx(0.5, abs=0.1)


def test_lanes_with_hardly_any_spare_space_are_not_overfilled() -> None:
    ssd = constructed(30_000_128, over_provisioning=0.0)
    check_translation(ssd)


@pytest.mark.parametrize("kind", ["sequential", "steady"])
def test_blocks_written_before_the_first_request_are_old(kind: str) -> None:
    """Collection by age and garbage takes them first: uniform writes cost what greedy's do."""
    moved = {}
    for policy in ("greedy", "cost-benefit"):
        ssd = device(64 * MIB, precondition=kind, gc_policy=policy)
        count = 16384
        same = np.ones(count, dtype=np.int64)
        offsets = np.random.Generator(np.random.PCG64(2)).integers(0, 16384, count) * 4096
        ssd.complete_all(same, same * Operation.WRITE, offsets, same * 4096)
        moved[policy] = ssd.statistics()["gc_moved_units"]
    assert moved["cost-benefit"] < 1.1 * moved["greedy"]


def amplification(size_bytes: int, over_provisioning: float) -> float:
    """Slots written per unit overwritten, of one die."""
    one_die = {"channels": 1, "chips_per_channel": 1, "over_provisioning": over_provisioning}
    ssd = constructed(size_bytes, **one_die)
    blocks, before = state_of(ssd).blocks, state_of(ssd).blocks["erases"].sum()
    generator = np.random.Generator(np.random.PCG64(5))
    kernels.write_randomly(handle_of(ssd), generator, 600_000)
    erases = int(blocks["erases"].sum() - before)
    return erases * ssd.geometry.slots_per_block / 600_000


def test_amplification_falls_smoothly_with_spare_space_and_hardly_depends_on_the_size() -> None:
    seen = [amplification(2048 * MIB, spare) for spare in (0.155, 0.16, 0.165)]
    steps = [later / sooner - 1 for sooner, later in itertools.pairwise(seen)]
    assert steps == pytest.approx([-0.025, -0.025], abs=0.012)
    assert amplification((2048 + 13) * MIB, 0.16) == pytest.approx(seen[1], rel=0.01)
