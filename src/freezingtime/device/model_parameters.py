# SPDX-License-Identifier: GPL-2.0-or-later
"""Declared parameters of a device model, which make the device and know its traits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from freezingtime.device.base import Device
from freezingtime.device.parameters import Table
from freezingtime.device.schema import Parameters
from freezingtime.disk_traits import DiskTraits

#: Devices of these classes do not turn.
_STILL_CLASSES = ("flash", "scm", "mobile", "volume")


@dataclass(frozen=True)
class Making:
    """Arguments with which a device is made, beside its parameters."""

    table: Table
    """The table of the parameters, for messages."""
    seed: int
    size_bytes: int | None
    """The disk's size; None: the device's own."""
    make_member: Callable[[Table, int, int | None], Device]
    """Makes a member of a composition: of its table, a seed and its size."""
    with_history: bool = True
    """Whether to bring it into the state that is described at time 0; else it is about to go on
    from a saved one."""


class ModelParameters(Parameters, frozen=True):
    """All parameters of a model."""

    changeable: ClassVar[Sequence[str]] = ()
    """The keys, or tables of keys, that can change while the device runs."""

    def make(self, making: Making) -> Device:
        """Make the device, new and idle. Models import what takes long only here.

        Raises:
            InputError: the parameters do not go with the disk's size.
        """
        raise NotImplementedError

    def protects_writes(self) -> bool:
        """Return whether the model's own keys say that its cache survives a power loss."""
        return False

    def traits(self, device_class: str, member_traits: Callable[[Table], DiskTraits]) -> DiskTraits:
        """Return the traits of a disk of the model; ``member_traits`` returns those of a member."""
        return DiskTraits(rpm=0 if device_class in _STILL_CLASSES else None)
