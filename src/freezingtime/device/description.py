# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a device before it is made, and how to make it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import field

from freezingtime.device.base import Device
from freezingtime.device.compose.composition_limits import whole_composition
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, SizeBytes, key
from freezingtime.device.traits import DISK_TABLE, DiskTable
from freezingtime.disk_traits import DiskTraits


class DeviceFile(Parameters, frozen=True, kw_only=True):
    """A description of a device, as it stands in a file."""

    summary: Annotated[str, key("what it is, in a line", missing="the file's name")] | None = None
    device_class: Annotated[str, key("for the list of devices")] = field(
        default="other", name="class"
    )
    capacity_bytes: (
        Annotated[SizeBytes, key("the disk's size unless one is given", least=512)] | None
    ) = None
    model: Annotated[str, key("which model the parameters are for")]
    parameters: Annotated[Table, key("the model's own keys")] | None = None
    disk: Annotated[DiskTable, key("what it says of itself")] = DiskTable()
    # Where the figures come from; models know nothing of them.
    published: Annotated[Table, key("figures of data sheets and the like")] | None = None
    measured: Annotated[Table, key("a curve that somebody has measured")] | None = None
    sources: Annotated[Table, key("where the figures are from")] | None = None
    derived: Annotated[Table, key("what follows from the sources, and how")] | None = None
    fitted: Annotated[Table, key("what was fitted to what was measured")] | None = None
    assumed: Annotated[Table, key("what nobody has published")] | None = None
    notes: Annotated[Table, key("anything else")] | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """A device, described; :meth:`build` makes it, new and idle, as often as needed."""

    name: str
    summary: str
    device_class: str
    capacity_bytes: int | None
    builder: Callable[[int, int | None], Device] = dataclasses.field(compare=False)
    content: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The whole TOML file: parameters, sources, published figures."""
    find_traits: Callable[[], DiskTraits] = dataclasses.field(default=DiskTraits, compare=False)
    """See :meth:`traits`."""

    def traits(self) -> DiskTraits:
        """What a disk of this device says of itself.

        Raises:
            InputError: a member's description is not right.
        """
        with whole_composition():
            return self.find_traits()

    def settings(self) -> dict[str, Any]:
        """What it says of the model, for the run's own description; of the user's own, nothing."""
        keys = ("model", "capacity", "parameters", DISK_TABLE)
        return {key: self.content[key] for key in keys if key in self.content}

    def headline(self) -> dict[str, Any]:
        """What a list of devices says of it."""
        return {
            "name": self.name,
            "class": self.device_class,
            "model": self.content.get("model"),
            "capacity_bytes": self.capacity_bytes,
            "summary": self.summary,
        }

    def build(self, seed: int, size_bytes: int | None = None) -> Device:
        """Make the device.

        Raises:
            InputError: its parameters are not right; the text names file, key and value.
        """
        with whole_composition():
            return self.builder(seed, size_bytes if size_bytes is not None else self.capacity_bytes)
