# SPDX-License-Identifier: GPL-2.0-or-later
"""Meaning of a disk: from its user's options to a device and a medium.

The ``--disk`` option is::

    DEVICE[,medium=memory|file:PATH][,size=SIZE][,writable=yes|no][,direct=yes|no]
          [,format=raw][,delay=TIME|MIN..MAX][,name=NAME][,frontend=virtio-blk|virtio-scsi|sata|nvme]
          [,write-cache=on|off][,queue-depth=NUMBER][,queues=NUMBER]
          [,block-size=SIZE[/SIZE]][,rotational=yes|no][,mount=PATH][,fs=ext4|xfs|btrfs]
          [,fault=RULE]... [,at=CHANGE]...

DEVICE is ``constant:10us``, one time for everything, or ``constant:read=10us,write=20us``;
the device's own parameters (``read``, ``write``, ``flush``, ``discard``) come before the
disk's options, and a time that is not named is 0. Both can be mixed:
``constant:10us,flush=1ms``. Or DEVICE is a name of the catalogue, a file ``NAME.toml``, or the
user's own ``module:Class`` (:mod:`freezingtime.device.registry`).

The medium is memory unless ``medium`` says otherwise; memory has 1 GiB unless ``size`` says
otherwise. A file stays as it is, and writes go to a scratch file, unless ``writable=yes``. A file
that looks like a disk image in another form, such as qcow2, is refused unless ``format=raw``.
``delay`` makes every call of the medium take that much host time longer, or, with
``MIN..MAX``, a random time between the two. ``frontend`` is the
controller that the guest sees, ``write-cache`` whether that says it has one, and
``queue-depth`` and ``queues`` how many requests it takes at once
(:mod:`freezingtime.frontend`). ``block-size`` (a logical block, and behind a slash a physical
one) and ``rotational`` override what the device says of itself
(:mod:`freezingtime.disk_traits`). ``mount`` is the directory of the guest on which the disk is
mounted before the job, formatted with ``fs`` if it is blank. ``fault`` is a rule of how the device
fails (:mod:`freezingtime.device.faults.rule_text`); there may be several. ``at`` is a change of its
parameters while it runs (:mod:`freezingtime.device.changes.change`); there, too. A comma that
belongs to a value is written ``\\,``.

A Python caller gives the same as a :class:`~freezingtime.disk.disk.Disk`, which the option is read
into, too. So there is one place that says what the values mean; its messages name them as the user
wrote them: ``--disk: size=1000: ...``, ``Disk('constant:1us', size=1000): size=1000: ...``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from freezingtime.device.changes.change import change_table
from freezingtime.device.constant import CONSTANT_KEYS, is_constant
from freezingtime.device.description import Description
from freezingtime.device.faults.durability import Durability, durability_of
from freezingtime.device.faults.rule_text import parse_rule
from freezingtime.device.registry import describe, with_further_change
from freezingtime.device.toml.changed import is_parameter, read_value
from freezingtime.disk.disk import (
    DISK_KEYS,
    MEDIUM,
    PARAMETERS,
    REPEATED,
    Disk,
    field_of,
    key_of,
    with_change,
)
from freezingtime.disk.mount import FILE_SYSTEMS, Mount, parse_mount_point
from freezingtime.disk_traits import DiskTraits, TraitOverrides
from freezingtime.errors import InputError, about, did_you_mean
from freezingtime.frontend import Frontend, Queues, queues_of
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.medium.delay import Delay
from freezingtime.units import MAX_VALUE, parse_size_bytes, parse_time_ns

Value = TypeVar("Value")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_EXAMPLE = "such as constant:read=10us,write=20us,medium=file:disk.img"


@dataclass(frozen=True, slots=True)
class Given:
    """A disk as its user gave it, and how messages are to call it and its keys."""

    disk: Disk
    place: str
    """How a message about it begins."""
    option: str | None = None
    """The option's text; None: a Python caller's."""

    @property
    def shown(self) -> str:
        """All of it, as the user wrote it."""
        return repr(self.disk) if self.option is None else f"--disk {self.option}"

    def key(self, field: str) -> str:
        """Name of a field for the user."""
        return field if self.option is None else key_of(field)

    @property
    def file_form(self) -> str:
        """Form in which the user names a file."""
        return "file=PATH" if self.option is None else "medium=file:PATH"

    def value(self, field: str) -> str:
        """A field with its value, as the user wrote it."""
        value = getattr(self.disk, field)
        if self.option is None:
            return f"{field}={value!r}"
        return f"{key_of(field)}={'file:' if field == 'file' else ''}{value}"

    def read(self, field: str, reader: Callable[[Any], Value]) -> Value | None:
        """The value of a field, which ``reader`` takes as Python's or as text; None: not given.

        Raises:
            InputError: as ``reader`` does, with the key and the value.
        """
        value = getattr(self.disk, field)
        if value is None:
            return None
        with about(f"{self.value(field)}: "):
            return reader(value)


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk, checked: what it is made of, and what it says of itself."""

    given: Given
    name: str | None
    device: Description
    file: Path | None
    """The medium; None: memory."""
    is_raw: bool
    """Whether the file's bytes are the disk's, whatever they look like."""
    delay: Delay | None
    size_bytes: int | None
    writable: bool
    direct: bool
    frontend: Frontend
    write_cache: bool
    queues: Queues
    traits: DiskTraits
    """What the disk says of itself, ``overrides`` included."""
    overrides: TraitOverrides
    mount: Mount | None

    @property
    def durability(self) -> Durability:
        """Return what survives a power cut.

        A ``write_cache`` that the user gives is the disk's; an nvme controller always claims one.
        """
        own = self.given.read("write_cache", _on_or_off)
        return durability_of(
            self.device.durability,
            write_cache=self.traits.write_cache if own is None else own,
            logical_block_bytes=self.traits.logical_block_bytes,
            protects=self.device.find_protection(),
        )

    @property
    def text(self) -> str:
        """The disk as the text of ``--disk``, for records: as the user wrote it, if they did."""
        return self.given.disk.spec if self.given.option is None else self.given.option

    @property
    def as_given(self) -> Disk | str:
        """The disk as its user gave it."""
        return self.given.disk if self.given.option is None else self.given.option

    def with_change(self, text: str) -> DiskSpec:
        """Return the disk with one more change while it runs, of that text.

        Raises:
            InputError: there can be no such change; the text says nothing of its time.
        """
        device = with_further_change(self.device, text)
        changed = with_change(self.as_given, text)
        if isinstance(changed, Disk):
            return replace(self, given=replace(self.given, disk=changed), device=device)
        given = replace(self.given, option=changed, disk=read_option(changed))
        return replace(self, given=given, device=device)

    @property
    def capacity_bytes(self) -> int | None:
        """The size that it was given, or its device's own; None: it goes with any."""
        return self.size_bytes or self.device.capacity_bytes


