# SPDX-License-Identifier: GPL-2.0-or-later
"""Static wear levelling of the SSD model: what it does to wear, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freezingtime.device.flash import FlashDevice
from freezingtime.request import Operation
from tests.support.flashlib import MIB, check_translation, device, run, state_of, write

SSD_BYTES = 64 * MIB
UNITS = SSD_BYTES // 4096
PROGRAM_NS = 500_000


def worn_device(writes: int = 12 * UNITS, **changes: Any) -> FlashDevice:
    """An SSD whose first tenth was written to all the time, after all of it was filled."""
    ssd = device(SSD_BYTES, **({"precondition": "sequential", "over_provisioning": 0.15} | changes))
    generator = np.random.Generator(np.random.PCG64(1))
    same = np.ones(writes, dtype=np.int64)
    offsets = generator.integers(0, UNITS // 10, writes) * 4096
    ssd.complete_all(same, same * Operation.WRITE, offsets, same * 4096)
    check_translation(ssd)
    return ssd


def spread(ssd: FlashDevice) -> float:
    statistics = ssd.statistics()
    return statistics["wear_max"] - statistics["wear_min"]


@pytest.mark.parametrize("allowed", [5, 20])
def test_cold_data_keep_no_block_young(allowed: int) -> None:
    """What garbage collection moves goes to worn blocks still: a few erases more are seen."""
    level = worn_device(wear_spread=allowed)
    assert spread(level) <= allowed + 6
    uneven = worn_device()
    assert spread(uneven) > 2 * spread(level)
    assert uneven.statistics()["wear_min"] == 0


def test_levelling_is_counted_and_amplifies() -> None:
    level = worn_device(wear_spread=20).statistics()
    uneven = worn_device().statistics()
    assert level["wear_moves"] > 0
    assert uneven["wear_moves"] == 0
    assert level["write_amplification"] > uneven["write_amplification"]
    assert level["erases"] == pytest.approx(level["gc_collections"] + level["wear_moves"], rel=0.01)


def test_even_writing_needs_no_levelling() -> None:
    ssd = device(SSD_BYTES, precondition="sequential", wear_spread=5)
    same = np.ones(3 * UNITS, dtype=np.int64)
    offsets = np.arange(same.size) % UNITS * 4096
    ssd.complete_all(same, same * Operation.WRITE, offsets, same * 4096)
    assert ssd.statistics()["wear_moves"] == 0
    assert spread(ssd) <= 3


def test_a_move_is_paid_for_by_the_writes_that_follow() -> None:
    """The time that the die is at work is that of all programs, reads and erases together."""
    ssd = worn_device(wear_spread=5)
    before = ssd.statistics()
    begin_ns = int(state_of(ssd).queue["now_ns"][0])
    count = 4_000
    run(ssd, [(begin_ns, write(i % 100 * 4096)) for i in range(count)])
    after = ssd.statistics()
    grown = {key: after[key] - before[key] for key in after}
    assert grown["wear_moves"] > 0
    moved = grown["gc_moved_units"]
    expected_ns = (count + moved) * PROGRAM_NS + moved * 50_000 + grown["erases"] * 3_000_000
    spent_ns = int(state_of(ssd).queue["now_ns"][0]) - begin_ns
    assert spent_ns == pytest.approx(expected_ns, rel=0.02)
