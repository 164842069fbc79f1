# SPDX-License-Identifier: GPL-2.0-or-later
"""Description of a device before it is made, and how to make it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import field

from freezingtime.device.base import Device
from freezingtime.device.changes.change import AT_TABLES, ChangeTable, GivenChange
from freezingtime.device.changes.changing_device import ChangingDevice
from freezingtime.device.compose.composition_limits import whole_composition
from freezingtime.device.faults.durability import NO_DURABILITY_TABLE, DurabilityTable
from freezingtime.device.faults.rule import FAULT_TABLES, FaultTable, GivenFault
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters, SizeBytes, key
from freezingtime.device.traits import DISK_TABLE, DiskTable
from freezingtime.disk_traits import DiskTraits


class DeviceFile(Parameters, frozen=True, kw_only=True):
    """A description of a device, as it stands in a file."""

    summary: Annotated[str, key("one-line summary", missing="the file's name")] | None = None
    device_class: Annotated[str, key("for the list of devices")] = field(
        default="other", name="class"
    )
    capacity_bytes: Annotated[SizeBytes, key("default size of the disk", least=512)] | None = None
    model: Annotated[str, key("model of the parameters")]
    parameters: Annotated[Table, key("the model's own keys")] | None = None
    disk: Annotated[DiskTable, key("traits it reports")] = DiskTable()
    durability: Annotated[DurabilityTable, key("what survives a power cut")] = NO_DURABILITY_TABLE
    fault: Annotated[tuple[FaultTable, ...], key("how the device fails, if it is to")] = ()
    at: Annotated[tuple[ChangeTable, ...], key("what changes while it runs")] = ()
    # Where the figures come from; models know nothing of them.
    published: Annotated[Table, key("figures from data sheets and similar sources")] | None = None
    measured: Annotated[Table, key("a measured load-latency curve")] | None = None
    cliff: Annotated[Table, key("published rates of writing the whole disk")] | None = None
    sources: Annotated[Table, key("sources of the figures")] | None = None
    derived: Annotated[Table, key("parameters derived from the sources, and how")] | None = None
    fitted: Annotated[Table, key("parameters fitted to measurements")] | None = None
    assumed: Annotated[Table, key("parameters that nobody has published")] | None = None
    notes: Annotated[Table, key("anything else")] | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """A device, described; :meth:`build` makes it, new and idle, as often as needed."""

    name: str
    summary: str
    device_class: str
    capacity_bytes: int | None
    builder: Callable[[int, int | None, bool], Device] = dataclasses.field(compare=False)
    content: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The whole TOML file: parameters, sources, published figures."""
    find_traits: Callable[[], DiskTraits] = dataclasses.field(default=DiskTraits, compare=False)
    """See :meth:`traits`."""
    durability: DurabilityTable = NO_DURABILITY_TABLE
    """What survives a power cut, as its table has it."""
    find_protection: Callable[[], bool] = dataclasses.field(default=bool, compare=False)
    """Returns whether the model's own keys say that its cache survives a power loss."""
    faults: Sequence[GivenFault] = dataclasses.field(default=(), compare=False)
    """How it fails."""
    changes: Sequence[GivenChange] = dataclasses.field(default=(), compare=False)
    """How its parameters change while it runs, in order of time."""
    find_identity: Callable[[], dict[str, Any]] = dataclasses.field(default=dict, compare=False)
    """See :meth:`identity`."""
    is_tunable: bool = dataclasses.field(default=False, compare=False)
    """Whether further changes may come while it runs."""

    def identity(self) -> dict[str, Any]:
        """Return all that decides how the device behaves, members and own code by content.

        Raises:
            InputError: a member's description is not right, or own code cannot be read.
        """
        with whole_composition():
            return self.find_identity()

    def traits(self) -> DiskTraits:
        """Return the traits of a disk of this device.

        Raises:
            InputError: a member's description is not right.
        """
        with whole_composition():
            return self.find_traits()

    def settings(self) -> dict[str, Any]:
        """Return the model's settings for the run's description; none for a user's own model."""
        keys = ("model", "capacity", "parameters", DISK_TABLE, FAULT_TABLES, AT_TABLES)
        return {key: self.content[key] for key in keys if key in self.content}

    @property
    def fault_texts(self) -> tuple[str, ...]:
        """The rules by which it fails, as ``--fault`` has them."""
        return tuple(given.text for given in self.faults)

    @property
    def change_texts(self) -> tuple[str, ...]:
        """The changes of its parameters, as ``--at`` has them."""
        return tuple(change.text for change in self.changes)

    @property
    def disappears(self) -> bool:
        """Whether it is to disappear."""
        return any(given.rule.disappear for given in self.faults)

    def headline(self) -> dict[str, Any]:
        """Summary in a list of devices."""
        return {
            "name": self.name,
            "class": self.device_class,
            "model": self.content.get("model"),
            "capacity_bytes": self.capacity_bytes,
            "summary": self.summary,
        }

    def build(
        self, seed: int, size_bytes: int | None = None, *, with_history: bool = True
    ) -> Device:
        """Make the device.

        Without its history, it must go on from a saved state before anything else.

        Raises:
            InputError: its parameters are not right; the text names file, key and value.
        """
        size_bytes = self.capacity_bytes if size_bytes is None else size_bytes
        for given in self.faults:
            given.check_size(size_bytes)
        with whole_composition():
            device = self.builder(seed, size_bytes, with_history)
        if self.changes or self.is_tunable:
            device = ChangingDevice(device, self.changes)
        if not self.faults:
            return device
        # It needs numpy, which a device that does not fail may do without.
        from freezingtime.device.faults.faulty_device import FaultyDevice

        return FaultyDevice(device, self.faults, seed, size_bytes)
