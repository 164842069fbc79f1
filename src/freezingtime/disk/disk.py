# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk as its user specifies it: ``ft.Disk``, and what the ``--disk`` option is read into.

What it means, and whether it can be, is in :mod:`freezingtime.disk.spec`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freezingtime.device.changes.change import change_text
from freezingtime.device.constant import is_constant
from freezingtime.device.faults.rule_text import rule_text
from freezingtime.device.toml.changed import value_text
from freezingtime.option import with_clear_arguments

#: The option's name of a field that has another there.
MEDIUM = "medium"
#: The option's keys, in the order in which they are written.
DISK_KEYS = (
    *(MEDIUM, "size", "writable", "direct", "format", "delay", "name"),
    *("frontend", "write-cache", "queue-depth", "queues", "block-size", "rotational"),
    *("mount", "fs", "fault", "at"),
)
#: Those that may be given several times; and their field.
REPEATED = {"fault": "faults", "at": "at"}
#: The field of what has no key of its own: the device's parameters, each with its path.
PARAMETERS = "parameters"


@with_clear_arguments("ft.Disk")
@dataclass(frozen=True, slots=True, repr=False)
class Disk:
    """A disk of a run: a device, which decides when, and a medium, which decides what.

    Values may be text as in ``--disk``, such as ``"1GiB"`` and ``"3ms"``; a number is
    bytes or nanoseconds. What cannot be is said when the disk is used.
    """

    device: str | Path
    """A name of :func:`freezingtime.devices`, a TOML file, ``file.py:Class`` or ``module:Class``,
    or ``constant:10us`` and the like."""
    name: str | None = None
    """Its name in the guest (``/dev/disk/by-id/virtio-NAME``) and in the record."""
    file: str | os.PathLike[str] | None = None
    """The medium: a file; None: memory."""
    size: str | int | None = None
    writable: bool = False
    """Whether writes go to the file; else they are forgotten after the run."""
    direct: bool = False
    """Whether the file is accessed past the host's page cache."""
    delay: str | int | None = None
    """Real time that each call of the medium takes longer: a time, or ``"2.5ms..10ms"``."""
    frontend: str | None = None
    """The controller that the guest sees: ``"virtio-blk"`` (None: this one), ``"virtio-scsi"``,
    ``"sata"`` or ``"nvme"``."""
    write_cache: bool | None = None
    """Whether the controller says that it has a write cache; None: as the device has it."""
    queue_depth: int | None = None
    """How many requests one of its queues takes; None: as many as the real controller's."""
    queues: int | None = None
    """How many queues it has."""
    format: str | None = None
    """``"raw"``: the file's bytes are the disk's, even where they look like qcow2 or its kin."""

    block_size: str | int | None = None
    """Its logical block, ``"512/4096"``: and its physical one; None: as the device has it."""
    rotational: bool | None = None
    """Whether it says that it turns; None: what the device says."""
    mount: str | None = None
    """The directory of the guest on which it is mounted before the job, formatted if blank."""
    fs: str | None = None
    """The file system that it is formatted with: ``"ext4"`` (None: this one), ``"xfs"``,
    ``"btrfs"``."""
    parameters: Mapping[str, object] | None = dataclasses.field(default=None, hash=False)
    """Parameters of the device's model in place of its own, by their paths:
    ``{"mapping.over_provisioning": 0.2}``."""

    faults: Sequence[Mapping[str, object] | str] = dataclasses.field(default=(), hash=False)
    """How the device fails on purpose, beside what its description says: rules as ``--fault`` has
    them, ``"error=EIO,operation=read"``, or tables of their keys."""
    at: Sequence[Mapping[str, object] | str] = dataclasses.field(default=(), hash=False)
    """How its parameters change while it runs: ``"5s read=2ms"``, as ``--at`` has it, or tables of
    ``time`` and ``parameters``."""

    @property
    def spec(self) -> str:
        """The disk as the text of ``--disk``."""
        given = self.given_values()
        for field in REPEATED.values():
            given.pop(field, None)
        values = [
            f"{path}={_escaped(value_text(value))}"
            for path, value in (self.parameters or {}).items()
        ]
        values += [
            f"{key}={_option_value(key, given[field])}"
            for key in DISK_KEYS
            if (field := field_of(key)) in given
        ]
        values += [f"fault={_escaped(text)}" for text in map(_rule_text, self.faults)]
        values += [f"at={_escaped(text)}" for text in map(_change_text, self.at)]
        device = str(self.device)
        return ",".join([device if is_constant(device) else _escaped(device), *values])

    def __repr__(self) -> str:
        values = [f"{field}={value!r}" for field, value in self.given_values().items()]
        return f"Disk({', '.join([repr(self.device), *values])})"

    def given_values(self) -> dict[str, object]:
        """The values, but the device, that are none of the defaults; by their fields' names."""
        _, *fields = dataclasses.fields(self)
        values = {field.name: getattr(self, field.name) for field in fields}
        return {
            field.name: values[field.name]
            for field in fields
            if values[field.name] is not field.default
        }


def field_of(key: str) -> str:
    """The field of a :class:`Disk` that a key of the option is read into."""
    return "file" if key == MEDIUM else REPEATED.get(key, key.replace("-", "_"))


def key_of(field: str) -> str:
    """The option's key for a field of a :class:`Disk`."""
    repeated = {name: key for key, name in REPEATED.items()}
    return MEDIUM if field == "file" else repeated.get(field, field.replace("_", "-"))


def with_fault(disk: Disk | str, rule: str) -> Disk | str:
    """The disk with one more rule of faults, of that text; an option's text stays one."""
    if isinstance(disk, Disk):
        return dataclasses.replace(disk, faults=(*disk.faults, rule))
    return f"{disk},fault={_escaped(rule)}"


def with_change(disk: Disk | str, change: str) -> Disk | str:
    """The disk with one more change while it runs, of that text; an option's text stays one."""
    if isinstance(disk, Disk):
        return dataclasses.replace(disk, at=(*disk.at, change))
    return f"{disk},at={_escaped(change)}"


def _change_text(change: Mapping[str, object] | str) -> str:
    if isinstance(change, str):
        return change
    values = change.get("parameters")
    values = values if isinstance(values, Mapping) else {}
    return change_text(str(change.get("time")), values)


def _rule_text(rule: Mapping[str, object] | str) -> str:
    return rule if isinstance(rule, str) else rule_text(rule)


def _option_value(key: str, value: object) -> str:
    if isinstance(value, bool):
        return (("off", "on") if key == "write-cache" else ("no", "yes"))[value]
    if key == MEDIUM:
        return _escaped(f"file:{value}")
    return f"{value}ns" if key == "delay" and isinstance(value, int) else str(value)


def _escaped(text: str) -> str:
    return text.replace(",", "\\,")
