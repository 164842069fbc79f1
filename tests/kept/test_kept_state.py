# SPDX-License-Identifier: GPL-2.0-or-later
"""A device goes on from its saved state as if it had never stopped; nothing in one is trusted."""

from __future__ import annotations

import random
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import xxhash

from freezingtime.device.base import Device, TimedDevice
from freezingtime.device.constant import ConstantDevice
from freezingtime.device.contract import GuardedDevice
from freezingtime.device.description import Description
from freezingtime.device.kept.arrays import require_chains
from freezingtime.device.kept.file import _MAGIC, read_state, write_state
from freezingtime.device.kept.saved_device import OtherDeviceError, load_device, save_device
from freezingtime.device.kept.state import NotKeptError, State, StateError
from freezingtime.device.registry import describe, from_content
from freezingtime.errors import RunError
from freezingtime.request import Operation, Request
from tests.support.disklib import DRIVE

MIB = 1 << 20
SIZE_BYTES = 64 * MIB
_OPERATIONS = [Operation.READ] * 5 + [Operation.WRITE] * 6 + [Operation.FLUSH, Operation.DISCARD]
_LATENCY = """
model = "latency"
[parameters]
servers = 2
write_iops_limit = 20_000
[parameters.read]
fixed = {kind = "lognormal", median = "80us", sigma = 0.4}
[parameters.write]
fixed = "15us"
bandwidth = "1GB/s"
[parameters.flush]
fixed = "1ms"
"""
_VOLUME = """
model = "volume"
[parameters]
servers = 4
merge_sequential = true
io_size = "256KiB"
[parameters.read]
fixed = {kind = "exponential", mean = "300us"}
[parameters.write]
fixed = "400us"
[parameters.iops]
baseline = 3000
burst = 20_000
credits = 50
"""
_EMPIRICAL = """
model = "empirical"
[parameters]
correlation = 0.3
[[parameters.table]]
operation = "read"
size = "4KiB"
depth = 1
quantiles = [[0.0, "60us"], [1.0, "1ms"]]
[[parameters.table]]
operation = "read"
size = "4KiB"
depth = 8
quantiles = [[0.0, "90us"], [1.0, "3ms"]]
[[parameters.table]]
operation = "write"
size = "4KiB"
quantiles = [[0.0, "20us"], [1.0, "80us"]]
"""
_FLASH = """
model = "flash"
[parameters]
precondition = "sequential"
array = {channels = 2, dies_per_chip = 2, pages_per_block = 16, page = "16KiB"}
cells = {t_read = "60us", t_program = "600us", t_erase = "3ms", t_suspend = "20us"}
channel = {bandwidth = "800MB/s"}
host = {bandwidth = "3.2GB/s", queue_depth = 8}
write_buffer = {size = "1MiB"}
"""
_FLASH_TABLES = """
[parameters.slc_cache]
share = 0.1
t_read = "20us"
t_program = "100us"
t_idle = "1ms"
[parameters.mapping]
unit = "4KiB"
over_provisioning = 0.28
allocation = "dynamic"
gc_policy = "cost-benefit"
"""
_TIMES = 'read = {fixed = {kind = "exponential", mean = "50us"}}, write = {fixed = "70us"}'
_MEMBER = f'{{model = "latency", parameters = {{{_TIMES}}}}}'
_SHINGLED = """
[parameters.smr]
band = "64MiB"
cache = "1GiB"
"""
DEVICES = {
    "constant": 'model = "constant"\nparameters = {read = "10us", write = "25us"}',
    "latency": _LATENCY,
    "volume": _VOLUME,
    "empirical": _EMPIRICAL,
    "flash": _FLASH + _FLASH_TABLES,
    "flash, mapping cache": _FLASH.replace("sequential", "steady")
    + '[parameters.mapping]\ncache = "16KiB"\nover_provisioning = 0.28\n',
    "disk": f'model = "disk"\n[parameters]{DRIVE}',
    "shingled disk": f'model = "disk"\n[parameters]{DRIVE}{_SHINGLED}',
    "stripe": f'model = "stripe"\n[parameters]\nchunk = "4KiB"\ncount = 3\nmember = [{_MEMBER}]',
    "mirror": f'model = "mirror"\n[parameters]\ncount = 2\nmember = [{_MEMBER}]',
    "raid5": f'model = "raid5"\n[parameters]\nchunk = "4KiB"\ncount = 3\nmember = [{_MEMBER}]',
    "concatenation": 'model = "concatenation"\n[parameters]\nmember = ['
    '{model = "constant", parameters = {read = "9us"}, size = "32MiB"},'
    '{model = "constant", parameters = {write = "7us"}, size = "32MiB"}]',
    "cache": 'model = "cache"\n[parameters]\ncache = "256KiB"\nblock = "16KiB"\n'
    'fast = {model = "constant", parameters = {read = "20us", write = "30us"}}\n'
    f"slow = {_MEMBER}",
    "perturb": 'model = "perturb"\n[parameters]\nhiccup_probability = 0.2\nhiccup = "300us"\n'
    f'pause_every = "5ms"\npause = "1ms"\ndevice = {_MEMBER}',
    "faults": _LATENCY + '[[fault]]\nslow_by = "1us..900us"\nprobability = 0.3\n'
    '[[fault]]\nunreadable = true\nsectors = "0..4000"\nprobability = 0.2\nheals = true\n'
    '[[fault]]\nhang = true\nnth = 60\nfor = "3ms"\n',
    # One of each class of the catalogue.
    "volume of the catalogue": "aws-gp2-100gib",
    "SSD of the catalogue": "micron-7450-pro-960gb-steady",
    "disk of the catalogue": "seagate-cheetah-15k5-300gb",
    "mobile of the catalogue": "samsung-emmc-5.1-64gb",
    "scm of the catalogue": "intel-optane-p5800x-1.6tb",
}


