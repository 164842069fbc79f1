# SPDX-License-Identifier: GPL-2.0-or-later
"""What a disk says of itself: from the device's description into the guest, on every frontend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from freezingtime.device.registry import describe, from_content
from freezingtime.disk.spec import parse_disk
from freezingtime.disk_traits import NO_TRAITS, DiskTraits, TraitOverrides
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend
from freezingtime.host.json_document import parse_document
from freezingtime.runs.saving import matching_saved
from freezingtime.store.machine_identity import MachineIdentity
from freezingtime.store.saved_machine import MachineDescription, SavedDisk, SavedMachine
from tests.conftest import RunProgram
from tests.support.frontendlib import device_path
from tests.support.guestlib import run_guest

HARD_DISK = "seagate-barracuda-st2000dm006-2tb"
SSD = "samsung-870-evo-1tb"

QUEUE = (
    *("logical_block_size", "physical_block_size", "rotational", "optimal_io_size"),
    *("discard_granularity", "discard_max_bytes", "write_cache"),
    "wbt_lat_usec",
)
#: By the name of a disk: its device, and what it is to be to the guest.
DISKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "turns": (
        HARD_DISK,
        {
            **{"logical_block_size": "512", "physical_block_size": "4096"},
            **{"rotational": "1", "wbt_lat_usec": "75000"},
        },
    ),
    "still": (
        SSD,
        {
            **{"logical_block_size": "512", "physical_block_size": "512"},
            **{"rotational": "0", "wbt_lat_usec": "2000"},
        },
    ),
    "big": (
        f"{SSD},block-size=4KiB,rotational=yes",
        {"logical_block_size": "4096", "physical_block_size": "4096", "rotational": "1"},
    ),
    "row": ("{stripe}", {"optimal_io_size": "262144", "rotational": "0"}),
    "old": ("constant:10us", {"logical_block_size": "512", "physical_block_size": "512"}),
}
STRIPE = f"""
model = "stripe"
[disk]
model_name = "Acme Stripe of four"
discard_granularity = "64KiB"
[parameters]
count = 4
[[parameters.member]]
device = "{SSD}"
"""


def look_at(frontend: Frontend, name: str) -> str:
    """Shell that prints what the guest knows of a disk, a line of ``disk key value`` each."""
    disk = f"{name}.{frontend}"
    path = device_path(frontend, disk)
    lines = [
        f"disk=$(readlink -f {path}); block=/sys/block/$(basename $disk); queue=$block/queue",
        f"for key in {' '.join(QUEUE)}; do echo {disk} $key $(cat $queue/$key); done",
        f"for key in vendor model; do test -e $block/device/$key &&"
        f" echo {disk} $key $(cat $block/device/$key); done",
        f"blkdiscard -o 1048576 -l 1048576 $disk 2>/dev/null; echo {disk} discards $?",
    ]
    if name == "big":
        read = "fio --name=t --filename=$disk --direct=1 --rw=read --number_ios=1 --size=1m"
        lines += [
            f"{read} --bs=512 --offset=512 >/dev/null 2>&1; echo {disk} unaligned $?",
            f"{read} --bs=4k >/dev/null 2>&1; echo {disk} aligned $?",
        ]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def seen_in_guest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What one guest says of all disks, each behind each controller."""
    stripe = tmp_path_factory.mktemp("traits") / "stripe.toml"
    stripe.write_text(STRIPE)
    places = [
        (frontend, name)
        for frontend in Frontend
        for name in DISKS
        if not (name == "big" and frontend is Frontend.SATA)
    ]
    disks = [
        f"{DISKS[name][0].format(stripe=stripe)},size=64MiB,name={name}.{frontend},"
        f"frontend={frontend}"
        for frontend, name in places
    ]
    script = "\n".join(look_at(*place) for place in places)
    seen: dict[str, dict[str, str]] = {}
    for line in run_guest(script, *disks).stdout.decode().splitlines():
        disk, key, *value = line.split(" ", 2)
        seen.setdefault(disk, {})[key] = "".join(value).strip()
    return seen


@pytest.mark.guest
@pytest.mark.parametrize("frontend", Frontend)
def test_the_guest_sees_the_disk_that_was_named(
    frontend: Frontend, seen_in_guest: dict[str, dict[str, str]]
) -> None:
    seen = {name: seen_in_guest.get(f"{name}.{frontend}", {}) for name in DISKS}
    for name, disk in seen.items():
        if name == "big" and frontend is Frontend.SATA:
            continue
        expected = dict(DISKS[name][1])
        if frontend in (Frontend.SATA, Frontend.NVME):
            expected.pop("optimal_io_size", None)  # ATA and QEMU's nvme have no word for it
        if frontend is Frontend.NVME:
            expected["physical_block_size"] = disk["logical_block_size"]  # nor for this one
        assert {key: disk[key] for key in expected} == expected, name
        assert (disk["discards"] == "0") == (name != "turns")
        assert (disk["discard_max_bytes"] == "0") == (name == "turns")
    if frontend is not Frontend.SATA:
        # A request that is no multiple of a block is none that such a disk takes.
        assert (seen["big"]["aligned"], seen["big"]["unaligned"]) == ("0", "1")
    if frontend in (Frontend.VIRTIO_BLK, Frontend.VIRTIO_SCSI):
        assert seen["row"]["discard_granularity"] == "65536"
    if frontend is Frontend.VIRTIO_SCSI:
        assert (seen["row"]["vendor"], seen["row"]["model"]) == ("Acme", "Stripe of four")
        assert (seen["old"]["vendor"], seen["old"]["model"]) == ("QEMU", "QEMU HARDDISK")
    if frontend is Frontend.SATA:
        assert seen["still"]["model"] == "Samsung 870 EVO"


