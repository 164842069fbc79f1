# SPDX-License-Identifier: GPL-2.0-or-later
"""The ``--disk`` option: from text to a device and a medium.

::

    DEVICE[,medium=memory|file:PATH][,size=SIZE][,writable=yes|no][,direct=yes|no]
          [,format=raw][,delay=TIME|MIN..MAX][,name=NAME][,frontend=virtio-blk|virtio-scsi|sata|nvme]
          [,write-cache=on|off][,queue-depth=NUMBER][,queues=NUMBER]
          [,block-size=SIZE[/SIZE]][,rotational=yes|no][,mount=PATH][,fs=ext4|xfs|btrfs]

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
mounted before the job, formatted with ``fs`` if it is blank. A comma that belongs to a value is
written ``\\,``.

Every :class:`InputError` from here is about ``--disk`` and begins with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from freezingtime.device.base import Device
from freezingtime.device.constant import CONSTANT, CONSTANT_KEYS, UNNAMED
from freezingtime.device.description import Description
from freezingtime.device.registry import describe, describe_constant
from freezingtime.disk.mount import Mount, parse_file_system, parse_mount_point
from freezingtime.disk_traits import NO_OVERRIDES, NO_TRAITS, DiskTraits, TraitOverrides
from freezingtime.errors import InputError
from freezingtime.frontend import DEFAULT_QUEUES, Frontend, Queues, queues_of
from freezingtime.medium.base import SECTOR_BYTES
from freezingtime.medium.delay import Delay
from freezingtime.units import parse_size_bytes, parse_time_ns

Value = TypeVar("Value")

DISK_KEYS = (
    *("medium", "size", "writable", "direct", "format", "delay", "name"),
    *("frontend", "write-cache", "queue-depth", "queues", "block-size", "rotational"),
    *("mount", "fs"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_EXAMPLE = "such as constant:read=10us,write=20us,medium=file:disk.img"


@dataclass(frozen=True, slots=True)
class MemorySpec:
    """``medium=memory``."""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """``medium=file:PATH``."""

    path: Path
    is_raw: bool = False
    """``format=raw``: its bytes are the disk's, whatever they look like."""


MediumSpec: TypeAlias = MemorySpec | FileSpec


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """One ``--disk`` option, parsed. ``text`` is the option as the user wrote it."""

    text: str
    name: str | None
    device: Description
    medium: MediumSpec
    delay: Delay | None
    size_bytes: int | None
    writable: bool
    direct: bool
    frontend: Frontend = Frontend.VIRTIO_BLK
    write_cache: bool = True
    queues: Queues = DEFAULT_QUEUES
    traits: DiskTraits = NO_TRAITS
    """What the disk says of itself, ``overrides`` included."""
    overrides: TraitOverrides = NO_OVERRIDES
    mount: Mount | None = None


def parse_disk(text: str) -> DiskSpec:
    """Parse a ``--disk`` option. Raises :class:`InputError` for whatever it cannot mean."""
    with about("--disk: "):
        first, *fields = _split_fields(text)
        kind_name, _, argument = first.partition(":")
        device = None
        if kind_name != CONSTANT:
            kind_name, argument = first, ""
            device = describe(first)
        parameters: dict[str, str] = {}
        if argument and "=" not in argument:
            parameters[UNNAMED] = argument
        elif argument:
            fields.insert(0, argument)
        options: dict[str, str] = {}
        for field in fields:
            _assign(field, kind_name, CONSTANT_KEYS if device is None else (), parameters, options)
        if device is None:
            device = describe_constant(parameters)
        return _disk_spec(text, device, options)


def build_device(spec: DiskSpec, seed: int, size_bytes: int | None = None) -> Device:
    """Make the disk's device, new and idle; ``seed`` feeds its randomness, if it has any.

    Raises :class:`InputError` when the device's description is not right.
    """
    return spec.device.build(seed, size_bytes)