def described(name: str) -> Description:
    text = DEVICES[name]
    if "\n" not in text:
        return describe(text)
    return from_content(tomllib.loads(text), f"{name}.toml", name)


def load(count: int, seed: int) -> list[tuple[int, list[Any]]]:
    """Arrivals of a mixed load that keeps some ten requests under way, in bursts."""
    choose = random.Random(seed)
    now_ns, requests = 0, []
    for _ in range(count):
        now_ns += choose.choice([0, 3000, 50_000, 50_000, 400_000])
        operation = choose.choice(_OPERATIONS)
        length = 0 if operation is Operation.FLUSH else 4096 * choose.choice([1, 1, 2, 8])
        offset = 4096 * choose.randrange((SIZE_BYTES - length) // 4096) if length else 0
        if length and choose.random() < 0.6:
            offset %= 2 * MIB
        requests.append(
            (
                now_ns,
                [operation, offset, length, operation is Operation.WRITE and choose.random() < 0.1],
            )
        )
    return requests


Completions = list[tuple[Any, ...]]


def _told(request: Request) -> tuple[Any, ...]:
    place = request.offset_bytes, request.length_bytes
    return request.operation, *place, request.fua, request.annotation, request.fault


def go_on(
    device: Device, requests: list[tuple[int, list[Any]]], until_ns: int | None
) -> Completions:
    """Submit the requests; return what completes, up to a time, or all."""
    completed: Completions = []

    def advance(limit_ns: int | None) -> None:
        while (event_ns := device.next_event_ns()) is not None:
            if limit_ns is not None and event_ns > limit_ns:
                break
            completed.extend((event_ns, *_told(each)) for each in device.advance(event_ns))

    for arrival_ns, (operation, offset_bytes, length_bytes, fua) in requests:
        advance(arrival_ns)
        device.submit(Request(operation, offset_bytes, length_bytes, fua=fua), arrival_ns)
    advance(until_ns)
    return completed


@pytest.mark.parametrize("name", DEVICES)
def test_it_goes_on_as_if_it_had_never_stopped(name: str, tmp_path: Path) -> None:
    """From a place at random, and from there again: a device that was loaded is saved, too."""
    description = described(name)
    requests = load(300, seed=7)
    places = sorted(random.Random(name).sample(range(20, 280), 2))
    unbroken = go_on(GuardedDevice(description.build(5, SIZE_BYTES)), requests, None)
    device = GuardedDevice(description.build(5, SIZE_BYTES))
    broken: Completions = []
    under_way_count = 0
    for first, end in zip([0, *places], [*places, len(requests)], strict=True):
        until_ns = requests[end - 1][0] if end < len(requests) else None
        broken += go_on(device, requests[first:end], until_ns)
        if until_ns is not None:
            under_way_count += len(device.under_way)
            save_device(tmp_path / "state", device, description, SIZE_BYTES)
            device = GuardedDevice(description.build(5, SIZE_BYTES))
            load_device(tmp_path / "state", device, description, SIZE_BYTES)
    assert broken == unbroken
    assert len(unbroken) == len(requests)
    assert under_way_count or name == "constant"


class Own(TimedDevice):
    """Each request takes 10 ns longer than the one before."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.count = 0

    def completion_ns(self, request: Request, now_ns: int) -> int:
        self.count += 1
        return now_ns + 10 * self.count

    def model_state(self) -> State:
        return {"count": self.count}

    def restore_model(self, state: State) -> None:
        self.count = int(state["count"])


class Silent(ConstantDevice):
    """Has more state than what it is derived from, and does not say so."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(read_ns=1, write_ns=1, flush_ns=1, discard_ns=1)


class Fails(Own):
    def model_state(self) -> State:
        raise ZeroDivisionError("no")


def test_a_users_own_device_says_what_its_state_is() -> None:
    device, other = GuardedDevice(Own()), GuardedDevice(Own())
    requests = load(20, seed=1)
    go_on(device, requests, requests[-1][0])
    assert other.load_state(device.save_state())
    assert go_on(other, [], None) == go_on(device, [], None)
    other.submit(Request(Operation.READ, 0, 512), 10**9)
    assert other.next_event_ns() == 10**9 + 210


def test_one_that_does_not_say_it_is_not_saved() -> None:
    with pytest.raises(NotKeptError, match=r"^Silent has neither save_state\(\) nor "):
        GuardedDevice(Silent()).save_state()
    with pytest.raises(RunError, match=r"the device of data \(Fails\) failed in save_state\(\)"):
        GuardedDevice(Fails(), "data").save_state()


def saved(name: str, path: Path) -> GuardedDevice:
    description = described(name)
    device = GuardedDevice(description.build(5, SIZE_BYTES))
    requests = load(60, seed=3)
    go_on(device, requests, requests[-1][0])
    save_device(path, device, description, SIZE_BYTES)
    return device


def test_it_is_that_of_another_device(tmp_path: Path) -> None:
    saved("latency", tmp_path / "state")
    slower = from_content({**described("latency").content, "class": "other class"}, "f", "slower")
    for description, size_bytes in ((slower, SIZE_BYTES), (described("latency"), 2 * SIZE_BYTES)):
        device = GuardedDevice(description.build(5, size_bytes))
        with pytest.raises(OtherDeviceError, match="is that of the device latency"):
            load_device(tmp_path / "state", device, description, size_bytes)


def test_rules_of_faults_are_not_the_device(tmp_path: Path) -> None:
    """What was aged in peace goes on with faults around it, and the other way round."""
    for before, after in (("latency", "faults"), ("faults", "latency")):
        old = saved(before, tmp_path / "state")
        device = GuardedDevice(described(after).build(5, SIZE_BYTES))
        load_device(tmp_path / "state", device, described(after), SIZE_BYTES)
        going_on = {each.offset_bytes for each in device.under_way}
        assert going_on
        assert going_on <= {each.offset_bytes for each in old.under_way}
        assert len(go_on(device, [], None)) == len(going_on)


def test_with_another_seed_what_is_drawn_is_that_seeds(tmp_path: Path) -> None:
    saved("latency", tmp_path / "state")
    ends = []
    for seed in (5, 5, 6):
        device = GuardedDevice(described("latency").build(seed, SIZE_BYTES))
        load_device(tmp_path / "state", device, described("latency"), SIZE_BYTES)
        ends.append(go_on(device, [(10**9, [Operation.READ, 0, 4096, False])], None))
    assert ends[0] == ends[1] != ends[2]
    assert ends[0][:-1] == ends[2][:-1], "what was under way was drawn before"


def test_what_nobody_waits_for_does_not_come_out(tmp_path: Path) -> None:
    """It is in the device, and in the way of others; nothing is foreseen behind it."""
    old = saved("latency", tmp_path / "state")
    description = described("latency")
    inner = description.build(5, SIZE_BYTES)
    orphans = load_device(tmp_path / "state", GuardedDevice(inner), description, SIZE_BYTES)
    assert len(orphans) == len(old.under_way) > 0
    device = GuardedDevice(inner, orphans=orphans)
    first_ns = device.next_event_ns()
    assert device.foresee() == ((), first_ns)
    now_ns = load(60, seed=3)[-1][0]
    alone = GuardedDevice(description.build(5, SIZE_BYTES))
    alone.submit(Request(Operation.READ, 0, 4096), now_ns)
    (done,) = go_on(device, [(now_ns, [Operation.READ, 0, 4096, False])], None)
    assert done[0] > (alone.next_event_ns() or 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ssd", "lanes", "free_head"), 1 << 20),
        (("ssd", "slot_of_unit"), 1 << 30),
        (("ssd", "unit_of_slot"), -1),
        (("ssd", "events", "target"), 1 << 20),
        (("ssd", "lanes", "host_slot"), 17),
        (("ssd", "readers", "channel"), None),
        (("in_service",), [[1, 99]]),
        (("waiting",), [[0]]),
        (("ssd", "age_units"), "x"),
        (("ssd", "blocks", "next"), 0),
        (("ssd", "commands", "next"), 0),
        (("ssd", "requests", "next"), 0),
        (("ssd", "queue", "outstanding"), 0),
        (("ssd", "queue", "free_commands"), 1),
    ],
)
def test_no_value_of_a_state_is_trusted(path: tuple[str, ...], value: Any, tmp_path: Path) -> None:
    """Compiled code would read and write wherever a number leads it."""
    saved("flash", tmp_path / "state")
    state = read_state(tmp_path / "state")
    target = state["device"]["device"]
    for name in path[:-1]:
        target = target[name]
    if value is None:
        del state["device"]["device"]["ssd"]["readers"]
    elif isinstance(target, dict) and isinstance(target[path[-1]], np.ndarray):
        target[path[-1]][0] = value
    else:
        target[path[-1]] = value
    write_state(tmp_path / "state", state)
    device = GuardedDevice(described("flash").build(5, SIZE_BYTES))
    with pytest.raises(StateError):
        load_device(tmp_path / "state", device, described("flash"), SIZE_BYTES)


