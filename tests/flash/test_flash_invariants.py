# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for the SSD model whatever is asked of it: Hypothesis looks for exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.flash import FlashDevice
from freezingtime.request import Operation, Request
from tests.support.flashlib import MIB, check_translation, device, is_stable, run, write

SECTORS = 128
SSD_BYTES = SECTORS * 512

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "buffered": {"write_buffer_bytes": 16384},
    "protected": {"write_buffer_bytes": 16384, "power_loss_protection": True},
    "static": {"allocation": "static", "channels": 2, "write_buffer_bytes": 8192},
    "wide units": {"mapping_unit_bytes": 8192, "page_bytes": 16384, "write_buffer_bytes": 32768},
    "small units": {"mapping_unit_bytes": 512, "page_bytes": 2048, "scheduler": "plane"},
    "one-shot": {"pages_per_program": 3, "write_buffer_bytes": MIB, "planes_per_die": 2},
    "lockstep": {"planes_per_die": 2, "multi_plane": True, "gc_policy": "cost-benefit"},
    "suspending": {"suspend_ns": 1_000, "resume_ns": 100, "write_buffer_bytes": 16384},
    "plane reads": {
        "planes_per_die": 2,
        "multi_plane": True,
        "plane_reads": True,
        "suspend_ns": 1_000,
        "write_buffer_bytes": 16384,
        "writes_waiting_max": 2,
    },
    "narrow": {"queue_depth": 1, "write_buffer_bytes": 4096, "link_transfer": "whole"},
    "in turn": {"read_priority": False, "dies_per_chip": 2, "scheduler": "chip"},
    "slow front": {"submission_ns": 500, "command_interval_ns": 200, "read_overhead_ns": 50},
    "slc cache": {"slc_cache_share": 0.3, "slc_idle_ns": 40_000, "dies_per_chip": 2},
    "buffered slc": {
        "slc_cache_share": 0.5,
        "slc_idle_ns": 10_000,
        "pages_per_program": 3,
        "write_buffer_bytes": 16384,
    },
    "dynamic slc": {
        "slc_dynamic_share": 0.4,
        "slc_fold_ns": 45_000,
        "slc_idle_ns": 30_000,
        "over_provisioning": 0.05,
        "pages_per_program": 3,
        "write_buffer_bytes": 16384,
        "unwritten": "flash",
    },
    "mixed slc": {
        "slc_cache_share": 0.1,
        "slc_dynamic_share": 1.0,
        "slc_bits_per_cell": 4,
        "gc_policy": "cost-benefit",
        "gc_idle_free_blocks": 4,
        "write_buffer_bytes": 8192,
        "wear_spread": 2,
    },
    "mapping cache": {  # a translation page maps 64 units
        "mapping_unit_bytes": 512,
        "page_bytes": 2048,
        "mapping_cache_bytes": 512,
        "write_buffer_bytes": 16384,
        "channels": 2,
        "allocation": "static",
    },
    "unbuffered mapping cache": {
        "mapping_unit_bytes": 512,
        "page_bytes": 1024,
        "mapping_cache_bytes": 512,
        "queue_depth": 3,
    },
    "level wear": {"wear_spread": 1, "over_provisioning": 0.05, "write_buffer_bytes": 8192},
    "idle collection": {"gc_idle_free_blocks": 6, "gc_idle_ns": 30_000, "dies_per_chip": 2},
    "idle slc collection": {
        "gc_idle_free_blocks": 5,
        "gc_idle_ns": 50_000,
        "slc_cache_share": 0.3,
        "slc_idle_ns": 20_000,
        "write_buffer_bytes": 16384,
    },
    "bursts": {"gc_pacing": "burst", "gc_free_blocks": 4, "over_provisioning": 0.05},
}
COMMON: dict[str, Any] = {
    "pages_per_block": 24,
    "read_ns": (3_000, 5_000),
    "program_ns": (20_000, 31_000),
    "erase_ns": 100_000,
    "channel_bytes_per_s": 1_000_000_000,
    "link_bytes_per_s": 2_000_000_000,
    "read_command_ns": 10,
}

operations = st.tuples(
    st.integers(0, 60_000),
    st.sampled_from([*list(Operation), Operation.WRITE, Operation.WRITE, Operation.READ]),
    st.integers(0, SECTORS - 1),
    st.integers(1, 64),
    st.booleans(),
)
Step = tuple[int, Operation, int, int, bool]


def small_device(shape: str, precondition: str, seed: int = 1) -> FlashDevice:
    return device(SSD_BYTES, seed, **(COMMON | SHAPES[shape]), precondition=precondition)