def parse_disk(text: str, place: str = "--disk: ") -> DiskSpec:
    """Parse a ``--disk`` option. Raises :class:`InputError` if it is invalid.

    ``place``: how the messages begin.
    """
    with about(place):
        disk = read_option(text)
    return _checked(Given(disk, place, text))


def check_disk(disk: Disk | str, place: str = "--disk: ") -> DiskSpec:
    """Check a disk, which may be an option's text, too; ``place`` is for that.

    Raises:
        InputError: it cannot be; the text names the key as the user wrote it.
    """
    if isinstance(disk, str):
        return parse_disk(disk, place)
    return _checked(Given(disk, f"{disk!r}: "))


def read_option(text: str) -> Disk:
    """Read the option's text; values stay text, and are not looked at.

    Raises:
        InputError: it has a key that there is not, or one twice.
    """
    device, *pairs = _split_fields(text)
    takes_times = is_constant(device)
    options: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if takes_times and key in CONSTANT_KEYS:
            if options:
                first = key_of(next(iter(options)))
                raise InputError(f"{pair}: belongs to the device; put it before {first}=")
            device = f"{device},{pair}"
            continue
        if is_parameter(key):
            _take_parameter(options.setdefault(PARAMETERS, {}), key, value)
            continue
        if key not in DISK_KEYS:
            own = f"the device 'constant' has {', '.join(CONSTANT_KEYS)}; " if takes_times else ""
            raise InputError(
                f"unknown key {key!r}; {did_you_mean(key, DISK_KEYS)}{own}a disk has "
                f"{', '.join(DISK_KEYS)}"
            )
        if not value:
            raise InputError(f"{key}: has no value; write {key}=VALUE")
        if key in REPEATED:
            options[field_of(key)] = (*options.get(field_of(key), ()), value)
            continue
        if field_of(key) in options:
            raise InputError(f"{pair}: {key}= is given twice; keep one")
        options[field_of(key)] = _medium_file(value) if key == MEDIUM else value
    return Disk(device, **options)