def test_a_request_of_a_state_is_none_but_a_possible_one(tmp_path: Path) -> None:
    for place, value in ((0, []), (0, 5), (0, 1.0), (3, 1), (5, [{}, 0, [], 0, None])):
        saved("latency", tmp_path / "state")
        state = read_state(tmp_path / "state")
        state["device"]["under_way"][0][place] = value
        write_state(tmp_path / "state", state)
        device = GuardedDevice(described("latency").build(5, SIZE_BYTES))
        with pytest.raises(StateError):
            load_device(tmp_path / "state", device, described("latency"), SIZE_BYTES)


def test_what_is_in_a_drive_is_what_its_slots_hold(tmp_path: Path) -> None:
    """Compiled code looks for a free slot, which it is told that there is."""
    saved("disk", tmp_path / "state")
    for damage in ("twice", "missing", "buffered"):
        state = read_state(tmp_path / "state")
        drive = state["device"]["device"]
        if damage == "twice":
            drive["in_drive"][1][0] = drive["in_drive"][0][0]
        elif damage == "missing":
            del drive["in_drive"][0]
        else:
            drive["drive"]["arm"]["buffered_sectors"] -= 1
        write_state(tmp_path / "other", state)
        device = GuardedDevice(described("disk").build(5, SIZE_BYTES))
        with pytest.raises(StateError, match=r"in the drive|write buffer"):
            load_device(tmp_path / "other", device, described("disk"), SIZE_BYTES)


