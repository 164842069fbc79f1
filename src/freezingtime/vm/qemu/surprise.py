# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP commands that take a disk from a running guest at once, and that give it back.

QEMU's own way for a PCI device is to ask the guest for it, which then writes back what it has and
lets go of the device: nothing is lost. Here the guest gets that notice, and the device is gone
before the guest executes another instruction: its configuration space reads as ones, which is by
what Linux knows that somebody has pulled it out. Whether the devices of a bus are asked for is up
to its handler of hot plug; that of the machine's serial ports does not ask, and is the bus's for
as long as one command takes. A SCSI disk goes at once, and its controller tells the guest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from freezingtime.errors import InputError
from freezingtime.frontend import Frontend
from freezingtime.vm.qemu.frontends import QmpCommand, controller_name

#: The device whose handler of hot plug does not ask.
_PORTS = "/machine/peripheral/ports"
_NOT_ASKING = f"{_PORTS}/virtio-backend"
_HANDLER = "hotplug-handler"
_SLOTS = range(32)

#: A device that QEMU can take away. Its AHCI controller goes on using a disk that is gone, and
#: so does its driver of the disk: QEMU 7.2 crashes.
REMOVABLE = (Frontend.VIRTIO_BLK, Frontend.VIRTIO_SCSI, Frontend.NVME)


@dataclass(frozen=True, slots=True)
class Plugging:
    """Commands, as JSON."""

    remove: Sequence[str]
    insert: Sequence[str]


class PciBus(NamedTuple):
    """The bus that a machine's disks are on."""

    path: str
    handler: str
    """The path of its handler of hot plug."""


#: Queries of the bus and, in its answer's place, of its handler.
BUS_QUERY = QmpCommand("qom-get", {"path": _PORTS, "property": "parent_bus"})


def handler_query(bus_path: str) -> QmpCommand:
    """Return the command that queries the path of a bus's handler."""
    return QmpCommand("qom-get", {"path": bus_path, "property": _HANDLER})


def free_slots(buses: Sequence[dict[str, object]]) -> list[int]:
    """Return the slots that ``query-pci`` shows to be free, the last one first.

    A disk that comes back gets one of its own: its old one is the guest's to let go of, which
    ejects whatever is in it.
    """
    devices = buses[0]["devices"]
    assert isinstance(devices, list)
    taken = {device["slot"] for device in devices}
    return [slot for slot in reversed(_SLOTS) if slot not in taken]


def plugging(
    frontend: Frontend, node: str, plug: Sequence[QmpCommand], bus: PciBus, free: list[int]
) -> Plugging:
    """Return the commands for a disk that ``plug`` has plugged in; takes a slot from ``free``.

    Raises:
        InputError: no slot is free to come back to.
    """
    controller = controller_name(node)
    if frontend is Frontend.VIRTIO_SCSI:
        *_, disk = plug
        remove = [QmpCommand("device_del", {"id": disk.arguments["id"]})]
        return Plugging(_texts(remove), _texts([disk]))
    if not free:
        raise InputError(
            "--disk: a disk that disappears comes back to a slot of its own, and this machine has "
            "none free; use fewer disks"
        )
    (disk,) = plug
    back = QmpCommand(disk.name, {**disk.arguments, "addr": f"{free.pop(0):#x}"})
    return Plugging(_texts(_pull(controller, bus)), _texts([back]))


def _pull(device: str, bus: PciBus) -> Iterator[QmpCommand]:
    yield QmpCommand("device_del", {"id": device})  # gives the guest notice
    yield QmpCommand("qom-set", {"path": bus.path, "property": _HANDLER, "value": _NOT_ASKING})
    yield QmpCommand("device_del", {"id": device})
    yield QmpCommand("qom-set", {"path": bus.path, "property": _HANDLER, "value": bus.handler})


def _texts(commands: Iterator[QmpCommand] | Sequence[QmpCommand]) -> list[str]:
    return [
        json.dumps({"execute": command.name, "arguments": command.arguments})
        for command in commands
    ]