def _take_parameter(parameters: dict[str, object], path: str, text: str) -> None:
    if not text:
        raise InputError(f"{path}: has no value; write {path}=VALUE")
    if path in parameters:
        raise InputError(f"{path}={text}: {path}= is given twice; keep one")
    parameters[path] = read_value(text)


def _split_fields(text: str) -> list[str]:
    """Split at commas except those after a backslash, which is removed."""
    fields = [field.replace("\\,", ",") for field in re.split(r"(?<!\\),", text)]
    if "" in fields:
        raise InputError(f"empty field in {text!r}; remove the extra comma, or write {_EXAMPLE}")
    return fields


def _medium_file(text: str) -> str | None:
    kind, _, path = text.partition(":")
    if text != "memory" and (kind != "file" or not path):
        raise InputError(f"medium={text}: unknown medium; write memory or file:PATH")
    return path or None


def _checked(given: Given) -> DiskSpec:
    with about(given.place):
        device = describe(
            str(given.disk.device),
            parameters=given.disk.parameters or {},
            faults=[_fault(given, rule) for rule in given.disk.faults],
            at=[_change(given, change) for change in given.disk.at],
        )
        file = given.read("file", Path)
        if file is None:
            _refuse_what_is_for_files(given)
        frontend = given.read("frontend", _frontend) or Frontend.VIRTIO_BLK
        logical_bytes, physical_bytes = given.read("block_size", _blocks) or (None, None)
        is_rotational = given.read("rotational", _yes_or_no)
        overrides = TraitOverrides(logical_bytes, physical_bytes, is_rotational)
        traits = overrides.applied_to(device.traits())
        return DiskSpec(
            given,
            name=given.read("name", _name),
            device=device,
            file=file,
            is_raw=given.read("format", _is_raw) or False,
            delay=given.read("delay", read_delay),
            size_bytes=given.read("size", _disk_size_bytes),
            writable=given.read("writable", _yes_or_no) or False,
            direct=given.read("direct", _yes_or_no) or False,
            frontend=frontend,
            write_cache=_write_cache(given, frontend, traits),
            queues=_queues(given, frontend),
            traits=traits,
            overrides=overrides,
            mount=_mount(given),
        )


def _fault(given: Given, rule: Mapping[str, object] | str) -> Mapping[str, Any]:
    """The table of a rule of faults, which may be its text."""
    if isinstance(rule, str):
        with about(f"{given.key('faults')} {rule}: "):
            return parse_rule(rule)
    if not isinstance(rule, Mapping):
        raise InputError(
            f"{given.key('faults')}: {rule!r}: write a rule's text, or a table of its keys"
        )
    return rule


def _change(given: Given, change: Mapping[str, object] | str) -> Mapping[str, Any]:
    """The table of a change while the device runs, which may be its text."""
    if isinstance(change, str):
        with about(f"{given.key('at')} {change}: "):
            return change_table(change)
    if not isinstance(change, Mapping):
        raise InputError(
            f"{given.key('at')}: {change!r}: write a change's text, or a table of time and "
            "parameters"
        )
    return change


