"""How a disk is plugged into a running QEMU behind each frontend, as QMP commands.

Every disk has a controller of its own, plugged in while the machine stands still. Whatever
the frontend, at most :data:`QUEUE_DEPTH` requests are under way per disk; where QEMU has no
setting for it, the guest's driver is told: by a kernel argument (nvme) or by the job runner
(sata).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from freezingtime.frontend import Frontend

#: The deepest queue that QEMU's NBD client can serve (MAX_NBD_REQUESTS): a guest that saw
#: a deeper one would have requests wait inside QEMU, where no device model sees them.
QUEUE_DEPTH = 16

#: One entry of an NVMe queue always stays empty.
NVME_QUEUE_ENTRIES = QUEUE_DEPTH + 1

#: The kernel modules that drive the frontends.
DRIVERS = ("virtio_blk", "virtio_scsi", "sd_mod", "ahci", "nvme")


class QmpCommand(NamedTuple):
    """One QMP command with its arguments."""

    name: str
    arguments: Mapping[str, object]


def plug_commands(
    frontend: Frontend, node: str, serial: str, *, write_cache: bool
) -> list[QmpCommand]:
    """The commands that make the block node ``node`` a disk of the guest.

    ``write_cache`` is what the controller says of itself; without it, QEMU has every write
    reach the medium before it completes (FUA).
    """
    disk: dict[str, object] = {
        "drive": node,
        "serial": serial,
        "write-cache": "on" if write_cache else "off",
    }
    controller = f"{node}-controller"
    match frontend:
        case Frontend.VIRTIO_BLK:
            return [_virtio_blk(controller, disk)]
        case Frontend.VIRTIO_SCSI:
            return _virtio_scsi(controller, disk)
        case Frontend.SATA:
            return _sata(controller, disk)
        case Frontend.NVME:
            return [_device("nvme", controller, {**disk, "max_ioqpairs": 1})]


def _device(driver: str, name: str, properties: Mapping[str, object]) -> QmpCommand:
    return QmpCommand("device_add", {"driver": driver, "id": name, **properties})


def _virtio_blk(controller: str, disk: Mapping[str, object]) -> QmpCommand:
    """``ioeventfd=off`` has the doorbell handled in the vCPU thread, at the exact guest time;
    ``request-merging=off``: requests reach the device as the guest's driver made them;
    ``seg-max-adjust=off``: the short queue does not shorten requests.
    """
    properties = {
        "ioeventfd": False,
        "num-queues": 1,
        "queue-size": QUEUE_DEPTH,
        "seg-max-adjust": False,
        "request-merging": False,
        "discard": True,
        "write-zeroes": True,
    }
    return _device("virtio-blk-pci", controller, {**disk, **properties})


def _virtio_scsi(controller: str, disk: Mapping[str, object]) -> list[QmpCommand]:
    host = {"ioeventfd": False, "num_queues": 1, "cmd_per_lun": QUEUE_DEPTH}
    return [
        _device("virtio-scsi-pci", controller, host),
        _device(
            "scsi-hd", f"{controller}-disk", {**disk, "bus": f"{controller}.0", "dpofua": True}
        ),
    ]


def _sata(controller: str, disk: Mapping[str, object]) -> list[QmpCommand]:
    """QEMU's SATA ports take no disk once the machine is built, unless somebody vouches for
    it: the machine does, as it does for PCI. The guest finds the disk when it finds the
    controller, so it sees no hot plug of SATA.
    """
    port = f"{controller}.0"
    return [
        _device("ich9-ahci", controller, {}),
        QmpCommand(
            "qom-set",
            {
                "path": f"/machine/peripheral/{controller}/{port}",
                "property": "hotplug-handler",
                "value": "/machine",
            },
        ),
        _device("ide-hd", f"{controller}-disk", {**disk, "bus": port}),
    ]
