"""How a disk is plugged into a running QEMU behind each frontend, as QMP commands.

Every disk has a controller of its own, plugged in while the machine stands still. Where QEMU
has no setting for the depth of its queues, the guest's driver is told by the job runner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from freezingtime.frontend import Frontend, Queues, queues_of

#: The kernel modules that drive the frontends.
DRIVERS = ("virtio_blk", "virtio_scsi", "sd_mod", "ahci", "nvme")


class QmpCommand(NamedTuple):
    """One QMP command with its arguments."""

    name: str
    arguments: Mapping[str, object]


#: How many characters of a serial number a SATA or NVMe controller has room for.
_SERIAL_LENGTH = 20

#: QEMU's own; can_queue of Linux's driver.
_SCSI_RING_ENTRIES = 256


class ToldDepth(NamedTuple):
    """What the guest's driver has to be told: how deep a disk's queue is."""

    serial: str
    depth: int


def told_depth(frontend: Frontend, serial: str, queues: Queues) -> ToldDepth | None:
    """The depth that the driver does not find by itself; None: it does."""
    if frontend in (Frontend.SATA, Frontend.NVME) and queues.depth != queues_of(frontend).depth:
        return ToldDepth(serial[:_SERIAL_LENGTH], queues.depth)
    return None


def plug_commands(
    frontend: Frontend, node: str, serial: str, queues: Queues, *, write_cache: bool
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
            return [_virtio_blk(controller, disk, queues)]
        case Frontend.VIRTIO_SCSI:
            return _virtio_scsi(controller, disk, queues)
        case Frontend.SATA:
            return _sata(controller, disk)
        case Frontend.NVME:
            return [_device("nvme", controller, {**disk, "max_ioqpairs": queues.count})]


def _device(driver: str, name: str, properties: Mapping[str, object]) -> QmpCommand:
    return QmpCommand("device_add", {"driver": driver, "id": name, **properties})


def _virtio_blk(controller: str, disk: Mapping[str, object], queues: Queues) -> QmpCommand:
    """``ioeventfd=off`` has the doorbell handled in the vCPU thread, at the exact guest time;
    ``request-merging=off``: requests reach the device as the guest's driver made them;
    ``seg-max-adjust=off``: a short queue does not shorten requests.
    """
    properties = {
        "ioeventfd": False,
        "num-queues": queues.count,
        "queue-size": queues.depth,
        "seg-max-adjust": False,
        "request-merging": False,
        "discard": True,
        "write-zeroes": True,
    }
    return _device("virtio-blk-pci", controller, {**disk, **properties})


def _virtio_scsi(controller: str, disk: Mapping[str, object], queues: Queues) -> list[QmpCommand]:
    host = {
        "ioeventfd": False,
        "num_queues": queues.count,
        "cmd_per_lun": queues.depth,
        "virtqueue_size": max(_SCSI_RING_ENTRIES, 1 << (queues.depth - 1).bit_length()),
    }
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