def test_a_list_of_a_state_has_an_end() -> None:
    following = np.array([1, 2, -1, 4, 3])
    require_chains(following, np.array([0, -1]), "a list")
    for heads in ([3], [0, 0]):
        with pytest.raises(StateError, match="a list is not possible"):
            require_chains(following, np.array(heads), "a list")


def test_a_state_is_not_larger_than_its_device_allows(tmp_path: Path) -> None:
    """What a small file unpacks to would fill the memory before anything else is found."""
    saved("latency", tmp_path / "state")
    state = read_state(tmp_path / "state")
    state["device"]["device"]["more"] = np.zeros(1 << 31, np.uint8)
    write_state(tmp_path / "state", state)
    assert (tmp_path / "state").stat().st_size < 1 << 20
    device = GuardedDevice(described("latency").build(5, SIZE_BYTES))
    with pytest.raises(StateError, match="its arrays are too large"):
        load_device(tmp_path / "state", device, described("latency"), SIZE_BYTES)


def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(NotKeptError, match="more than 16 MiB beside its arrays"):
        write_state(tmp_path / "state", {"text": "x" * (16 << 20)})
    assert not (tmp_path / "state").exists()


def _cut(content: bytes) -> bytes:
    return content[:-40]


def _flipped(content: bytes) -> bytes:
    place = len(content) * 2 // 3
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def _appended(content: bytes) -> bytes:
    return content + b"more"


