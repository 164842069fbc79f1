# SPDX-License-Identifier: GPL-2.0-or-later
"""From a device's name, file or class to a device.

A description is a TOML file::

    summary = "what it is"
    class = "flash"              # for the list of devices
    capacity = "960GB"           # optional: the disk's size unless one is given
    model = "latency"            # see MODELS
    [parameters]                 # the model's own keys
    [disk]                       # what it says of itself: see .traits
    # where the figures come from, and what was measured
    [published] [measured] [sources] [derived] [fitted] [assumed] [notes]

Compositions name or contain their members: ``[[parameters.member]]`` with ``device =
"NAME"``, or with ``model`` and ``[parameters.member.parameters]``. A file that a member names is
looked for beside the file that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from freezingtime.device import own_model
from freezingtime.device.base import Device
from freezingtime.device.catalogue_search import (
    catalogue_entry,
    catalogue_names,
    matches,
    nearest,
    no_match,
)
from freezingtime.device.compose.composite import Concatenation, Mirror, Stripe
from freezingtime.device.compose.raid import ParityRaid
from freezingtime.device.compose.tier import SECTOR_BYTES, CacheTier
from freezingtime.device.composition_limits import one_member
from freezingtime.device.constant import CONSTANT, ConstantTimes
from freezingtime.device.description import Description
from freezingtime.device.parameters import Table
from freezingtime.device.toml_file import parse_toml, read_toml
from freezingtime.device.traits import check_traits, model_traits, parse_traits
from freezingtime.disk_traits import DiskTraits
from freezingtime.errors import InputError
from freezingtime.units import MAX_VALUE, format_time_ns

#: Builds a model from its parameters, a seed and the disk's size (None: its own).
Builder = Callable[[Table, int, int | None], Device]

#: Tables that say where the figures come from; models know nothing of them.
_DOCUMENTATION = ("published", "measured", "sources", "derived", "fitted", "assumed", "notes")
#: What is in a block of a cache tier is known by the sector, in one integer.
_TIER_BLOCK_BYTES_MOST = 64 << 20
_SLOW_FACTOR_MOST = 1e6


def describe(text: str, directory: Path | None = None) -> Description:
    """The device that ``text`` names: ``constant:TIME``, one of the catalogue, a TOML file, or
    ``module:Class``; a relative path is one from ``directory`` (None: the working directory).

    Raises:
        InputError: there is no such device, or its description is not right.
    """
    if text.partition(":")[0] == CONSTANT:
        return _constant(text)
    if text.endswith(".toml"):
        path = Path(text) if directory is None else directory / text
        return from_content(read_toml(path), str(path), path.stem)
    if own_model.is_name(text):
        return _from_class(text, directory)
    if text not in catalogue_names():
        raise InputError(
            f"unknown device {text!r}; {nearest(text)}; or write constant:10us, a file NAME.toml, "
            "or your own module:Class"
        )
    file = f"{text}.toml"
    return from_content(parse_toml(catalogue_entry(text), file), file, text)


def is_device(text: str) -> bool:
    """Whether ``text`` is written as :func:`describe` wants it; it may still not be right."""
    return (
        text.partition(":")[0] == CONSTANT
        or text.endswith(".toml")
        or own_model.is_name(text)
        or text in catalogue_names()
    )


def search_catalogue(pattern: str) -> list[Description]:
    """The catalogue's devices that match; see :func:`.catalogue_search.matches`.

    Raises:
        InputError: there is none; the text names those with names like it.
    """
    found = [
        device
        for device in map(describe, catalogue_names())
        if matches(pattern, device.name, (device.device_class, device.summary))
    ]
    if not found:
        raise no_match(pattern)
    return found


def from_content(content: dict[str, Any], file: str, name: str) -> Description:
    """The device that a TOML file's content describes; ``file`` is named in errors.

    Raises:
        InputError: the description is not right.
    """
    table = Table(content, file)
    summary = table.text("summary", name)
    device_class = table.text("class", "other")
    capacity_bytes = table.size_bytes("capacity", 0, least=512) or None
    for key in _DOCUMENTATION:
        table.sub(key)
    _check_model(table)
    check_traits(table)
    table.finish()

    def build(seed: int, size_bytes: int | None) -> Device:
        return _build_model(Table(content, file), seed, size_bytes, depth=0)

    def find_traits() -> DiskTraits:
        return parse_traits(Table(content, file), summary, device_class, _member_traits)

    return Description(name, summary, device_class, capacity_bytes, build, content, find_traits)


def _constant(text: str) -> Description:
    times = ConstantTimes.parse_text(text)
    parameters = {
        key.removesuffix("_ns"): format_time_ns(time_ns) for key, time_ns in asdict(times).items()
    }
    return Description(
        text,
        "the same time for every request of a kind",
        CONSTANT,
        None,
        lambda _seed, _size_bytes: times.build(),
        {"model": CONSTANT, "parameters": parameters},
    )


def _check_model(table: Table) -> None:
    table.choice("model", sorted(MODELS))
    table.sub("parameters")


def _build_model(table: Table, seed: int, size_bytes: int | None, depth: int) -> Device:
    builder = MODELS[table.choice("model", sorted(MODELS))]
    parameters = table.sub_or_empty("parameters")
    device = builder(parameters, seed + depth, size_bytes)
    parameters.finish()
    return device


def _from_class(text: str, directory: Path | None) -> Description:
    factory = own_model.load(text, directory)
    module_name, _, class_name = text.rpartition(":")
    return Description(
        text,
        f"{class_name} of {module_name}",
        "own",
        None,
        lambda seed, _size_bytes: own_model.build(text, factory, seed),
    )


def _members(
    table: Table, seed: int, size_bytes: int | None, *, least: int, spared: int | None = None
) -> list[Device]:
    """The members; each of the whole's size, or, if some are ``spared``, of its share."""
    tables = table.tables("member")
    count = table.integer("count", 1, least=1, most=64)
    if len(tables) == 1 and count > 1:
        tables = tables * count
    if len(tables) < least:
        raise table.error("member", f"needs at least {least} members ([[member]], or count = N)")
    if size_bytes is not None and spared is not None:
        size_bytes = -(-size_bytes // (len(tables) - spared) // 4096) * 4096
    return [
        _member(member, seed * 31 + number, size_bytes)
        for number, member in enumerate(tables, start=1)
    ]


def _member(table: Table, seed: int, size_bytes: int | None) -> Device:
    with one_member(table):
        if "device" in table:
            description = _describe_member(table)
            table.finish()
            return description.build(seed, size_bytes)
        device = _build_model(table, seed, size_bytes, depth=1)
        table.finish()
        return device


def _member_traits(table: Table) -> DiskTraits:
    with one_member(table):
        if "device" in table:
            return _describe_member(table).traits()
        return model_traits(table, "", _member_traits)


def _describe_member(table: Table) -> Description:
    """The device that a file names; whoever wrote it, and not the user, has named it."""
    name = table.text("device")
    if own_model.is_name(name) and not own_model.is_code_allowed():
        raise table.error(
            "device",
            "is Python code, which would be run; if you trust the file and the code, say so with "
            "--allow-code",
        )
    return describe(name, Path(table.file).parent)


def _one(table: Table, key: str, seed: int, size_bytes: int | None) -> Device:
    sub = table.sub(key)
    if sub is None:
        raise table.error(key, f'is missing; write [{key}] with device = "NAME" or model = ...')
    return _member(sub, seed, size_bytes)


def _stripe(table: Table, seed: int, size_bytes: int | None) -> Device:
    chunk_bytes = table.size_bytes("chunk", 64 * 1024, least=512)
    return Stripe(_members(table, seed, size_bytes, least=1, spared=0), chunk_bytes)


def _mirror(table: Table, seed: int, size_bytes: int | None) -> Device:
    return Mirror(_members(table, seed, size_bytes, least=2))


def _parity(parity_count: int) -> Builder:
    def build(table: Table, seed: int, size_bytes: int | None) -> Device:
        chunk_bytes = table.size_bytes("chunk", 512 * 1024, least=512)
        members = _members(table, seed, size_bytes, least=parity_count + 2, spared=parity_count)
        return ParityRaid(members, chunk_bytes, parity_count)

    return build


def _concatenation(table: Table, seed: int, _size_bytes: int | None) -> Device:
    tables = table.tables("member")
    sizes_bytes = [member.size_bytes("size", least=512) for member in tables]
    members = [
        _member(member, seed * 31 + number, size)
        for number, (member, size) in enumerate(zip(tables, sizes_bytes, strict=True), start=1)
    ]
    if not members:
        raise table.error("member", "needs at least 1 member")
    return Concatenation(members, sizes_bytes)


def _cache_tier(table: Table, seed: int, size_bytes: int | None) -> Device:
    cache_bytes = table.size_bytes("cache", least=4096)
    block_bytes = table.size_bytes("block", 64 * 1024, least=SECTOR_BYTES)
    if block_bytes % SECTOR_BYTES or block_bytes > _TIER_BLOCK_BYTES_MOST:
        raise table.error("block", f"must be a multiple of {SECTOR_BYTES}B, up to 64MiB")
    if block_bytes > cache_bytes:
        raise table.error("block", "must not be larger than the cache")
    return CacheTier(
        _one(table, "fast", seed * 31 + 1, cache_bytes),
        _one(table, "slow", seed * 31 + 2, size_bytes),
        cache_bytes=cache_bytes,
        block_bytes=block_bytes,
        write_back=table.boolean("write_back", True),
    )


def _perturb(table: Table, seed: int, size_bytes: int | None) -> Device:
    from freezingtime.device.compose.perturb import Perturb, PerturbParams

    inner = _one(table, "device", seed * 31 + 1, size_bytes)
    until_ns = table.time_ns("slow_until", 0, most=MAX_VALUE)
    params = PerturbParams(
        hiccup_probability=table.number("hiccup_probability", 0.0, most=1.0),
        hiccup_ns=table.time_ns("hiccup", 0),
        slow_factor=table.number("slow_factor", 1.0, least=1.0, most=_SLOW_FACTOR_MOST),
        slow_from_ns=table.time_ns("slow_from", 0, most=MAX_VALUE),
        slow_until_ns=until_ns or None,
        pause_every_ns=table.time_ns("pause_every", 0),
        pause_ns=table.time_ns("pause", 0),
    )
    if params.pause_every_ns and params.pause_ns >= params.pause_every_ns:
        raise table.error("pause", "must be shorter than pause_every")
    return Perturb(inner, params, seed)


@contextmanager
def _made_of(table: Table) -> Iterator[None]:
    """Say of an InputError, which a model finds out while it is made, what it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{table.file}: {error}") from error


# Models import numpy, and some of them a compiler: only for who builds one.


def _latency(table: Table, seed: int, _size_bytes: int | None) -> Device:
    from freezingtime.device.latency.model import LatencyDevice, LatencyParams

    return LatencyDevice(LatencyParams.parse(table), seed)


def _empirical(table: Table, seed: int, _size_bytes: int | None) -> Device:
    from freezingtime.device.empirical.model import EmpiricalDevice, EmpiricalParams

    return EmpiricalDevice(EmpiricalParams.parse(table), seed)


def _volume(table: Table, seed: int, size_bytes: int | None) -> Device:
    from freezingtime.device.volume.model import VolumeDevice, VolumeParams

    params = VolumeParams.parse(table)
    with _made_of(table):
        return VolumeDevice(params, seed, size_bytes)


def _disk(table: Table, seed: int, size_bytes: int | None) -> Device:
    from freezingtime.device.disk.model import DiskDevice
    from freezingtime.device.disk.parameters import parse

    params = parse(table)
    if size_bytes is not None and size_bytes > params.capacity_bytes:
        raise table.error("capacity", f"must be at least the disk's size, {size_bytes} bytes")
    return DiskDevice(params, seed, size_bytes)


def _flash(table: Table, seed: int, size_bytes: int | None) -> Device:
    from freezingtime.device.flash.model import FlashDevice
    from freezingtime.device.flash.parameters import parse

    params = parse(table)
    with _made_of(table):
        return FlashDevice(params, seed, size_bytes)


MODELS: dict[str, Builder] = {
    "latency": _latency,
    "empirical": _empirical,
    "volume": _volume,
    "disk": _disk,
    "flash": _flash,
    "stripe": _stripe,
    "mirror": _mirror,
    "raid5": _parity(1),
    "raid6": _parity(2),
    "concatenation": _concatenation,
    "cache": _cache_tier,
    "perturb": _perturb,
}