@pytest.mark.guest
@pytest.mark.slow
def test_a_file_system_on_blocks_of_4_kib(tmp_path: Path) -> None:
    """What is written on a 4Kn disk is there, and every request was of whole blocks."""
    script = (
        "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && "
        "seq 100000 >/mnt/numbers && umount /mnt && mount /dev/vda /mnt && "
        "seq 100000 | cmp - /mnt/numbers"
    )
    out = tmp_path / "run"
    run_guest(script, "samsung-eufs-3.1-512gb,size=64MiB", out=out)
    traits = json.loads((out / "run.json").read_text())["plan"]["controllers"][0]["traits"]
    assert traits["logical_block_bytes"] == 4096
    assert traits["model_name"] == "Samsung eUFS 3.1"


@pytest.mark.parametrize(
    ("name", "traits"),
    [
        (
            HARD_DISK,
            DiskTraits(
                physical_block_bytes=4096,
                rpm=7200,
                discards=False,
                model_name="Seagate BarraCuda ST2000DM006",
            ),
        ),
        ("seagate-cheetah-15k5-300gb", DiskTraits(rpm=15_000, discards=False)),
        (SSD, DiskTraits(rpm=0, model_name="Samsung 870 EVO")),
        ("micron-7450-pro-960gb-steady", DiskTraits(rpm=0, discard_granularity_bytes=4096)),
        ("samsung-eufs-2.1-1tb", DiskTraits(4096, 4096, rpm=0)),
        ("aws-gp3", DiskTraits(rpm=0, model_name="Amazon Elastic Block Store")),
        ("constant:10us", NO_TRAITS),
    ],
)
def test_what_the_catalogue_says(name: str, traits: DiskTraits) -> None:
    found = describe(name).traits()
    named = {} if traits.model_name else {"model_name": found.model_name}
    assert found == replace(traits, **named)


def test_a_disk_of_disks() -> None:
    """A cache over a hard disk turns; a RAID's row is what is best written at once."""
    cache = {"cache": "1GiB", "fast": {"device": SSD}, "slow": {"device": HARD_DISK}}
    tier = from_content({"model": "cache", "parameters": cache}, "-", "x").traits()
    assert (tier.rpm, tier.physical_block_bytes, tier.discards) == (7200, 4096, False)
    members = {"chunk": "64KiB", "count": 6, "member": [{"device": SSD}]}
    raid = from_content({"model": "raid6", "parameters": members}, "-", "x").traits()
    assert (raid.rpm, raid.optimal_io_bytes) == (0, 4 * 65536)
    mixed = {"member": [{"device": SSD}, {"device": "constant:1us"}]}
    assert from_content({"model": "mirror", "parameters": mixed}, "-", "x").traits().rpm is None


