# SPDX-License-Identifier: GPL-2.0-or-later
"""What devices say of single requests: what they say, and that both ways of driving them agree.

Method: small devices whose times can be worked out, driven event by event; and random traces,
event by event and through the compiled kernels.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from freezingtime.annotation import EMPTY_ANNOTATION, UNKNOWN, Annotation, HeldBy, ServedFrom
from freezingtime.device.base import Device
from freezingtime.device.compose.composite import Mirror
from freezingtime.device.compose.perturb import Perturb, PerturbParams
from freezingtime.device.compose.tier import CacheTier
from freezingtime.device.constant import ConstantDevice
from freezingtime.device.disk import DiskDevice
from freezingtime.device.flash import FlashDevice
from freezingtime.device.registry import from_content
from freezingtime.request import Operation, Request
from freezingtime.simulate.drive import Drive
from freezingtime.simulate.simulate import Simulation, simulate_open_loop
from freezingtime.trace.readers.columns import Trace
from tests.support import disklib, flashlib

R, W, F, D = Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD
US, MS = 1000, 1_000_000
KIB = 1024


def run(device: Device, *rows: tuple[int, Operation, int, int]) -> list[Annotation]:
    """What the device says of (arrival, operation, offset, length), event by event."""
    drive = Drive(device)
    for arrival_ns, operation, offset_bytes, length_bytes in rows:
        drive.run_until(arrival_ns)
        drive.submit(operation, offset_bytes, length_bytes, False, arrival_ns)
    while drive.outstanding_count:
        drive.run_to_completion()
    return [Annotation._make(row) for row in drive.annotations().tolist()]


def build(model: str, text: str) -> Device:
    content = {"model": model, "parameters": tomllib.loads(text)}
    return from_content(content, "test.toml", "test").build(1, 1 << 30)


def test_a_request_that_is_held_by_a_limit_says_so() -> None:
    volume = build(
        "volume",
        'read.fixed = "500us"\nwrite.fixed = "500us"\n'
        "iops = {baseline = 1000, burst = 4000, credits = 3}",
    )
    said = run(volume, *[(0, R, 0, 4096)] * 5)
    # Three credits, spaced by the burst rate; then what the baseline earns, 1 ms each.
    assert [note.held_ns for note in said] == [0, 250 * US, 500 * US, 1 * MS, 2 * MS]
    assert [HeldBy(note.held_by) for note in said] == [
        HeldBy.NOTHING,
        HeldBy.IOPS_LIMIT,
        HeldBy.IOPS_LIMIT,
        HeldBy.IOPS_CREDITS,
        HeldBy.IOPS_CREDITS,
    ]
    assert [note.service_start_ns for note in said] == [note.held_ns for note in said]
    assert {note.served_from for note in said} == {UNKNOWN}


def test_a_request_that_waits_for_a_server_or_for_bytes_says_so() -> None:
    latency = build(
        "latency",
        'servers = 1\nwrite_bandwidth_limit = "4096B/s"\n'
        'read.fixed = "100us"\nwrite.fixed = "10us"\nflush.fixed = "5us"',
    )
    said = run(
        latency, (0, R, 0, 512), (0, R, 0, 512), (MS, W, 0, 4096), (MS, W, 0, 4096), (MS, F, 0, 0)
    )
    assert [(HeldBy(note.held_by).name, note.held_ns) for note in said] == [
        ("NOTHING", 0),
        ("REQUESTS", 100 * US),
        ("NOTHING", 0),
        ("THROUGHPUT_LIMIT", 1_000_000_000),
        ("WRITES", 1_000_010_000),
    ]


def test_a_read_of_flash_says_what_its_die_was_at() -> None:
    """One die: a program takes 500 us, a read 50 us; reads have priority but do not suspend."""
    ssd = flashlib.device(write_buffer_bytes=64 * KIB, power_loss_protection=True)
    said = run(
        ssd,
        (0, W, 0, 4096),
        (10 * US, R, 0, 4096),  # still in the write buffer
        (10 * MS, R, 0, 4096),
        (20 * MS, R, 512 * KIB, 4096),  # never written
        (30 * MS, W, 4096, 4096),
        (30 * MS + 100 * US, R, 0, 4096),  # while that is programmed
        (30 * MS + 100 * US, R, 0, 4096),
    )
    places = [ServedFrom(note.served_from).name for note in said]
    assert places == [
        "WRITE_BUFFER",
        "WRITE_BUFFER",
        "MEDIA",
        "UNMAPPED",
        "WRITE_BUFFER",
        "MEDIA",
        "MEDIA",
    ]
    assert [(HeldBy(note.held_by).name, note.held_ns) for note in said] == [
        *[("NOTHING", 0)] * 5,
        ("PROGRAM", 400 * US),
        ("PROGRAM", 450 * US),
    ]
    assert [note.die for note in said] == [0, UNKNOWN, 0, UNKNOWN, 0, 0, 0]
    assert said[5].service_start_ns == 30 * MS + 500 * US


def test_garbage_collection_is_what_holds_reads_in_the_steady_state() -> None:
    ssd = flashlib.device(precondition="steady", write_buffer_bytes=64 * KIB)
    rows = [(n * 700 * US, W, n * 7919 % 256 * 4096, 4096) for n in range(400)]
    rows += [(at_ns + 350 * US, R, 0, 4096) for at_ns, *_ in rows]
    said = run(ssd, *sorted(rows, key=lambda row: row[0]))
    held = [note for note in said if note.held_by == HeldBy.COLLECTION]
    assert len(held) > 20
    # Longer than one step of collection: an erase, the longest, takes 3 ms.
    assert 0 < max(note.held_ns for note in held) <= 3 * MS + 100 * US
    full = [note for note in said if note.held_by == HeldBy.BUFFER_FULL]
    assert all(note.served_from == ServedFrom.WRITE_BUFFER for note in full)
    assert full


def test_a_flush_of_flash_waits_for_writes() -> None:
    ssd = flashlib.device(write_buffer_bytes=64 * KIB, power_loss_protection=False)
    written, flushed = run(ssd, (0, W, 0, 4096), (100 * US, F, 0, 0))
    assert (HeldBy(flushed.held_by), flushed.held_ns) == (HeldBy.WRITES, 400 * US)
    assert written.served_from == ServedFrom.WRITE_BUFFER


def test_a_hard_disk_says_what_it_had_and_what_the_arm_was_at() -> None:
    drive = DiskDevice(disklib.drive('read_ahead = "64KiB"'), 1)
    said = run(
        drive,
        (0, R, 0, 64 * KIB),
        (100 * MS, R, 0, 64 * KIB),  # was read before
        (200 * MS, R, 64 * KIB, 64 * KIB),  # is read ahead by then
        (300 * MS, R, 10**12, 4096),
        (300 * MS, R, 2 * 10**12, 4096),  # comes while the arm is at the other
        (400 * MS, W, 0, 4096),
        (400 * MS + 50 * US, R, 0, 4096),  # not yet on the platters
    )
    assert [ServedFrom(note.served_from).name for note in said] == [
        "MEDIA",
        "CACHE",
        "READ_AHEAD",
        "MEDIA",
        "MEDIA",
        "WRITE_BUFFER",
        "WRITE_BUFFER",
    ]
    assert sorted(note.held_ns > 0 for note in said) == [False] * 6 + [True]
    assert [note.held_by for note in said if note.held_ns] == [HeldBy.REQUESTS]


def test_compositions_say_which_member_and_what_it_says() -> None:
    mirror = Mirror(
        [
            flashlib.device(),
            ConstantDevice(read_ns=1 * MS, write_ns=2 * MS, flush_ns=0, discard_ns=0),
        ]
    )
    said = run(mirror, (0, W, 0, 4096), (10 * MS, R, 0, 4096))
    assert said[0] == Annotation(service_start_ns=0, member=1)  # the constant one is last
    assert (said[1].member, said[1].served_from) == (0, ServedFrom.MEDIA)


def test_a_tier_says_whether_its_cache_had_it() -> None:
    tier = CacheTier(
        ConstantDevice(read_ns=10 * US, write_ns=10 * US, flush_ns=0, discard_ns=0),
        ConstantDevice(read_ns=1 * MS, write_ns=1 * MS, flush_ns=0, discard_ns=0),
        cache_bytes=1 << 20,
        block_bytes=4096,
        write_back=True,
    )
    said = run(tier, (0, R, 0, 4096), (5 * MS, R, 0, 4096), (6 * MS, W, 8192, 4096))
    assert [(note.member, ServedFrom(note.served_from).name) for note in said] == [
        (1, "MEDIA"),
        (0, "CACHE"),
        (0, "CACHE"),
    ]


def test_a_perturbed_device_says_how_long_it_kept_a_request_back() -> None:
    hiccups = PerturbParams(hiccup_probability=1.0, hiccup_ns=3 * MS)
    device = Perturb(
        ConstantDevice(read_ns=10 * US, write_ns=0, flush_ns=0, discard_ns=0), hiccups, seed=1
    )
    [said] = run(device, (0, R, 0, 4096))
    assert said == Annotation(held_by=HeldBy.PERTURBATION, held_ns=3 * MS)


def test_a_device_that_says_nothing_leaves_everything_open() -> None:
    assert run(
        ConstantDevice(read_ns=10 * US, write_ns=0, flush_ns=0, discard_ns=0), (0, R, 0, 4096)
    ) == [EMPTY_ANNOTATION]


@dataclass
class EventByEvent(Device):
    """Hides that a device takes whole traces."""

    inner: Any

    def submit(self, request: Request, now_ns: int) -> None:
        self.inner.submit(request, now_ns)

    def next_event_ns(self) -> int | None:
        event_ns: int | None = self.inner.next_event_ns()
        return event_ns

    def advance(self, now_ns: int) -> list[Request]:
        completed: list[Request] = self.inner.advance(now_ns)
        return completed


def flash() -> FlashDevice:
    return flashlib.device(
        precondition="steady", write_buffer_bytes=64 * KIB, queue_depth=8, channels=2
    )


MODELS: dict[str, tuple[Callable[[], Device], Sequence[Operation], int]] = {
    "volume": (
        lambda: build(
            "volume",
            'servers = 2\nread.fixed = "500us"\nwrite.fixed = "500us"\n'
            "iops = {baseline = 1000, burst = 4000, credits = 30}\n"
            'throughput = {baseline = "20MB/s"}',
        ),
        (R, W, F, D),
        400 * US,
    ),
    "flash": (flash, (R, W, F, D), 300 * US),
    "disk": (lambda: DiskDevice(disklib.drive("queue = 4"), 1, 1 << 30), (R, W, F), 6 * MS),
}


@pytest.mark.parametrize("model", MODELS)
def test_traces_say_the_same_as_single_requests(model: str) -> None:
    make, operations, gap_ns = MODELS[model]
    generator = np.random.default_rng(1)
    count = 500
    chosen = generator.choice(np.array(operations, np.uint8), count)
    has_range = chosen != F
    trace = Trace(
        arrival_ns=np.sort(generator.integers(0, count * gap_ns, count)),
        operation=chosen,
        offset_bytes=generator.integers(0, 240, count) * 4096 * has_range,
        length_bytes=generator.integers(1, 9, count) * 2048 * has_range,
        fua=np.zeros(count, np.bool_),
    )
    whole = simulate_open_loop(make(), trace)
    single = simulate_open_loop(EventByEvent(make()), trace)
    assert whole.completion_ns.tolist() == single.completion_ns.tolist()
    assert whole.annotations.tolist() == single.annotations.tolist()
    _check_times(whole)


def _check_times(simulation: Simulation) -> None:
    said, arrival_ns = simulation.annotations, simulation.trace.arrival_ns
    assert np.all(said["service_start_ns"] >= arrival_ns)
    assert np.all(said["service_start_ns"] <= simulation.completion_ns)
    assert np.all(said["held_ns"] >= 0)
    assert np.all(arrival_ns + said["held_ns"] <= simulation.completion_ns)
    assert np.all((said["held_by"] == HeldBy.NOTHING) == (said["held_ns"] == 0))
    assert len(np.unique(said["held_by"])) > 2
