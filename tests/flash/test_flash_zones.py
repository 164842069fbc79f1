# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSD with zones: what writes and resets cost, what is refused, and what always holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezingtime.device.flash import FlashDevice
from freezingtime.device.registry import describe
from freezingtime.errors import InputError, RefusalError
from freezingtime.predict.predict import predict
from freezingtime.request import Operation, Request
from tests.conftest import RunProgram
from tests.support.flashlib import (
    MIB,
    check_translation,
    device,
    discard,
    flush,
    read,
    run,
    state_of,
    write,
)
from tests.support.guestlib import fio_command, run_guest

KIB = 1024
READ_NS = 50_000
PROGRAM_NS = 500_000
ERASE_NS = 3_000_000
ZONE_BYTES = 256 * KIB
FAR_NS = 1_000_000_000


def zoned_device(size_bytes: int = MIB, **changes: Any) -> FlashDevice:
    """Zones of a block of 32 pages on each of two dies; room for 8 pages in the buffer."""
    shape: dict[str, Any] = {
        "zone_bytes": ZONE_BYTES,
        "writable_bytes": ZONE_BYTES,
        "dies_per_chip": 2,
        "write_buffer_bytes": 8 * 4096,
        "power_loss_protection": True,
    }
    return device(size_bytes, **(shape | changes))


def test_a_zone_is_written_to_over_its_dies_behind_the_buffer() -> None:
    """8 of 16 pages are in the buffer at once; two dies make room for two more at a time."""
    ssd = zoned_device()
    assert run(ssd, [(0, write(0, 8 * 4096)), (0, write(8 * 4096, 8 * 4096))]) == [
        0,
        4 * PROGRAM_NS,
    ]
    check_zones(ssd)


def test_a_write_at_the_beginning_resets_and_pays_for_the_erases() -> None:
    ssd = zoned_device()
    run(ssd, [(0, write(0, ZONE_BYTES))])
    trace = [(FAR_NS, write(0, 16 * 4096)), (2 * FAR_NS, read(0)), (2 * FAR_NS, read(16 * 4096))]
    again_ns, written_ns, empty_ns = run(ssd, trace)
    assert again_ns == FAR_NS + ERASE_NS + 4 * PROGRAM_NS
    assert (written_ns, empty_ns) == (2 * FAR_NS + READ_NS, 2 * FAR_NS)
    statistics = ssd.statistics()
    assert (statistics["erases"], statistics["zone_resets"]) == (2, 1)
    assert statistics["write_amplification"] == 1.0
    check_zones(ssd)


def test_a_discard_of_a_whole_zone_resets_it_and_of_a_part_does_not() -> None:
    ssd = zoned_device(precondition="sequential")
    run(ssd, [(0, discard(0, ZONE_BYTES - 4096)), (0, discard(ZONE_BYTES, 2 * ZONE_BYTES))])
    assert ssd.statistics()["zone_resets"] == 2
    offsets = [0, ZONE_BYTES, 2 * ZONE_BYTES, 3 * ZONE_BYTES]
    reads = [(FAR_NS * (i + 1), read(offset)) for i, offset in enumerate(offsets)]
    services = [done - at for (at, _), done in zip(reads, run(ssd, reads), strict=True)]
    assert services == [READ_NS, 0, 0, READ_NS]
    check_zones(ssd)


def test_a_discard_waits_for_the_writes_before_it() -> None:
    ssd = zoned_device()
    run(ssd, [(0, write(0, 16 * 4096)), (0, discard(0, ZONE_BYTES)), (0, write(0))])
    assert ssd.statistics()["mapped_units"] == 1
    check_zones(ssd)


def test_blocks_that_were_not_written_to_are_not_erased() -> None:
    """The second page of a zone on two dies has only one block begun."""
    ssd = zoned_device()
    run(ssd, [(0, write(0)), (FAR_NS, write(0, 8192))])
    assert ssd.statistics()["erases"] == 1