@contextmanager
def about(prefix: str) -> Iterator[None]:
    """Say in an InputError what it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{error}") from error


def _split_fields(text: str) -> list[str]:
    """Split at commas, but not at those behind a backslash, which goes away."""
    fields = [field.replace("\\,", ",") for field in re.split(r"(?<!\\),", text)]
    if "" in fields:
        raise InputError(f"empty field in {text!r}; remove the extra comma, or write {_EXAMPLE}")
    return fields


def _assign(
    field: str,
    device: str,
    device_keys: tuple[str, ...],
    parameters: dict[str, str],
    options: dict[str, str],
) -> None:
    """Put one ``KEY=VALUE`` where it belongs: the device's parameters or the disk's options."""
    key, _, value = field.partition("=")
    if key in DISK_KEYS:
        destination = options
    elif key in device_keys:
        destination = parameters
        if options:
            raise InputError(
                f"{field}: belongs to the device; put it before {next(iter(options))}="
            )
    else:
        own = f"the device {device!r} has {', '.join(device_keys)}; " if device_keys else ""
        raise InputError(f"unknown key {key!r}; {own}a disk has {', '.join(DISK_KEYS)}")
    if not value:
        raise InputError(f"{key}: has no value; write {key}=VALUE")
    if key in destination:
        raise InputError(f"{field}: {key}= stands twice; keep one of them")
    destination[key] = value


def _parsed(values: Mapping[str, str], key: str, parse: Callable[[str], Value]) -> Value | None:
    """Parse the value of ``key``, or return None if it is not there."""
    text = values.get(key)
    if text is None:
        return None
    with about(f"{key}={text}: " if key else ""):
        return parse(text)


def _disk_spec(text: str, device: Description, options: Mapping[str, str]) -> DiskSpec:
    medium = _parsed(options, "medium", _parse_medium) or MemorySpec()
    if isinstance(medium, MemorySpec):
        for key in ("writable", "direct", "format"):
            if key in options:
                raise InputError(f"{key}={options[key]}: is for files; add medium=file:PATH")
    elif _parsed(options, "format", _parse_format):
        medium = replace(medium, is_raw=True)
    frontend = _parsed(options, "frontend", _parse_frontend) or Frontend.VIRTIO_BLK
    logical_bytes, physical_bytes = _parsed(options, "block-size", _parse_blocks) or (None, None)
    is_rotational = _parsed(options, "rotational", _parse_yes_no)
    overrides = TraitOverrides(logical_bytes, physical_bytes, is_rotational)
    traits = overrides.applied_to(device.traits())
    write_cache = _parsed(options, "write-cache", _parse_on_off)
    if write_cache is None:
        write_cache = traits.write_cache or frontend is Frontend.NVME
    elif frontend is Frontend.NVME and not write_cache:
        raise InputError(
            "write-cache=off: QEMU's nvme controller always says that it has one; "
            "use another frontend"
        )
    queues = queues_of(
        frontend,
        _parsed(options, "queue-depth", _parse_count),
        _parsed(options, "queues", _parse_count),
    )
    return DiskSpec(
        text=text,
        name=_parsed(options, "name", _parse_name),
        device=device,
        medium=medium,
        delay=_parsed(options, "delay", _parse_delay),
        size_bytes=_parsed(options, "size", _parse_disk_size_bytes),
        writable=_parsed(options, "writable", _parse_yes_no) or False,
        direct=_parsed(options, "direct", _parse_yes_no) or False,
        frontend=frontend,
        write_cache=write_cache,
        queues=queues,
        traits=traits,
        overrides=overrides,
        mount=_mount(options),
    )


def _mount(options: Mapping[str, str]) -> Mount | None:
    point = _parsed(options, "mount", parse_mount_point)
    file_system = _parsed(options, "fs", parse_file_system)
    if point is None:
        if file_system is not None:
            raise InputError(f"fs={file_system}: is for a disk that is mounted; add mount=PATH")
        return None
    return Mount(point) if file_system is None else Mount(point, file_system)


def _parse_medium(text: str) -> MediumSpec:
    kind, _, path = text.partition(":")
    if text == "memory":
        return MemorySpec()
    if kind == "file" and path:
        return FileSpec(Path(path))
    raise InputError("unknown medium; write memory or file:PATH")


def _parse_delay(text: str) -> Delay | None:
    first, dots, last = text.partition("..")
    min_ns = parse_time_ns(first)
    max_ns = parse_time_ns(last) if dots else min_ns
    if max_ns < min_ns:
        raise InputError("the longest delay is below the shortest; write MIN..MAX")
    return Delay(min_ns, max_ns) if max_ns else None


def _parse_disk_size_bytes(text: str) -> int:
    size_bytes = parse_size_bytes(text)
    if size_bytes == 0 or size_bytes % SECTOR_BYTES:
        raise InputError(f"must be a positive multiple of {SECTOR_BYTES} bytes, such as 1GiB")
    return size_bytes


def _parse_blocks(text: str) -> tuple[int, int]:
    """A logical block, and the physical one: the same unless said."""
    logical, slash, physical = text.partition("/")
    logical_bytes = parse_size_bytes(logical)
    physical_bytes = parse_size_bytes(physical) if slash else logical_bytes
    traits = DiskTraits(logical_block_bytes=logical_bytes, physical_block_bytes=physical_bytes)
    return traits.logical_block_bytes, traits.physical_block_bytes


def _parse_yes_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise InputError("write yes or no")
    return text == "yes"


def _parse_format(text: str) -> str:
    if text != "raw":
        raise InputError("write raw, or convert the file: qemu-img convert -O raw")
    return text


def _parse_on_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise InputError("write on or off")
    return text == "on"


def _parse_count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise InputError("write a whole number, such as 32")
    return int(text)


def _parse_frontend(text: str) -> Frontend:
    if text not in set(Frontend):
        raise InputError(f"unknown frontend; write one of {', '.join(Frontend)}")
    return Frontend(text)


def _parse_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise InputError("write up to 63 letters, digits, '.', '_' or '-', such as data-1")
    return text
