# SPDX-License-Identifier: GPL-2.0-or-later
"""Large SSDs: maps of more than 32 bits, and maps in chunks, are like others but for memory."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from freezingtime.device.base import statistics_of
from freezingtime.device.flash import FlashDevice, state
from freezingtime.device.flash.kept import flash_state, load_flash
from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.simulate.simulate import simulate_closed_loop
from tests.flash.test_flash_closed_loop import DRIVE, SIZE_BYTES, mixed
from tests.support.flashlib import MIB, PLAIN, changed, check_translation, state_of

TB = 10**12


@pytest.mark.parametrize("precondition", ["fresh", "sequential", "steady"])
def test_how_a_map_is_stored_changes_nothing(
    precondition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, trace = changed(DRIVE, precondition=precondition), mixed(2000)
    plain = FlashDevice(params, 3, SIZE_BYTES)
    expected = simulate_closed_loop(plain, [trace], 7)
    for slots_max, units_least in ((0, 1 << 40), (1 << 40, 0), (0, 0)):
        monkeypatch.setattr(state, "_NARROW_SLOTS_MAX", slots_max)
        monkeypatch.setattr(state, "_SPARSE_UNITS_LEAST", units_least)
        ssd = FlashDevice(params, 3, SIZE_BYTES)
        arrays = state_of(ssd)
        assert arrays.slot_of_unit.dtype == (np.int64 if slots_max == 0 else np.int32)
        assert bool(arrays.chunks.size) == (units_least == 0 and precondition == "fresh")
        result = simulate_closed_loop(ssd, [trace], 7)
        assert result.completion_ns.tolist() == expected.completion_ns.tolist()
        assert result.annotations.tolist() == expected.annotations.tolist()
        assert statistics_of(ssd) == statistics_of(plain)
        if not arrays.chunks.size:
            check_translation(ssd)
        other = state_of(FlashDevice(params, 3, SIZE_BYTES, with_history=False))
        kept = {**flash_state(arrays)}
        assert np.array_equal(load_flash(other, kept).chunks, arrays.chunks)


def test_a_written_map_that_the_host_cannot_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is written to it: the kernel would end the process."""
    monkeypatch.setattr(state, "free_memory_bytes", lambda: 1 << 20)
    FlashDevice(PLAIN, 0, 1024 * MIB)  # which is fresh, and takes memory for what is written
    written = changed(PLAIN, precondition="sequential")
    with pytest.raises(InputError, match=r"^the SSD's map takes 0\.0 GiB of memory, and this host"):
        FlashDevice(written, 0, 4096 * MIB)


def test_a_map_without_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(state, "_RESERVED_BYTES_MAX", 0)
    monkeypatch.setattr(state.mmap, "mmap", fail)
    with pytest.raises(InputError, match=r"which this process may not have \(Cannot allocate"):
        FlashDevice(PLAIN, 0, 64 * MIB)


def test_thirty_terabytes_in_units_of_4_kib_take_memory_for_what_is_written() -> None:
    large = changed(PLAIN, channels=16, page_bytes=16384, pages_per_block=2048)
    before_bytes = _resident_bytes()
    ssd = FlashDevice(large, 1, 30 * TB)
    offsets = np.random.default_rng(1).integers(0, 30 * TB // 4096, 20_000) * 4096
    offsets[-1] = 30 * TB // 4096 * 4096 - 4096
    same = np.ones_like(offsets)
    ssd.complete_closed(32, same * Operation.WRITE, offsets, same * 4096)
    _, ends_ns = ssd.complete_closed(1, same * Operation.READ, offsets, same * 4096)
    assert np.diff(ends_ns).min() > 0
    assert statistics_of(ssd)["mapped_units"] == np.unique(offsets).size
    assert state_of(ssd).slot_of_unit.dtype == np.int64
    assert _resident_bytes() - before_bytes < 400 * MIB


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