def test_parts_of_a_unit_meet_in_the_buffer() -> None:
    ssd = zoned_device()
    run(ssd, [(0, write(0, 512)), (0, write(512, 1024)), (0, write(1536, 4096)), (0, flush())])
    check_zones(ssd)
    assert ssd.statistics()["buffer_coalesced_units"] == 2
    assert ssd.statistics()["programmed_bytes"] == 4096  # the next unit is not yet whole
    assert int(state_of(ssd).queue["staged_units"][0]) == 1


def test_zones_on_dies_of_their_own_do_not_meet() -> None:
    both = [(0, write(0, 16 * 4096)), (0, write(ZONE_BYTES // 2, 16 * 4096))]
    half: dict[str, Any] = {
        "zone_bytes": ZONE_BYTES // 2,
        "writable_bytes": ZONE_BYTES // 2,
        "write_buffer_bytes": 32 * 4096,
    }
    apart = zoned_device(zone_lanes=1, **half)
    run(apart, [*both, (1, flush())])
    check_zones(apart)
    assert np.unique(state_of(apart).servers["busy_ns"]).tolist() == [16 * PROGRAM_NS]


def test_a_full_zone_programs_what_does_not_fill_a_program() -> None:
    ssd = zoned_device(page_bytes=16384, writable_bytes=9 * 4096)
    run(ssd, [(0, write(0, 8 * 4096)), (1, write(8 * 4096))])
    run(ssd, [(FAR_NS, read(0))])
    assert ssd.statistics()["programmed_bytes"] == 12 * 4096
    assert int(state_of(ssd).queue["staged_units"][0]) == 0
    assert ssd.statistics()["open_zones"] == 0


POINTER_LINE = (
    "zone 1 refuses a write of 4096 bytes at 270336: its write pointer is at 266240; "
    "write there, or from 262144 on, which resets it"
)


@pytest.mark.parametrize(
    ("writes", "message"),
    [
        ([(ZONE_BYTES, 4096), (ZONE_BYTES + 8192, 4096)], POINTER_LINE),
        (
            [(4096, 4096)],
            "zone 0 refuses a write of 4096 bytes at 4096: it is empty; write from 0 on",
        ),
        (
            [(0, 192 * KIB), (4096, 4096)],
            "zone 0 refuses a write of 4096 bytes at 4096: it is full; write from 0 on, which",
        ),
        (
            [(0, 192 * KIB), (192 * KIB, 4096)],
            "zone 0 refuses a write of 4096 bytes at 196608: it exceeds the zone's capacity, "
            "which ends at 196608",
        ),
        (
            [(0, 4096), (ZONE_BYTES, 4096), (2 * ZONE_BYTES, 4096)],
            "zone 2 refuses a write of 4096 bytes at 524288: 2 zones are open, and no more may "
            "be; fill one, or reset it by a discard of all of it",
        ),
    ],
)
def test_other_writes_are_refused_in_one_line(
    writes: Sequence[tuple[int, int]], message: str
) -> None:
    shape: dict[str, Any] = {"writable_bytes": 192 * KIB, "open_limit": 2}
    ssd = zoned_device(**shape)
    with pytest.raises(RefusalError, match=re.escape(message)):
        run(ssd, [(i, write(*place)) for i, place in enumerate(writes)])
    offsets, lengths = zip(*writes, strict=True)
    same = np.ones(len(writes), dtype=np.int64)
    with pytest.raises(RefusalError, match=re.escape(message)):
        zoned_device(**shape).complete_all(same, same * Operation.WRITE, offsets, lengths)


def test_a_zone_that_is_full_or_reset_makes_room_for_another() -> None:
    ssd = zoned_device(open_limit=1)
    trace = [
        (0, write(0, ZONE_BYTES)),
        (FAR_NS, write(ZONE_BYTES)),
        (2 * FAR_NS, discard(ZONE_BYTES, ZONE_BYTES)),
        (3 * FAR_NS, write(2 * ZONE_BYTES)),
    ]
    run(ssd, trace)
    assert ssd.statistics()["open_zones"] == 1
    check_zones(ssd)


def test_all_of_the_disk_is_written_to_in_order_again_and_again() -> None:
    ssd = zoned_device(precondition="sequential")
    offsets = np.arange(3 * MIB // 16384) * 16384 % MIB
    same = np.ones(offsets.size, dtype=np.int64)
    completions = ssd.complete_all(same, same * Operation.WRITE, offsets, same * 16384)
    statistics = ssd.statistics()
    assert statistics["write_amplification"] == 1.0
    assert statistics["zone_resets"] == 12
    assert statistics["wear_min"] == statistics["wear_max"] == 3
    pages, erases = 3 * 256 // 2, 3 * 4
    expected_ns = pages * PROGRAM_NS + erases * ERASE_NS
    assert completions.max() == pytest.approx(expected_ns, rel=0.01)
    check_zones(ssd)


def check_zones(ssd: FlashDevice) -> None:
    """At rest the zones are where their write pointers say, and the map with them."""
    state = state_of(ssd)
    assert ssd.advance(int(state.queue["now_ns"][0]) + 1000 * FAR_NS) == []
    check_translation(ssd)
    zones, filled = state.zones, state.zones["filled_bytes"]
    assert np.array_equal(zones["accepted_bytes"], filled)
    assert np.all(zones["taken_bytes"] <= filled)
    is_open = (filled > 0) & (filled < int(state.config["zone_capacity_bytes"][0]))
    assert np.count_nonzero(is_open) == ssd.statistics()["open_zones"]
    unit_bytes = int(state.config["unit_bytes"][0])
    units = -(-filled // unit_bytes)
    staged = units - zones["taken_bytes"] // unit_bytes
    assert int(state.queue["staged_units"][0]) == staged.sum()
    by_zone = (state.slot_of_unit > 0).reshape(zones.size, -1)
    for mapped, count in zip(by_zone, units, strict=True):
        assert mapped[:count].all()
        assert not mapped[count:].any()


steps = st.tuples(
    st.integers(0, 800_000),
    st.sampled_from(["append", "append", "append", "rewrite", "reset", "read", "flush", "zeroes"]),
    st.integers(0, 7),
    st.integers(1, 60),
)


def zone_trace(drawn: Sequence[tuple[int, str, int, int]]) -> list[tuple[int, Request]]:
    """Requests that an SSD of 8 zones of 64 sectors, 48 of them to be written, takes."""
    pointers = [0] * 8
    now_ns, trace = 0, []
    for gap_ns, kind, zone, sectors in drawn:
        now_ns += gap_ns
        start = zone * 64 * 512
        if kind in ("append", "rewrite"):
            begin = 0 if kind == "rewrite" or pointers[zone] == 48 else pointers[zone]
            length = min(sectors, 48 - begin)
            pointers[zone] = begin + length
            trace.append((now_ns, write(start + begin * 512, length * 512)))
        elif kind in ("reset", "zeroes"):
            pointers[zone] = 0
            operation = Operation.DISCARD if kind == "reset" else Operation.WRITE_ZEROES
            trace.append((now_ns, Request(operation, start, 64 * 512)))
        else:
            trace.append((now_ns, flush() if kind == "flush" else read(start, sectors * 512)))
    return trace


SHAPES: dict[str, dict[str, Any]] = {
    "pages": {"page_bytes": 512, "mapping_unit_bytes": 512},
    "units": {"page_bytes": 4096, "mapping_unit_bytes": 1024, "zone_lanes": 2},
    "one-shot": {"page_bytes": 1024, "mapping_unit_bytes": 1024, "pages_per_program": 3},
    "suspending": {"page_bytes": 2048, "mapping_unit_bytes": 2048, "suspend_ns": 1_000},
    "slow front": {
        "page_bytes": 2048,
        "mapping_unit_bytes": 512,
        "queue_depth": 6,
        "writes_waiting_max": 1,
        "submission_ns": 700,
        "buffer_access_ns": 300,
    },
}


@pytest.mark.parametrize("precondition", ["fresh", "sequential"])
@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(drawn=st.lists(steps, min_size=1, max_size=100))
def test_what_the_rules_allow_completes_once_and_alike(
    shape: str, precondition: str, drawn: list[tuple[int, str, int, int]]
) -> None:
    """One by one or as a whole trace; and the zones are as the requests left them."""

    def made() -> FlashDevice:
        return zoned_device(
            8 * 64 * 512,
            channels=2,
            pages_per_block=6,
            zone_bytes=64 * 512,
            writable_bytes=48 * 512,
            write_buffer_bytes=64 * KIB,
            precondition=precondition,
            **SHAPES[shape],
        )

    if precondition == "sequential":  # zones are full: the first write to each is at its start
        drawn = [(0, "rewrite", zone, 1) for zone in range(8)] + drawn
    trace = zone_trace(drawn)
    ssd = made()
    completions = run(ssd, trace)
    assert all(at <= done for (at, _), done in zip(trace, completions, strict=True))
    check_zones(ssd)
    whole = made().complete_all(
        [at for at, _ in trace],
        [request.operation for _, request in trace],
        [request.offset_bytes for _, request in trace],
        [request.length_bytes for _, request in trace],
    )
    assert whole.tolist() == completions


DESCRIPTION = """
model = "flash"
capacity = "64MiB"
[parameters.array]
channels = 2
pages_per_block = 64
page = "16KiB"
[parameters.cells]
t_read = "50us"
t_program = "500us"
t_erase = "3ms"
[parameters.channel]
bandwidth = "800MB/s"
[parameters.host]
bandwidth = "3.2GB/s"
[parameters.write_buffer]
size = "1MiB"
power_loss_protection = true
[parameters.zones]
size = "8MiB"
"""


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / "zoned.toml"
    path.write_text(DESCRIPTION)
    return path


def test_a_replay_writes_in_order_or_says_why_not(
    freezingtime: RunProgram, description: Path
) -> None:
    sequential = freezingtime(
        "replay", "--workload", "write,bs=64k,count=4k", "--device", description
    )
    assert sequential.returncode == 0, sequential.stderr
    at_random = freezingtime(
        "replay", "-q", "--workload", "randwrite,bs=64k,count=100", "--device", description
    )
    assert at_random.returncode == 1
    assert re.search(
        r"^freezingtime: [^\n]*zone \d+ refuses a write of 65536 bytes at \d+: it is empty; write "
        r"from \d+ on\n$",
        at_random.stderr,
    )


def test_what_the_device_refuses_is_not_predicted(description: Path) -> None:
    predicted = {prediction.case.metric for prediction in predict(describe(str(description)))}
    assert "write_bandwidth" in predicted
    assert not predicted & {"write_latency", "write_iops"}


def test_disks_that_are_not_made_of_zones_are_refused() -> None:
    with pytest.raises(InputError, match=r"^a disk of 1100000 bytes does not consist of zones of"):
        zoned_device(1_100_000)
    with pytest.raises(InputError, match=r"^zones: planes = 3: must divide their number, 2"):
        zoned_device(zone_lanes=3)
    with pytest.raises(InputError, match=r"^write_buffer.size = 32768: holds a program for each"):
        zoned_device(open_limit=9)
    with pytest.raises(InputError, match=r"^blocks_per_plane = 3: room for 3 zones, but the disk"):
        zoned_device(blocks_per_plane=3)
    assert zoned_device(None, blocks_per_plane=3).geometry.zones == 3  # type: ignore[arg-type]


@pytest.mark.guest
def test_a_guest_writes_in_order_and_starts_over(description: Path) -> None:
    """Also with several writes in flight."""
    ran = run_guest(
        "dd if=/dev/zero of=/dev/vda bs=64k count=200 oflag=direct 2>/dev/null &&\n"
        "dd if=/dev/zero of=/dev/vda bs=64k count=8 oflag=direct 2>/dev/null &&\n"
        + fio_command(rw="write", bs="64k", ioengine="libaio", iodepth=8, size="32m"),
        f"{description},size=64MiB",
    )
    assert ran.fio()["write"]["total_ios"] == 32 * MIB // 65536


@pytest.mark.guest
def test_a_guest_that_writes_elsewhere_ends_the_run(description: Path) -> None:
    with pytest.raises(RefusalError, match=r"^zone 1 refuses a write of 65536 bytes at 8454144: "):
        run_guest(
            "dd if=/dev/zero of=/dev/vda bs=64k seek=129 count=1 oflag=direct",
            f"{description},size=64MiB",
        )
