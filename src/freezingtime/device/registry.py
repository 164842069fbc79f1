# SPDX-License-Identifier: GPL-2.0-or-later
"""From a device's name, file or class to a device.

A description is a TOML file::

    summary = "what it is"
    class = "flash"              # for the list of devices
    capacity = "960GB"           # optional: the disk's size unless one is given
    model = "latency"            # see MODELS
    [parameters]                 # the model's own keys
    [disk]                       # what it says of itself: see .traits
    [durability]                 # what survives a power cut: see .faults.durability
    [[fault]]                    # how it fails, if it is to: see .faults.rule
    # where the figures come from, and what was measured
    [published] [measured] [sources] [derived] [fitted] [assumed] [notes]

Compositions name or contain their members: ``[[parameters.member]]`` with ``device =
"NAME"``, or with ``model`` and ``[parameters.member.parameters]``. A file that a member names is
looked for beside the file that names it.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
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
from freezingtime.device.changes.change import AT_TABLES, change_table, read_changes
from freezingtime.device.changes.present import present_values
from freezingtime.device.compose.composition_limits import one_member
from freezingtime.device.compose.members import Composition, member_of
from freezingtime.device.constant import constant_content, is_constant
from freezingtime.device.description import Description, DeviceFile
from freezingtime.device.faults.rule import (
    FAULT_TABLES,
    FaultTable,
    GivenFault,
    require_one_disappearance,
)
from freezingtime.device.faults.rule_text import rule_text
from freezingtime.device.model_parameters import Making, ModelParameters
from freezingtime.device.parameters import Table
from freezingtime.device.schema import left_out
from freezingtime.device.toml.changed import changed
from freezingtime.device.toml.toml_file import parse_toml, read_toml
from freezingtime.device.traits import describe_traits
from freezingtime.disk_traits import DiskTraits
from freezingtime.errors import InputError

#: What decides of a description how the device behaves, and what a guest is told of it.
_DECIDING = (
    "summary",
    "class",
    "capacity",
    "model",
    "parameters",
    "disk",
    "durability",
    "fault",
    "at",
)
#: A device as it is described.
NO_CHANGES: Mapping[str, object] = {}
#: Where the parameters of each model are declared. Some modules import numpy: only for who asks.
MODELS: dict[str, str] = {
    "constant": "freezingtime.device.constant:ConstantParams",
    "latency": "freezingtime.device.latency.model:LatencyParams",
    "empirical": "freezingtime.device.empirical.model:EmpiricalParams",
    "volume": "freezingtime.device.volume.model:VolumeParams",
    "disk": "freezingtime.device.disk.parameters:DiskParams",
    "flash": "freezingtime.device.flash.parameters:FlashParams",
    "stripe": "freezingtime.device.compose.composite:StripeParams",
    "mirror": "freezingtime.device.compose.composite:MirrorParams",
    "raid5": "freezingtime.device.compose.raid:Raid5Params",
    "raid6": "freezingtime.device.compose.raid:Raid6Params",
    "concatenation": "freezingtime.device.compose.composite:ConcatenationParams",
    "cache": "freezingtime.device.compose.tier:CacheParams",
    "perturb": "freezingtime.device.compose.perturb:PerturbedParams",
}


def declared_parameters(model: str) -> type[ModelParameters]:
    """Return the parameters a model declares; see :data:`MODELS`."""
    module, _, name = MODELS[model].partition(":")
    declared: type[ModelParameters] = getattr(importlib.import_module(module), name)
    return declared


def _declared_by_name(model: str) -> type[ModelParameters]:
    if model not in MODELS:
        raise InputError(f"model = {model!r}: must be one of: {', '.join(sorted(MODELS))}")
    return declared_parameters(model)


def defaults_of(description: Description) -> Iterator[tuple[str, str, str]]:
    """Path, default and text of each key of its model that a description leaves out."""
    model = description.content.get("model")
    if model is not None:
        yield from left_out(declared_parameters(model), description.content.get("parameters", {}))


def describe(
    text: str,
    directory: Path | None = None,
    parameters: Mapping[str, object] = NO_CHANGES,
    faults: Sequence[Mapping[str, Any]] = (),
    at: Sequence[Mapping[str, Any]] = (),
) -> Description:
    """The device that ``text`` names: ``constant:TIME``, one of the catalogue, a TOML file, or
    ``module:Class``; a relative path is one from ``directory`` (None: the working directory).

    ``parameters`` are in place of the description's own, by their paths
    (:mod:`freezingtime.device.toml.changed`); ``faults`` are rules of faults beside its own, each
    a table, and come behind those; ``at`` are changes while it runs, likewise.

    Raises:
        InputError: there is no such device, or its description is not right.
    """

    def described(content: Mapping[str, Any], file: str, name: str) -> Description:
        content = _with_tables(_with_tables(content, FAULT_TABLES, faults), AT_TABLES, at)
        content = changed(content, parameters)
        return from_content(content, file, name, added_fault_count=len(faults))

    if is_constant(text):
        # It is a time, and no disk: nothing is said of it.
        device = described(constant_content(text), text, text)
        return dataclasses.replace(device, find_traits=partial(_no_traits, device))
    if text.endswith(".toml"):
        path = Path(text) if directory is None else directory / text
        return described(read_toml(path), str(path), path.stem)
    if own_model.is_name(text):
        if parameters or at:
            given = next(iter(parameters), "at")
            raise InputError(f"{given}: {text} is Python code, which has no parameters to set")
        return _from_class(text, directory, faults)
    if text not in catalogue_names():
        raise InputError(
            f"unknown device {text!r}; {nearest(text)}; or write constant:10us, a file NAME.toml, "
            "or your own module:Class"
        )
    file = f"{text}.toml"
    return described(_catalogue_content(text, file), file, text)


def _with_tables(
    content: Mapping[str, Any], name: str, tables: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    own = content.get(name, [])
    if not tables or not isinstance(own, list):
        return content  # what is no list is refused when it is read
    return {**content, name: [*own, *tables]}


def _no_traits(described: Description) -> DiskTraits:
    """The traits of what has none; as for others, what is wrong in its parameters is said now."""
    described.traits()
    return DiskTraits()


@lru_cache
def _catalogue_content(name: str, file: str) -> dict[str, Any]:
    """The content of a catalogue's file, which nobody changes: a sweep asks for it again."""
    return parse_toml(catalogue_entry(name), file)


