# SPDX-License-Identifier: GPL-2.0-or-later
"""The SSD's description: what is read, what is refused, and the flash that comes of it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from freezingtime.device.flash import FlashDevice, FlashParams
from freezingtime.device.flash.geometry import shape
from freezingtime.device.flash.hardware import Array, Cells, Channel, Host
from freezingtime.device.parameters import Table
from freezingtime.errors import InputError
from tests.support.flashlib import MIB, device

DESCRIPTION = """
precondition = "steady"
[array]
channels = 8
chips_per_channel = 2
dies_per_chip = 2
planes_per_die = 4
pages_per_block = 1536
page = "16KiB"
[cells]
t_read = "48us, 64us, 80us"
t_program = "1.9ms"
t_erase = "10ms"
pages_per_program = 3
multi_plane = true
t_suspend = "20us"
t_resume = "5us"
[channel]
bandwidth = "1.2GB/s"
[host]
bandwidth = "6.8GB/s"
t_submission = "2us"
t_read = "5us"
t_write = "6us"
[write_buffer]
size = "32MiB"
power_loss_protection = true
[mapping]
over_provisioning = 0.28
"""


def parsed(text: str) -> FlashParams:
    return Table(tomllib.loads(text), "ssd.toml", "parameters.").read(FlashParams)


def test_a_description_is_read() -> None:
    params = parsed(DESCRIPTION)
    assert params.cells.read_ns == (48_000, 64_000, 80_000)
    assert params.cells.program_ns == (1_900_000,)
    assert params.cells.suspend_ns == 20_000
    assert params.channel.channel_bytes_per_s == 1_200_000_000
    assert params.host.write_overhead_ns == 6_000
    assert params.write_buffer.write_buffer_bytes == 32 * MIB
    assert params.write_buffer.power_loss_protection
    assert params.mapping.over_provisioning == 0.28
    assert params.precondition == "steady"
    assert params.array.blocks_per_plane == 0


def test_what_may_be_left_out_has_the_same_defaults_as_in_python() -> None:
    least = """
    array = {channels = 2, pages_per_block = 64, page = "4KiB"}
    cells = {t_read = "60us", t_program = "600us", t_erase = "3.5ms"}
    channel = {bandwidth = "800MB/s"}
    host = {bandwidth = "3.2GB/s"}
    """
    assert parsed(least) == FlashParams(
        array=Array(channels=2, pages_per_block=64, page_bytes=4096),
        cells=Cells(read_ns=(60_000,), program_ns=(600_000,), erase_ns=3_500_000),
        channel=Channel(channel_bytes_per_s=800_000_000),
        host=Host(link_bytes_per_s=3_200_000_000),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels = 8", "", "parameters.array.channels: is missing; it must be a whole number"),
        ("channels = 8", "channels = 0", "parameters.array.channels = 0: must be a whole number"),
        ("channels = 8", "channel = 8", "array.channel: unknown key; did you mean channels?"),
        ("[channel]", "[chanel]", "parameters.chanel: unknown key; did you mean channel?"),
        (
            "precondition",
            "condition",
            "condition: unknown key; did you mean precondition? allowed: array,",
        ),
        ('"steady"', '"used"', "parameters.precondition = 'used': must be one of: fresh,"),
        ('"48us, 64us, 80us"', '"48us; 64us"', "parameters.cells.t_read = '48us; 64us': must be a"),
        ('"48us, 64us, 80us"', '"0"', "parameters.cells.t_read = '0': must be 1 to 8 times"),
        ('"10ms"', '"10min"', "parameters.cells.t_erase = '10min': must be a time such as"),
        ('"10ms"', '"100s"', "parameters.cells.t_erase = '100s': must be at most 60s"),
        ("pages_per_program = 3", "pages_per_program = 5", "must divide the array's pages_per"),
        ('"32MiB"', '"5GiB"', "write_buffer.size = '5GiB': must be at most 4GiB"),
        ("over_provisioning = 0.28", 'unit = "3KiB"', "mapping.unit = '3KiB': must be a power of"),
        ("over_provisioning = 0.28", 'unit = "32KiB"', "must divide the array's page, 16384 bytes"),
        ("over_provisioning = 0.28", 'order = "CWD"', "mapping.order = 'CWD': must name C, W, D"),
        ("over_provisioning = 0.28", "over_provisioning = -1", "must be a number from 0.01 to 10"),
        ("over_provisioning = 0.28", 'cache = "2KiB"', "mapping.cache = '2KiB': must be"),
        ("over_provisioning = 0.28", "cache = 64", "mapping.cache = 64: must be"),
        ("over_provisioning = 0.28", "wear_spread = 0", "wear_spread = 0: must be a whole number"),
        ("over_provisioning = 0.28", 'gc_idle = "1s"', "gc_idle = '1s': needs gc_idle_free_blocks"),
        ("[mapping]\nover_provisioning = 0.28", "[zones]", "parameters.zones.size: is missing"),
        (
            "[mapping]\nover_provisioning = 0.28",
            '[zones]\nsize = "1MiB"\ncapacity = "2MiB"',
            "zones.capacity = '2MiB': must be at most the zone's size, 1048576 bytes",
        ),
        (
            "[mapping]\nover_provisioning = 0.28",
            '[zones]\nsize = "6KiB"',
            "zones.size = '6KiB': must be a multiple of the mapping's unit, 4096 bytes",
        ),
        (
            "[mapping]\nover_provisioning = 0.28",
            '[zones]\nsize = "1MiB"\nopen_limit = 0',
            "zones.open_limit = 0: must be a whole number",
        ),
        (
            "[mapping]",
            '[zones]\nsize = "1MiB"\n[mapping]',
            "over_provisioning = 0.28: has no meaning",
        ),
        (
            "[mapping]\nover_provisioning = 0.28",
            '[zones]\nsize = "1MiB"',
            'parameters.precondition = \'steady\': must be "fresh" or "sequential" with zones',
        ),
        ("t_suspend", "read_priority = false\nt_suspend", "t_suspend = '20us': needs read_prior"),
    ],
)
def test_bad_values_are_refused_with_file_key_and_cure(old: str, new: str, message: str) -> None:
    assert old in DESCRIPTION
    with pytest.raises(InputError) as refusal:
        parsed(DESCRIPTION.replace(old, new))
    assert str(refusal.value).startswith("ssd.toml: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_flash_without_a_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"^the SSD has no size: give the disk a size"):
        FlashDevice(parsed(DESCRIPTION), seed=1)


def fixed(blocks: int, size_bytes: int | None = None, **changes: Any) -> FlashDevice:
    values: dict[str, Any] = {"blocks_per_plane": blocks, "over_provisioning": 0.25}
    return device(size_bytes=size_bytes, **(values | changes))  # type: ignore[arg-type]


def test_given_flash_makes_the_disk() -> None:
    ssd = fixed(100)
    assert ssd.geometry.slots == 100 * 32
    assert ssd.geometry.units == 100 * 32 * 4 // 5


def test_a_disk_that_does_not_fit_given_flash_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a disk of 11MiB does not fit: .* holds 10MiB besides"):
        fixed(100, 11 * MIB)


def test_given_flash_with_too_few_blocks_is_refused() -> None:
    with pytest.raises(InputError, match=r"^blocks_per_plane = 10: too few for over_provisioning"):
        fixed(10)


def test_flash_with_more_units_than_can_be_numbered_is_refused() -> None:
    with pytest.raises(InputError, match=r"use a larger mapping unit$"):
        device(160 << 40)


@pytest.mark.parametrize("size_bytes", [MIB, 100 * MIB, 1024 * MIB, 1_000_000_000])
def test_flash_is_cut_to_the_disk(size_bytes: int) -> None:
    """All dies stay; the spare space, frontiers and free blocks left out, is what was asked for."""
    params = parsed(DESCRIPTION.replace('"steady"', '"fresh"'))
    geometry = FlashDevice(params, seed=1, size_bytes=size_bytes).geometry
    assert geometry.lanes == 32
    assert geometry.units == -(-size_bytes // 4096)
    assert geometry.slots_per_block % geometry.slots_per_program == 0
    data_blocks = geometry.blocks_per_lane - params.mapping.gc_free_blocks - 1
    spare = data_blocks * geometry.slots_per_block * geometry.lanes / geometry.units
    if size_bytes < 1000 * MIB:  # a few blocks a lane: never less, but it may be much more
        assert spare >= 1.28
    else:
        assert spare == pytest.approx(1.28, rel=0.01)


SIZES = [32 << 30, (32 << 30) + (100 << 20), 960 * 10**9, 2 * 10**12 + 4096]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_spare_space_is_continuous(size_bytes: int) -> None:
    """A little more is asked for, a little more is there: not only whole blocks more."""
    asked = [0.1, 0.117, 0.15, 0.155, 0.158, 0.16, 0.165, 0.17, 0.28, 0.31]
    spare = []
    for over_provisioning in asked:
        text = DESCRIPTION.replace("0.28", str(over_provisioning)).replace('"steady"', '"fresh"')
        params = parsed(text)
        geometry = shape(params, size_bytes)
        data_blocks = geometry.blocks_per_lane - params.mapping.gc_free_blocks - 1
        slots = data_blocks * geometry.slots_per_block * geometry.lanes
        spare.append(slots / geometry.units - 1)
    assert spare == sorted(spare)
    assert spare == pytest.approx(asked, rel=0.01)


def test_blocks_that_shrink_are_erased_faster() -> None:
    params = parsed(DESCRIPTION.replace('"steady"', '"fresh"'))
    whole_block_slots = 1536 * 4 * 4
    geometry = FlashDevice(params, seed=1, size_bytes=1024 * MIB).geometry
    share = geometry.slots_per_block / whole_block_slots
    assert share < 1
    assert geometry.erase_ns == pytest.approx(10_000_000 * share, rel=0.01)


def test_memory_is_that_of_the_maps() -> None:
    """4 TB with units of 16 KiB: two maps of 4 bytes a unit, and little else."""
    ssd = device(4 * 10**12, page_bytes=16384, mapping_unit_bytes=16384, channels=256)
    map_bytes = 4 * (ssd.geometry.units + ssd.geometry.slots)
    total_bytes = sum(part.nbytes for part in ssd._state)
    assert map_bytes < total_bytes < 4 * 2**30
    assert total_bytes < map_bytes + 2**30 // 2
