# SPDX-License-Identifier: GPL-2.0-or-later
"""The --disk option: what it means, and what is said about one that means nothing."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezingtime.device.constant import ConstantDevice
from freezingtime.device.registry import describe
from freezingtime.disk.disk import DISK_KEYS, PARAMETERS, Disk, field_of, key_of
from freezingtime.disk.media import open_layered, open_medium
from freezingtime.disk.mount import Mount
from freezingtime.disk.spec import DiskSpec, check_disk, parse_disk, read_option
from freezingtime.disk_traits import NO_TRAITS, DiskTraits, TraitOverrides
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend, Queues
from freezingtime.medium.delay import Delay, DelayMedium
from freezingtime.medium.file import FileMedium
from freezingtime.medium.memory import MemoryMedium
from freezingtime.medium.overlay import OverlayMedium
from freezingtime.request import Operation, Request


@pytest.fixture
def disk_path(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 8192)
    return path


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("constant:10us", ("10us", "10us", "10us", "10us")),
        ("constant:0", ("0ns", "0ns", "0ns", "0ns")),
        ("constant:read=10us", ("10us", "0ns", "0ns", "0ns")),
        (
            "constant:read=10us,write=20us,flush=0,discard=1ms",
            ("10us", "20us", "0ns", "1ms"),
        ),
        ("constant:10us,flush=0", ("10us", "10us", "0ns", "10us")),
    ],
)
def test_the_times_of_a_constant_device(text: str, times: tuple[str, ...]) -> None:
    device = parse_disk(text).device
    named = dict(zip(("read", "write", "flush", "discard"), times, strict=True))
    assert device.settings() == {"model": "constant", "parameters": named}
    assert device == describe(text)


def test_what_is_not_said_has_a_default() -> None:
    spec = parse_disk("constant:1us")
    assert spec == DiskSpec(
        given=spec.given,
        name=None,
        device=describe("constant:1us"),
        file=None,
        is_raw=False,
        delay=None,
        size_bytes=None,
        writable=False,
        direct=False,
        frontend=Frontend.VIRTIO_BLK,
        write_cache=True,
        queues=Queues(256),
        traits=NO_TRAITS,
        overrides=TraitOverrides(),
        mount=None,
    )
    assert spec.text == "constant:1us"


#: All of the option's keys, and what a Python caller gives instead.
ALL_KEYS = (
    "constant:read=10us,write=20us,medium=file:/disks/a,size=1GiB,writable=yes,direct=yes,"
    "format=raw,delay=3ms,name=data-1,frontend=virtio-scsi,write-cache=off,queue-depth=7,queues=2,"
    "block-size=512/4096,rotational=no,mount=/data,fs=xfs,fault=slow=2\\,nth=3,fault=hang\\,for=1s,"
    "at=1ms read=20us"
)
ALL_FIELDS = Disk(
    "constant:read=10us,write=20us",
    "data-1",
    Path("/disks/a"),
    "1GiB",
    writable=True,
    direct=True,
    delay="3ms",
    frontend="virtio-scsi",
    write_cache=False,
    queue_depth=7,
    queues=2,
    format="raw",
    block_size="512/4096",
    rotational=False,
    faults=("slow=2,nth=3", "hang,for=1s"),
    at=("1ms read=20us",),
    mount="/data",
    fs="xfs",
)


def test_all_of_it_at_once() -> None:
    spec = parse_disk(ALL_KEYS)
    assert spec == DiskSpec(
        given=spec.given,
        name="data-1",
        device=describe(
            "constant:read=10us,write=20us",
            faults=[{"slow": 2, "nth": 3}, {"hang": True, "for": "1s"}],
            at=[{"time": "1ms", "parameters": {"read": "20us"}}],
        ),
        file=Path("/disks/a"),
        is_raw=True,
        delay=Delay(3_000_000, 3_000_000),
        size_bytes=2**30,
        writable=True,
        direct=True,
        frontend=Frontend.VIRTIO_SCSI,
        write_cache=False,
        queues=Queues(7, 2),
        traits=DiskTraits(512, 4096, rpm=0),
        overrides=TraitOverrides(512, 4096, is_rotational=False),
        mount=Mount("/data", "xfs"),
    )


def test_a_python_callers_disk_is_the_same() -> None:
    spec = check_disk(ALL_FIELDS)
    assert replace(spec, given=parse_disk(ALL_KEYS).given) == parse_disk(ALL_KEYS)
    assert spec.text == ALL_FIELDS.spec == ALL_KEYS
    numbers = Disk("constant:1us", size=2**30, delay=3_000_000, block_size=4096)
    said = parse_disk("constant:1us,size=1GiB,delay=3ms,block-size=4096")
    assert replace(check_disk(numbers), given=said.given) == said
    assert (
        check_disk(numbers).text == "constant:1us,size=1073741824,delay=3000000ns,block-size=4096"
    )
    assert eval(repr(ALL_FIELDS), {"Disk": Disk, "PosixPath": Path}) == ALL_FIELDS


def test_every_key_has_a_field_and_all_are_in_the_text() -> None:
    device = ("device", PARAMETERS)
    fields = {field.name: field for field in fields_of(Disk) if field.name not in device}
    assert set(fields) == {field_of(key) for key in DISK_KEYS}
    assert [key_of(field_of(key)) for key in DISK_KEYS] == list(DISK_KEYS)
    for name, field in fields.items():
        assert getattr(ALL_FIELDS, name) != field.default, name
        changed = replace(ALL_FIELDS, **{name: field.default})
        assert changed.spec != ALL_KEYS, name
        assert f" {name}=" in repr(ALL_FIELDS)
        assert f" {name}=" not in repr(changed)


def test_a_path_may_have_commas_colons_and_equals_signs() -> None:
    spec = parse_disk(r"constant:1us,medium=file:/a\,b:c=d,name=x")
    assert spec.file == Path("/a,b:c=d")
    assert spec.name == "x"
    disk = Disk("constant:1us", file="/a,b:c=d", name="x")
    assert (check_disk(disk).file, disk.spec) == (spec.file, spec.text)


def test_a_disk_can_be_told_to_have_a_write_cache(tmp_path: Path) -> None:
    path = tmp_path / "a,b.toml"
    path.write_text(
        'model = "stripe"\n[disk]\nwrite_cache = false\n'
        '[[parameters.member]]\ndevice = "constant:1us"\n'
    )
    assert not check_disk(Disk(path)).write_cache
    assert check_disk(Disk(str(path), write_cache=True)).write_cache
    assert Disk(path, write_cache=True).spec.endswith("a\\,b.toml,write-cache=on")


THERE_ARE = (
    "the device 'constant' has read, write, flush, discard; "
    "a disk has medium, size, writable, direct, format, delay, name, frontend, write-cache, "
    "queue-depth, queues, block-size, rotational, mount, fs, fault, at"
)
EXAMPLE = "such as constant:read=10us,write=20us,medium=file:disk.img"
TIMES = "write a number and a unit (ns, us, ms, s), such as 10us, 2.5ms or 1s"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f"empty field in ''; remove the extra comma, or write {EXAMPLE}"),
        (
            "optane",
            "unknown device 'optane'; did you mean intel-optane-p4800x-750gb or "
            "intel-optane-p5800x-1.6tb? 'freezingtime devices PATTERN' searches the catalogue; "
            "or write constant:10us, a file NAME.toml, or your own module:Class",
        ),
        (
            "constant",
            "device 'constant' needs a time: constant:10us, or constant:read=10us",
        ),
        (
            "constant:medium=memory",
            "unknown key 'medium'; the device 'constant' has read, write, flush, discard",
        ),
        ("constant:10", f"bad time '10': {TIMES}"),
        ("constant:read=10", f"read=10: bad time '10': {TIMES}"),
        (
            "constant:reed=10us",
            "unknown key 'reed'; the device 'constant' has read, write, flush, discard",
        ),
        ("constant:1us,medum=memory", f"unknown key 'medum'; did you mean medium? {THERE_ARE}"),
        ("constant:1us,2us", f"unknown key '2us'; {THERE_ARE}"),
        (
            "constant:1us,medium=memory,read=2us",
            "read=2us: belongs to the device; put it before medium=",
        ),
        (
            "constant:read=1us,read=2us",
            "read=2us: read= is given twice; keep one",
        ),
        ("constant:1us,size=1G,size=1G", "size=1G: size= is given twice; keep one"),
        ("constant:1us,fs=ext4", "fs=ext4: only for a mounted disk; add mount=PATH"),
        (
            "constant:1us,mount=/a,fs=ntfs",
            "fs=ntfs: unknown file system; write one of ext4, xfs, btrfs",
        ),
        *(
            (
                f"constant:1us,mount={path}",
                f"mount={path}: write an absolute path of letters, digits and any of @%+_.-, at "
                "most 100 long, such as /var/lib/postgresql/data",
            )
            for path in ("a", "/", "/a/", "/a/../b", "/a b", "/a//b", "/./a", "/" + "a" * 100)
        ),
        ("constant:1us,size=", "size: has no value; write size=VALUE"),
        ("constant:1us,writable", "writable: has no value; write writable=VALUE"),
        (
            "constant:1us,,size=1G",
            f"empty field in 'constant:1us,,size=1G'; remove the extra comma, or write {EXAMPLE}",
        ),
        ("constant:1us,medium=tape", "medium=tape: unknown medium; write memory or file:PATH"),
        ("constant:1us,medium=file:", "medium=file:: unknown medium; write memory or file:PATH"),
        (
            "constant:1us,size=1000",
            "size=1000: must be a positive multiple of 512 bytes, such as 1GiB",
        ),
        ("constant:1us,size=0", "size=0: must be a positive multiple of 512 bytes, such as 1GiB"),
        ("constant:1us,medium=file:/x,writable=maybe", "writable=maybe: write yes or no"),
        (
            "constant:1us,delay=2ms..1ms",
            "delay=2ms..1ms: the longest delay is below the shortest; write MIN..MAX",
        ),
        ("constant:1us,delay=1ms..", f"delay=1ms..: bad time '': {TIMES}"),
        ("constant:1us,direct=yes", "direct=yes: only for files; add medium=file:PATH"),
        (
            "constant:1us,name=a b",
            "name=a b: write up to 63 letters, digits, '.', '_' or '-', such as data-1",
        ),
    ],
)
def test_a_bad_disk_is_refused_with_the_cure(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_disk(text)
    assert str(caught.value) == f"--disk: {said}"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 1000}, "size=1000: must be a positive multiple of 512 bytes, such as 1GiB"),
        ({"size": "0"}, "size='0': must be a positive multiple of 512 bytes, such as 1GiB"),
        ({"direct": True}, "direct=True: only for files; add file=PATH"),
        ({"format": "raw"}, "format='raw': only for files; add file=PATH"),
        ({"file": "x", "writable": "maybe"}, "writable='maybe': write yes or no"),
        ({"delay": -1}, f"delay=-1: bad time '-1': {TIMES}"),
        ({"delay": "2ms..1ms"}, "delay='2ms..1ms': the longest delay is below the shortest"),
        ({"name": "a b"}, "name='a b': write up to 63 letters"),
        ({"queue_depth": 3}, "queue_depth=3: virtio-blk takes a power of two from 4 to 1024"),
        ({"queue_depth": 2.5}, "queue_depth=2.5: write a whole number, such as 32"),
        ({"frontend": "sata", "queues": 2}, "queues=2: sata has one queue"),
        ({"frontend": "ide"}, "frontend='ide': unknown frontend; write one of virtio-blk"),
        (
            {"frontend": "nvme", "write_cache": False},
            "write_cache=False: QEMU's nvme controller always says that it has one",
        ),
        ({"block_size": 1000}, "block_size=1000: a logical block of 1000 bytes: must be a power"),
        ({"rotational": 2}, "rotational=2: write yes or no"),
        ({"mount": "data"}, "mount='data': write an absolute path"),
        ({"fs": "xfs"}, "fs='xfs': only for a mounted disk; add mount=PATH"),
    ],
)
def test_a_python_caller_is_told_the_keyword(wrong: dict[str, Any], said: str) -> None:
    disk = Disk("constant:1us", **wrong)
    with pytest.raises(InputError) as caught:
        check_disk(disk)
    assert str(caught.value).startswith(f"{disk!r}: {said}"), caught.value


def test_a_mediums_errors_name_it_as_it_was_given(disk_path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_bytes(bytes(512))
    for wrong, block_size, medium in (
        (Disk("constant:1us", file=odd, block_size=4096), "block_size", "file:"),
        (f"constant:1us,medium=file:{odd},block-size=4096", "block-size", "medium=file:"),
    ):
        with pytest.raises(InputError, match=f"; give size=, or {block_size}=512$"):
            open_medium(check_disk(wrong), tmp_path)
        odd.rename(tmp_path / "gone")
        with pytest.raises(InputError, match=f": {medium}{odd}: no such file; create it"):
            open_medium(check_disk(wrong), tmp_path)
        (tmp_path / "gone").rename(odd)
    disk = Disk("constant:1us", file=disk_path, writable=True)
    with pytest.raises(InputError) as caught:
        open_layered(check_disk(disk), tmp_path)
    said = "a file that is modified in place is not saved; leave out writable=True"
    assert str(caught.value) == f"{disk!r}: {said}"
    FileMedium(disk_path, writable=True).close()


@given(st.text(alphabet="constant:readwi,=\\1us0medium=file/ ", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for candidate in (text, "constant:" + text, "constant:1us," + text):
        try:
            spec = parse_disk(candidate)
        except InputError as error:
            assert str(error).startswith("--disk: ")  # noqa: PT017 -- either outcome is right
        else:
            assert spec.text == candidate


def test_a_device_is_built_with_its_times() -> None:
    device = parse_disk("constant:read=10us,write=20us").device.build(1)
    assert isinstance(device, ConstantDevice)
    device.submit(Request(Operation.WRITE, 0, 512, bytes(512)), now_ns=5)
    assert device.next_event_ns() == 20_005


def test_memory_has_a_default_size_and_a_chosen_one(tmp_path: Path) -> None:
    with closing(open_medium(parse_disk("constant:1us"), tmp_path)) as medium:
        assert isinstance(medium, MemoryMedium)
        assert medium.size_bytes == 2**30
    with closing(open_medium(parse_disk("constant:1us,size=1M"), tmp_path)) as medium:
        assert medium.size_bytes == 2**20


def test_a_file_stays_as_it_is(disk_path: Path, tmp_path: Path) -> None:
    spec = parse_disk(f"constant:1us,medium=file:{disk_path},size=4096")
    with closing(open_medium(spec, tmp_path)) as medium:
        assert isinstance(medium, OverlayMedium)
        assert medium.size_bytes == 4096
        medium.write(0, b"y" * 512)
        assert medium.read(0, 1024) == b"y" * 512 + b"x" * 512
    assert disk_path.read_bytes() == b"x" * 8192


def test_a_writable_file_is_written(disk_path: Path, tmp_path: Path) -> None:
    spec = parse_disk(f"constant:1us,medium=file:{disk_path},writable=yes")
    with closing(open_medium(spec, tmp_path)) as medium:
        assert isinstance(medium, FileMedium)
        medium.write(0, b"y" * 512)
    assert disk_path.read_bytes() == b"y" * 512 + b"x" * 7680


def test_a_delay_wraps_the_medium(tmp_path: Path) -> None:
    with closing(open_medium(parse_disk("constant:1us,size=1M,delay=1us"), tmp_path)) as medium:
        assert isinstance(medium, DelayMedium)
        assert medium.describe() == "memory, delayed by 1us"
    with closing(open_medium(parse_disk("constant:1us,delay=1us..2ms"), tmp_path)) as medium:
        assert medium.describe() == "memory, delayed by 1us..2ms"


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("0", None),
        ("0..0", None),
        ("1ms", Delay(1_000_000, 1_000_000)),
        ("2.5ms..10ms", Delay(2_500_000, 10_000_000)),
        ("0..1us", Delay(0, 1_000)),
    ],
)
def test_a_delay_is_a_time_or_a_range(text: str, delay: Delay | None) -> None:
    assert parse_disk(f"constant:1us,delay={text}").delay == delay


def test_a_missing_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(InputError) as caught:
        open_medium(parse_disk(f"constant:1us,medium=file:{path}"), tmp_path)
    assert str(caught.value) == (
        f"--disk: medium=file:{path}: no such file; create it with 'truncate -s 1G {path}'"
    )


def test_a_file_that_is_too_small_is_refused(disk_path: Path, tmp_path: Path) -> None:
    spec = parse_disk(f"constant:1us,medium=file:{disk_path},size=1M")
    with pytest.raises(InputError, match=r"^--disk: medium=file:.*: too small for size=1MiB, has"):
        open_medium(spec, tmp_path)


def test_a_missing_scratch_directory_is_refused_and_lets_go_of_the_file(
    disk_path: Path, tmp_path: Path
) -> None:
    spec = parse_disk(f"constant:1us,medium=file:{disk_path}")
    with pytest.raises(InputError, match=r"^--disk: cannot keep copy-on-write data in .*/missing"):
        open_medium(spec, tmp_path / "missing")
    FileMedium(disk_path, writable=True).close()


SSD = "micron-7450-pro-960gb"
RAID = """
model = "stripe"
[parameters]
chunk = "64KiB"
[[parameters.member]]
device = "constant:1us"
[[parameters.member]]
model = "constant"
[parameters.member.parameters]
read = "2us"
"""


def test_parameters_of_the_device_are_changed_by_their_paths(tmp_path: Path) -> None:
    said = f"{SSD},read.fixed=75us,parameters.servers=7,size=1GiB"
    spec = parse_disk(said)
    [own, changed] = [describe(SSD).settings(), spec.device.settings()]
    expected = {**own["parameters"], "servers": 7}
    expected["read"] = {**own["parameters"]["read"], "fixed": "75us"}
    assert changed == {**own, "parameters": expected}
    disk = Disk(SSD, size="1GiB", parameters={"read.fixed": "75us", "parameters.servers": 7})
    assert disk.spec == spec.text == said
    assert check_disk(disk).device == spec.device
    assert hash(disk) == hash(replace(disk))
    raid = tmp_path / "raid.toml"
    raid.write_text(RAID)
    member = parse_disk(f"{raid},member[2].parameters.read=9us").device.content["parameters"]
    assert [each.get("parameters") for each in member["member"]] == [None, {"read": "9us"}]
    own_time = parse_disk("constant:read=1us,parameters.write=2us").device.content["parameters"]
    assert (own_time["read"], own_time["write"]) == ("1us", "2us")


def test_the_text_of_a_parameter_is_read_as_what_it_was() -> None:
    values: dict[str, object] = {"a.b": 1, "a.c": 0.5, "a.d": True, "a.e": "50us", "a.f": "10"}
    values["a.g"] = "x,y"
    assert read_option(Disk("aws-gp3", parameters=values).spec).parameters == values


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("read.fixed=abc", f"{SSD}.toml: parameters.read.fixed = 'abc': must be a time"),
        ("read.fixd=1us", f"{SSD}.toml: parameters.read.fixd: unknown key; did you mean fixed?"),
        ("parameters.read=1us", "parameters.read: is a table; name one of its keys"),
        ("read..fixed=1us", "read..fixed: is no path of a parameter; write TABLE.KEY"),
        ("member[1].x=1", "member[1].x: there is no member[1]; the device has 0 of them"),
        ("read.fixed=", "read.fixed: has no value"),
        ("read.fixed=1us,read.fixed=2us", "read.fixed=2us: read.fixed= is given twice"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(given: str, problem: str) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        parse_disk(f"{SSD},{given}")


def test_python_code_has_no_parameters(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.b: mine.py:Mine is Python code, which has no"):
        parse_disk("mine.py:Mine,a.b=1")