def is_device(text: str) -> bool:
    """Whether ``text`` is written as :func:`describe` wants it; it may still not be right."""
    return (
        is_constant(text)
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


def from_content(
    content: dict[str, Any], file: str, name: str, *, added_fault_count: int = 0
) -> Description:
    """The device that a TOML file's content describes; ``file`` is named in errors.

    The last ``added_fault_count`` rules of faults are not the file's, but its user's.

    Raises:
        InputError: the description is not right.
    """
    table = Table(content, file)
    declared = table.read(DeviceFile)
    model, summary = declared.model, name if declared.summary is None else declared.summary
    _check_model(table, model)
    describe_traits(table, declared.disk, "", DiskTraits())
    own_fault_count = len(declared.fault) - added_fault_count
    faults = [each.given() for each in declared.fault[:own_fault_count]]
    faults += _given_faults([each.content for each in declared.fault[own_fault_count:]])
    require_one_disappearance(faults)

    changes = read_changes(declared.at, content, file, _declared_by_name) if declared.at else ()

    def build(seed: int, size_bytes: int | None, with_history: bool) -> Device:
        return _make(table, model, seed, size_bytes, with_history=with_history)

    def find_protection() -> bool:
        return _read_parameters(table, model)[0].protects_writes()

    def find_traits() -> DiskTraits:
        of_model = _traits(table, model, declared.device_class)
        return describe_traits(table, declared.disk, summary, of_model)

    return Description(
        name,
        summary,
        declared.device_class,
        declared.capacity_bytes,
        build,
        content,
        find_traits,
        declared.durability,
        find_protection,
        faults,
        changes,
        lambda: _identity(table),
    )


def tunable(described: Description) -> Description:
    """The device, ready for further changes while it runs, if any key of it can change."""
    model = described.content.get("model")
    declared = None if model is None else declared_parameters(model)
    able = declared is not None and (bool(declared.changeable) or issubclass(declared, Composition))
    return dataclasses.replace(described, is_tunable=able)


def with_further_change(described: Description, text: str) -> Description:
    """The device with one more change while it runs, of that text.

    Raises:
        InputError: there can be no such change; the text says nothing of its time.
    """
    model = described.content.get("model")
    if model is None:
        raise InputError(f"{described.name} is Python code, which has no parameters to set")
    own = described.content.get(AT_TABLES, [])
    content = {**described.content, AT_TABLES: [*own, change_table(text)]}
    tables = Table(content, described.name).read(DeviceFile).at
    name = described.name
    changes = read_changes(tables, content, name, _declared_by_name, names_change=False)
    return dataclasses.replace(described, content=content, changes=changes)


def values_at(described: Description, time_ns: int) -> dict[str, str]:
    """Return what can change of the device, by path, with its value at a time of the job."""
    model = described.content.get("model")
    if model is None:
        return {}
    made = [change for change in described.changes if change.time_ns <= time_ns]
    return present_values(described.content, made, _declared_by_name)


def _given_faults(faults: Sequence[Mapping[str, Any]]) -> list[GivenFault]:
    """Rules that are in no file."""
    given = [FaultTable(each, f"fault {rule_text(each)}").given() for each in faults]
    require_one_disappearance(given)
    return given


def _from_class(
    text: str, directory: Path | None, faults: Sequence[Mapping[str, Any]]
) -> Description:
    factory = own_model.load(text, directory)
    module_name, _, class_name = text.rpartition(":")
    return Description(
        text,
        f"{class_name} of {module_name}",
        "own",
        None,
        lambda seed, _size_bytes, _with_history: own_model.build(text, factory, seed),
        {FAULT_TABLES: list(faults)} if faults else {},
        faults=_given_faults(faults),
        find_identity=lambda: {
            "class": class_name,
            "code": own_model.source_digests(text, directory),
            **({FAULT_TABLES: list(faults)} if faults else {}),
        },
    )


def _identity(table: Table) -> dict[str, Any]:
    content = {key: table.content[key] for key in _DECIDING if key in table.content}
    full: dict[str, Any] = _in_full(content, table.file)
    return full


def _in_full(value: Any, file: str) -> Any:
    """A part of a description, with those of the devices that it names."""
    if isinstance(value, list):
        return [_in_full(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    full = {key: _in_full(item, file) for key, item in value.items()}
    if isinstance(name := value.get("device"), str):
        table = Table(value, file)
        with one_member(table):
            full["device"] = _describe_member(name, table).find_identity()
    return full


def _check_model(table: Table, model: str) -> None:
    if model not in MODELS:
        raise table.error("model", f"must be one of: {', '.join(sorted(MODELS))}")


def _read_parameters(table: Table, model: str) -> tuple[ModelParameters, Table]:
    _check_model(table, model)
    parameters = table.below("parameters")
    return parameters.read(declared_parameters(model)), parameters


def _make(
    table: Table, model: str, seed: int, size_bytes: int | None, *, with_history: bool
) -> Device:
    params, parameters = _read_parameters(table, model)
    make_member = partial(_make_member, with_history=with_history)
    return params.make(Making(parameters, seed, size_bytes, make_member, with_history))


def _traits(table: Table, model: str, device_class: str) -> DiskTraits:
    params, _ = _read_parameters(table, model)
    return params.traits(device_class, _member_traits)


def _make_member(table: Table, seed: int, size_bytes: int | None, *, with_history: bool) -> Device:
    with one_member(table):
        member = member_of(table)
        if member.device is not None:
            described = _describe_member(member.device, table)
            if described.changes:
                raise table.error("device", "changes while it runs, which a part cannot")
            if described.faults:
                raise table.error(
                    "device",
                    "has faults, and is a part: compositions have no answer to a part's error; "
                    "give them to the whole device, or hold the part up with the model perturb",
                )
            return described.build(seed, size_bytes, with_history=with_history)
        return _make(table, member.model or "", seed + 1, size_bytes, with_history=with_history)


def _member_traits(table: Table) -> DiskTraits:
    with one_member(table):
        member = member_of(table)
        if member.device is not None:
            return _describe_member(member.device, table).traits()
        return _traits(table, member.model or "", "")


def _describe_member(name: str, table: Table) -> Description:
    """The device that a file names; whoever wrote it, and not the user, has named it."""
    if own_model.is_name(name) and not own_model.is_code_allowed():
        raise table.error(
            "device",
            "is Python code; if you trust the file and the code, allow it with --allow-code",
        )
    return describe(name, Path(table.file).parent)
