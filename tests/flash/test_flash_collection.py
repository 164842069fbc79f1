# SPDX-License-Identifier: GPL-2.0-or-later
"""Garbage collection of the SSD model against theory: write amplification, steady state, wear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freezingtime.device.flash import FlashDevice
from freezingtime.device.flash.precondition import victim_share
from freezingtime.request import Operation
from tests.support.flashlib import MIB, check_translation, device, state_of

SSD_BYTES = 1024 * MIB


def large_device(**changes: Any) -> FlashDevice:
    """Blocks of 256 pages, as the formula supposes many, and enough of them."""
    shape = {"channels": 2, "pages_per_block": 256, "precondition": "steady"}
    return device(SSD_BYTES, **(shape | changes))


def overwrite(ssd: FlashDevice, writes: int, seed: int = 5, share: float = 1.0) -> float:
    """The write amplification of so many random writes to the first ``share`` of the disk."""
    generator = np.random.Generator(np.random.PCG64(seed))
    before = ssd.statistics()
    same = np.ones(writes, dtype=np.int64)
    offsets = generator.integers(0, int(SSD_BYTES // 4096 * share), writes) * 4096
    now_ns = int(state_of(ssd).queue["now_ns"][0])
    ssd.complete_all(same * now_ns, same * Operation.WRITE, offsets, same * 4096)
    after = ssd.statistics()
    return (after["programmed_bytes"] - before["programmed_bytes"]) / (writes * 4096)


def test_the_formula_gives_the_published_value() -> None:
    """Xiang and Kurkoski's abstract: 2.36 with an over-provisioning of 0.3."""
    assert 1 / (1 - victim_share(1.3)) == pytest.approx(2.36, abs=0.005)


@pytest.mark.parametrize("allocation", ["static", "dynamic"])
@pytest.mark.parametrize("over_provisioning", [0.07, 0.125, 0.28])
def test_greedy_write_amplification(over_provisioning: float, allocation: str) -> None:
    """Uniform random overwriting, against a / (a + W(-a exp(-a))), a = 1 + over-provisioning."""
    ssd = large_device(over_provisioning=over_provisioning, allocation=allocation)
    write_amplification = overwrite(ssd, 300_000)
    published = 1 / (1 - victim_share(1 + over_provisioning))
    assert write_amplification == pytest.approx(published, rel=0.05)
    check_translation(ssd)


def test_the_constructed_steady_state_is_the_one_that_writing_leads_to() -> None:
    ssd = large_device(over_provisioning=0.125)
    long_used = large_device(over_provisioning=0.125, precondition="sequential")
    overwrite(long_used, 5 * SSD_BYTES // 4096)
    reached = overwrite(long_used, 200_000, seed=6)
    first, *_, last = [overwrite(ssd, 100_000, seed=seed) for seed in range(7, 12)]
    assert first == pytest.approx(reached, rel=0.02)
    assert last == pytest.approx(reached, rel=0.02)


def test_a_fresh_ssd_collects_nothing_until_it_is_full() -> None:
    ssd = large_device(precondition="fresh")
    assert overwrite(ssd, 100_000) == 1.0
    assert ssd.statistics()["erases"] == 0


def test_sequential_overwriting_amplifies_nothing() -> None:
    ssd = large_device(precondition="sequential")
    count = SSD_BYTES // 4096
    same = np.ones(count, dtype=np.int64)
    ssd.complete_all(same, same * Operation.WRITE, np.arange(count) * 4096, same * 4096)
    assert ssd.statistics()["write_amplification"] == pytest.approx(1.0, abs=0.001)
    assert ssd.statistics()["erases"] > 0


def test_cost_benefit_beats_greedy_where_some_data_are_hot() -> None:
    """Nine writes of ten to a tenth of the disk: old blocks are worth more than they hold."""
    amplification = {}
    for policy in ("greedy", "cost-benefit"):
        ssd = large_device(over_provisioning=0.125, gc_policy=policy, precondition="sequential")
        for _ in range(30):
            overwrite(ssd, 45_000, share=0.1)
            overwrite(ssd, 5_000)
        before = ssd.statistics()
        for _ in range(10):
            overwrite(ssd, 45_000, share=0.1)
            overwrite(ssd, 5_000)
        after = ssd.statistics()
        grown = {key: after[key] - before[key] for key in after}
        amplification[policy] = grown["programmed_bytes"] / grown["host_written_bytes"]
    assert amplification["cost-benefit"] < 0.95 * amplification["greedy"]


def test_discarded_space_is_spare_space() -> None:
    ssd = large_device(over_provisioning=0.07)
    half = SSD_BYTES // 2
    ssd.complete_all([0], [Operation.DISCARD], [half], [half])
    assert ssd.statistics()["mapped_units"] == SSD_BYTES // 4096 // 2
    overwrite(ssd, 300_000, share=0.5)
    published = 1 / (1 - victim_share(2 * 1.07))
    assert overwrite(ssd, 100_000, share=0.5) == pytest.approx(published, rel=0.05)


def test_wear_is_even_under_uniform_writing() -> None:
    ssd = large_device(over_provisioning=0.28)
    overwrite(ssd, 4 * SSD_BYTES // 4096)
    wear = ssd.statistics()
    assert wear["wear_mean"] > 5
    assert wear["wear_max"] < 2.5 * wear["wear_mean"]
    assert wear["wear_mean"] * state_of(ssd).blocks.size == pytest.approx(wear["erases"])


def test_the_throughput_is_what_the_die_can_move() -> None:
    """A write costs a program, and write amplification less one times read and program."""
    ssd = large_device(channels=1, over_provisioning=0.28)
    begin_ns = int(state_of(ssd).queue["now_ns"][0])
    write_amplification = overwrite(ssd, 100_000)
    end_ns = int(state_of(ssd).queue["now_ns"][0])
    erases = ssd.statistics()["erases"] / 100_000
    moves = write_amplification - 1
    expected_ns = 500_000 + moves * (50_000 + 500_000) + erases * 3_000_000
    assert (end_ns - begin_ns) / 100_000 == pytest.approx(expected_ns, rel=0.02)
    assert ssd.statistics()["die_utilisation"] > 0.99
