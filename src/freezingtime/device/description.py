# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a device before it is made, and how to make it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from freezingtime.device.base import Device
from freezingtime.device.composition_limits import whole_composition
from freezingtime.disk_traits import DiskTraits


@dataclass(frozen=True, slots=True)
class Description:
    """A device, described; :meth:`build` makes it, new and idle, as often as needed."""

    name: str
    summary: str
    device_class: str
    capacity_bytes: int | None
    builder: Callable[[int, int | None], Device]
    content: dict[str, Any] = field(default_factory=dict)
    """The whole TOML file: parameters, sources, published figures."""
    find_traits: Callable[[], DiskTraits] = DiskTraits
    """See :meth:`traits`."""

    def traits(self) -> DiskTraits:
        """What a disk of this device says of itself.

        Raises:
            InputError: a member's description is not right.
        """
        with whole_composition():
            return self.find_traits()

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