@pytest.mark.parametrize(
    ("text", "traits"),
    [
        ("constant:1us,block-size=4KiB", DiskTraits(4096, 4096)),
        ("constant:1us,block-size=512/4096", DiskTraits(512, 4096)),
        ("constant:1us,rotational=yes", DiskTraits(rpm=7200)),
        ("constant:1us,rotational=no", DiskTraits(rpm=0)),
        ("seagate-cheetah-15k5-300gb,rotational=yes", DiskTraits(rpm=15_000, discards=False)),
    ],
)
def test_the_user_has_the_last_word(text: str, traits: DiskTraits) -> None:
    found = parse_disk(text).traits
    assert found == replace(traits, model_name=found.model_name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("constant:1us,block-size=1000", "block-size=1000: a logical block of 1000 bytes: must"),
        ("constant:1us,block-size=8KiB", "a logical block of 8192 bytes: must be a power of two"),
        ("constant:1us,block-size=4096/512", "a physical block of 512 bytes: must not be smaller"),
        ("constant:1us,rotational=maybe", "rotational=maybe: write yes or no"),
    ],
)
def test_impossible_blocks_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_disk(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('logical_block = "3KiB"', "disk: a logical block of 3072 bytes: must be a power of two"),
        ("rotation_rate = 60", "disk: rotation rate 60: must be 0, or 1025 to 65534"),
        ('discard_granularity = "700B"', "disk: discard granularity of 700 bytes: must be a"),
        ('optimal_io = "4TiB"', "disk: optimal I/O size of 4398046511104 bytes: must be"),
        ('model_name = "Gr\u00f6\u00dfe"', "disk: model name 'Gr\u00f6\u00dfe': must be 1 to 40"),
        ("speed = 3", "disk.speed: unknown key; allowed: discard, discard_granularity, logical"),
    ],
)
def test_mistakes_in_a_description_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "drive.toml"
    path.write_text(f'model = "stripe"\n[disk]\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        describe(str(path))
    assert str(caught.value).startswith(f"{path}: {said}"), caught.value


def test_a_hard_disk_without_a_write_cache_says_so(tmp_path: Path) -> None:
    path = tmp_path / "drive.toml"
    path.write_text(
        'model = "disk"\n[parameters]\ncapacity = "1TB"\nrpm = 7200\nheads = 2\n'
        'track_to_track = "1ms"\naverage_seek = "8ms"\nouter_rate = "200MB/s"\n'
        "write_cache = false\n"
    )
    assert not parse_disk(str(path)).write_cache
    assert parse_disk(f"{path},write-cache=on").write_cache
    assert parse_disk(f"{path},frontend=nvme").write_cache  # QEMU's always has one


def test_overrides_keep_multiples() -> None:
    traits = DiskTraits(discard_granularity_bytes=512, optimal_io_bytes=6 * 512)
    changed = TraitOverrides(4096).applied_to(traits)
    assert (changed.discard_granularity_bytes, changed.optimal_io_bytes) == (4096, 4096)


@pytest.fixture
def saved(tmp_path: Path) -> SavedMachine:
    """A machine that was saved with a disk that turns."""
    traits = DiskTraits(physical_block_bytes=4096, rpm=7200, discards=False)
    disk = SavedDisk("disk1", 1 << 20, traits=traits)
    machine = MachineIdentity("0.1", "1" * 64, 512 << 20, 1, "board", "qemu", "agent")
    description = MachineDescription(machine, "mini", "7.2.0", 42, (disk,))
    return SavedMachine(tmp_path / "x", parse(msgspec.to_builtins(description)))


def parse(fields: dict[str, Any]) -> MachineDescription:
    return parse_document(json.dumps(fields), MachineDescription, fields["format"])


def test_a_saved_machine_goes_on_with_the_disk_that_its_guest_knows(saved: SavedMachine) -> None:
    """Also on a device of which another disk would be made."""
    (spec,) = matching_saved([parse_disk(SSD)], saved)
    assert spec.traits == saved.description.disks[0].traits
    (spec,) = matching_saved([parse_disk(f"{HARD_DISK},rotational=yes,name=disk1")], saved)
    assert spec.traits.rpm == 7200
    with pytest.raises(InputError, match=r"the disk has the block sizes it was saved with; leave"):
        matching_saved([parse_disk(f"{HARD_DISK},block-size=4KiB")], saved)


def test_a_saved_machine_with_impossible_traits_is_damaged(saved: SavedMachine) -> None:
    fields = msgspec.to_builtins(saved.description)
    fields["disks"][0]["traits"]["rpm"] = 1
    with pytest.raises(InputError, match=r"rotation rate 1: must be 0, or"):
        parse(fields)


@pytest.mark.parametrize("part", ["traits", "queues", "base"])
def test_a_saved_machine_with_an_unknown_key_is_damaged(saved: SavedMachine, part: str) -> None:
    fields = msgspec.to_builtins(saved.description)
    fields["disks"][0]["base"] = {"size_bytes": 1, "mtime_ns": 1}
    fields["disks"][0][part]["colour"] = 1
    with pytest.raises(ValueError, match=rf"`colour` - at `\$.disks\[0\].{part}`"):
        parse(fields)


STEADY = """
model = "flash"
capacity = "64MiB"
[parameters]
precondition = "steady"
[parameters.array]
channels = 2
planes_per_die = 2
pages_per_block = 64
page = "16KiB"
[parameters.cells]
t_read = "50us"
t_program = "600us"
t_erase = "3ms"
[parameters.channel]
bandwidth = "1.2GB/s"
[parameters.host]
bandwidth = "3.2GB/s"
[parameters.write_buffer]
size = "4MiB"
power_loss_protection = true
[parameters.mapping]
over_provisioning = 0.28
"""


@pytest.mark.guest
@pytest.mark.slow
def test_a_run_that_empties_a_steady_ssd_says_so(freezingtime: RunProgram, tmp_path: Path) -> None:
    path, out, page = tmp_path / "steady.toml", tmp_path / "run", tmp_path / "page.html"
    path.write_text(STEADY)
    disk = ("--disk", f"{path},name=data")
    ended = freezingtime("run", *disk, "--out", out, "--", "blkdiscard", "/dev/vda")
    assert ended.returncode == 0, ended.stderr
    said = "data: discards emptied 100% of what the SSD held at the start"
    assert said in ended.stderr
    assert freezingtime("report", out, "-o", page).returncode == 0
    assert said in page.read_text(encoding="utf-8")