def _another_version(content: bytes) -> bytes:
    return content.replace(b"state 1\n", b"state 2\n", 1)


def _objects(_: bytes) -> bytes:
    """An array of Python objects, which numpy would unpickle."""
    head = msgspec.msgpack.encode([{"\0array": 0}, [["|O", [1]]]])
    digest = xxhash.xxh3_128(head).digest()
    return _MAGIC + struct.pack("<Q", len(head)) + head + digest


def _vast(_: bytes) -> bytes:
    head = msgspec.msgpack.encode([{"\0array": 0}, [["<i8", [1 << 60, 4]]]])
    return _MAGIC + struct.pack("<Q", len(head)) + head + bytes(16)


@pytest.mark.parametrize("damage", [_cut, _flipped, _appended, _another_version, _objects, _vast])
@pytest.mark.parametrize("name", ["constant", "latency"])
def test_a_damaged_file_is_refused(
    damage: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    saved(name, tmp_path / "state")
    (tmp_path / "state").write_bytes(damage((tmp_path / "state").read_bytes()))
    with pytest.raises(StateError, match=r"is damaged|is of another version"):
        read_state(tmp_path / "state")


def test_zeros_cost_nothing(tmp_path: Path) -> None:
    write_state(tmp_path / "state", {"map": np.zeros(1 << 26, np.int32)})
    assert (tmp_path / "state").stat().st_size < 1 << 16
    assert read_state(tmp_path / "state")["map"].shape == (1 << 26,)