def trace_of(steps: Sequence[Step], *, may_force: bool = True) -> list[tuple[int, Request]]:
    arrival_ns = 0
    trace = []
    for gap_ns, operation, sector, sectors, fua in steps:
        arrival_ns += gap_ns
        length_bytes = min(sectors, SECTORS - sector) * 512
        request = Request(operation, sector * 512, length_bytes, fua=fua and may_force)
        if operation is Operation.FLUSH:
            request = Request(operation, 0, 0)
        trace.append((arrival_ns, request))
    return trace


def units_of(ssd: FlashDevice, request: Request) -> range:
    unit_bytes = SSD_BYTES // ssd.geometry.units
    return range(request.offset_bytes // unit_bytes, (request.end_bytes - 1) // unit_bytes + 1)


@pytest.mark.parametrize("precondition", ["fresh", "steady"])
@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(steps=st.lists(operations, min_size=1, max_size=120))
def test_every_request_completes_once_after_its_arrival(
    shape: str, precondition: str, steps: list[Step]
) -> None:
    ssd = small_device(shape, precondition)
    trace = trace_of(steps)
    completions = run(ssd, trace)
    assert all(
        arrival_ns <= done_ns for (arrival_ns, _), done_ns in zip(trace, completions, strict=True)
    )
    check_translation(ssd)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=10)
@given(steps=st.lists(operations, min_size=1, max_size=80))
def test_a_whole_trace_gives_what_single_requests_give(shape: str, steps: list[Step]) -> None:
    trace = trace_of(steps, may_force=False)
    single = run(small_device(shape, "steady"), trace)
    whole = small_device(shape, "steady").complete_all(
        [arrival_ns for arrival_ns, _ in trace],
        [request.operation for _, request in trace],
        [request.offset_bytes for _, request in trace],
        [request.length_bytes for _, request in trace],
    )
    assert whole.tolist() == single


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(steps=st.lists(operations, min_size=1, max_size=80))
def test_flushed_and_forced_writes_are_stable(shape: str, steps: list[Step]) -> None:
    """At a flush's completion, what had completed before its submission; but what the guest
    has written to since may be in the buffer again."""
    if SHAPES[shape].get("power_loss_protection"):
        return
    ssd = small_device(shape, "fresh")
    trace = trace_of(steps)
    arrivals = {id(request): arrival_ns for arrival_ns, request in trace}
    completed: dict[int, int] = {}

    def rewritten(request: Request, after_ns: int) -> set[int]:
        return {
            unit
            for arrival_ns, other in trace
            if other is not request and other.operation is Operation.WRITE
            if id(other) not in completed or completed[id(other)] > after_ns
            for unit in units_of(ssd, other)
        }

    def check(now_ns: int, request: Request) -> None:
        completed[id(request)] = now_ns
        if request.operation is Operation.FLUSH:
            flushed_ns = arrivals[id(request)]
            before = [
                other
                for _, other in trace
                if other.operation is Operation.WRITE
                and completed.get(id(other), now_ns + 1) < flushed_ns
            ]
        elif request.operation is Operation.WRITE and request.fua:
            flushed_ns = arrivals[id(request)]
            before = [request]
        else:
            return
        again = rewritten(request, flushed_ns)
        for other in before:
            assert all(is_stable(ssd, unit) for unit in units_of(ssd, other) if unit not in again)

    run(ssd, trace, check)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), steps=st.lists(operations, min_size=1, max_size=60))
def test_the_same_seed_gives_the_same_result(seed: int, steps: list[Step]) -> None:
    first, second = (small_device("buffered", "steady", seed) for _ in range(2))
    assert run(first, trace_of(steps)) == run(second, trace_of(steps))
    assert first.statistics() == second.statistics()


def test_another_seed_gives_another_steady_state() -> None:
    same = np.ones(400, dtype=np.int64)
    offsets = np.arange(400) % (SSD_BYTES // 4096) * 4096
    results = [
        small_device("plain", "steady", seed)
        .complete_all(same, same * Operation.WRITE, offsets, same * 4096)
        .tolist()
        for seed in (1, 2)
    ]
    assert results[0] != results[1]


def test_requests_outside_the_ssd_are_refused() -> None:
    ssd = small_device("plain", "fresh")
    with pytest.raises(ValueError, match=r"^a request for bytes 61440 to 69632 of an SSD with"):
        ssd.submit(write(61440, 8192), 0)
    with pytest.raises(ValueError, match=r"^offsets must be inside the SSD's 65536 bytes$"):
        ssd.complete_all([0], [Operation.READ], [65536], [512])


def test_a_trace_needs_an_idle_ssd() -> None:
    ssd = small_device("plain", "fresh")
    ssd.submit(write(0), 0)
    with pytest.raises(ValueError, match=r"^a trace starts on an idle SSD"):
        ssd.complete_all([0], [Operation.READ], [0], [512])