def _refuse_what_is_for_files(given: Given) -> None:
    for field in ("writable", "direct", "format"):
        if getattr(given.disk, field) not in (None, False):
            raise InputError(f"{given.value(field)}: only for files; add {given.file_form}")


def _write_cache(given: Given, frontend: Frontend, traits: DiskTraits) -> bool:
    write_cache = given.read("write_cache", _on_or_off)
    if write_cache is None:
        return traits.write_cache or frontend is Frontend.NVME
    if frontend is Frontend.NVME and not write_cache:
        raise InputError(
            f"{given.value('write_cache')}: QEMU's nvme controller always says that it has one; "
            "use another frontend"
        )
    return write_cache


def _queues(given: Given, frontend: Frontend) -> Queues:
    usual = queues_of(frontend)
    depth = given.read("queue_depth", lambda value: queues_of(frontend, _count(value)).depth)
    count = given.read("queues", lambda value: queues_of(frontend, count=_count(value)).count)
    return Queues(depth or usual.depth, count or usual.count)


def _mount(given: Given) -> Mount | None:
    point = given.read("mount", parse_mount_point)
    file_system = given.read("fs", partial(_one_of, FILE_SYSTEMS, "file system"))
    if point is not None:
        return Mount(point, file_system or FILE_SYSTEMS[0])
    if file_system is not None:
        raise InputError(f"{given.value('fs')}: only for a mounted disk; add mount=PATH")
    return None


def read_delay(value: str | int) -> Delay | None:
    """Read a ``delay``: a time, or ``MIN..MAX``; None: there is none.

    Raises:
        InputError: it is none of these.
    """
    first, dots, last = value.partition("..") if isinstance(value, str) else (value, "", value)
    min_ns = _number(first, parse_time_ns)
    max_ns = _number(last, parse_time_ns) if dots else min_ns
    if max_ns < min_ns:
        raise InputError("the longest delay is below the shortest; write MIN..MAX")
    return Delay(min_ns, max_ns) if max_ns else None


def _number(value: str | int, parse: Callable[[str], int]) -> int:
    """The number of a unit, of a text or as it is."""
    return value if type(value) is int and 0 <= value <= MAX_VALUE else parse(str(value))


def _disk_size_bytes(value: str | int) -> int:
    size_bytes = _number(value, parse_size_bytes)
    if size_bytes == 0 or size_bytes % SECTOR_BYTES:
        raise InputError(f"must be a positive multiple of {SECTOR_BYTES} bytes, such as 1GiB")
    return size_bytes


def _blocks(value: str | int) -> tuple[int, int]:
    """Parse the logical and the physical block size, which default to equal."""
    logical, slash, physical = str(value).partition("/")
    logical_bytes = parse_size_bytes(logical)
    physical_bytes = parse_size_bytes(physical) if slash else logical_bytes
    traits = DiskTraits(logical_block_bytes=logical_bytes, physical_block_bytes=physical_bytes)
    return traits.logical_block_bytes, traits.physical_block_bytes


def _switch(yes: str, no: str, value: bool | str) -> bool:
    if value not in (True, False, yes, no):
        raise InputError(f"write {yes} or {no}")
    return value in (True, yes)


_yes_or_no = partial(_switch, "yes", "no")
_on_or_off = partial(_switch, "on", "off")


def _count(value: int | str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", str(value)):
        raise InputError("write a whole number, such as 32")
    return int(value)


def _is_raw(value: str) -> bool:
    if value != "raw":
        raise InputError("write raw, or convert the file: qemu-img convert -O raw")
    return True


def _one_of(words: Sequence[str], what: str, value: str) -> str:
    if value not in words:
        raise InputError(f"unknown {what}; write one of {', '.join(words)}")
    return value


def _frontend(value: str) -> Frontend:
    return Frontend(_one_of(tuple(Frontend), "frontend", value))


def _name(value: str) -> str:
    if not _NAME.fullmatch(str(value)):
        raise InputError("write up to 63 letters, digits, '.', '_' or '-', such as data-1")
    return str(value)
