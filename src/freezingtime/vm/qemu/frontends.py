# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP commands that plug a disk into a running QEMU behind each frontend.

Every disk has a controller of its own, plugged in while the machine stands still. Where QEMU
has no setting for its queue depth, or for a trait of the disk, the job runner sets the guest's
driver. A disk without traits has QEMU's defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from freezingtime.disk_traits import NO_TRAITS, DiskTraits
from freezingtime.errors import InputError
from freezingtime.frontend import Frontend, Queues, queues_of

#: The kernel modules that drive the frontends.
DRIVERS = ("virtio_blk", "virtio_scsi", "sd_mod", "ahci", "nvme")


class QmpCommand(NamedTuple):
    """One QMP command with its arguments."""

    name: str
    arguments: Mapping[str, object]


#: How many characters of a serial number a virtio-blk, SATA or NVMe controller has room for.
_SERIAL_LENGTH = 20

#: QEMU's disks on SATA have no other (ide_dev_initfn()).
_ATA_SECTOR_BYTES = 512

#: Room in SCSI's INQUIRY data (SPC-4, 6.6.2).
_VENDOR_LENGTH, _PRODUCT_LENGTH = 8, 16

#: Rotation rate of a SCSI or ATA disk that is not rotational.
_DOES_NOT_TURN = 1

#: QEMU's own; can_queue of Linux's driver.
_SCSI_RING_ENTRIES = 256

#: What a disk fails is the guest's to know. By default QEMU stops the machine if a write finds no
#: room (blk_get_error_action()); its nvme controller always reports.
_REPORT_ERRORS = {"rerror": "report", "werror": "report"}


class DriverSetting(NamedTuple):
    """A setting of a disk's driver in the guest, as the job runner names it."""

    key: str
    """``depth`` (of its queue), ``rotational`` (0 or 1) or ``discard`` (0)."""
    serial: str
    value: int


def driver_settings(
    frontend: Frontend,
    serial: str,
    queues: Queues,
    traits: DiskTraits,
    ring_entries: int | None = None,
) -> Iterator[DriverSetting]:
    """Yield the settings that the driver cannot detect and QEMU cannot make.

    ``ring_entries`` is how long the queue is that QEMU has made, where the driver goes by that:
    some QEMUs make all of them of one length, whatever they are told.

    virtio-blk and NVMe have no word for a disk that turns. QEMU's NVMe controller always says
    that it discards.
    """
    serial = serial[:_SERIAL_LENGTH]
    found_depth = queues.depth
    if frontend in (Frontend.SATA, Frontend.NVME):
        found_depth = queues_of(frontend).depth
    elif frontend is Frontend.VIRTIO_BLK and ring_entries is not None:
        found_depth = ring_entries
    if queues.depth != found_depth:
        yield DriverSetting("depth", serial, queues.depth)
    if frontend in (Frontend.VIRTIO_BLK, Frontend.NVME) and traits.is_rotational is not None:
        yield DriverSetting("rotational", serial, int(traits.is_rotational))
    if frontend is Frontend.NVME and not traits.discards:
        yield DriverSetting("discard", serial, 0)


def require_possible(frontend: Frontend, traits: DiskTraits) -> None:
    """Require that the controller supports such a disk.

    Raises:
        InputError: it cannot.
    """
    if frontend is Frontend.SATA and traits.logical_block_bytes != _ATA_SECTOR_BYTES:
        raise InputError(
            f"frontend=sata: QEMU's disks there have logical blocks of "
            f"{_ATA_SECTOR_BYTES} bytes, not {traits.logical_block_bytes}; "
            "use blocks of that size, or another frontend"
        )


def ring_query(frontend: Frontend, node: str) -> QmpCommand | None:
    """Return the command that queries a plugged disk's queue length (``vring-num-default``)."""
    if frontend is not Frontend.VIRTIO_BLK:
        return None
    path = f"/machine/peripheral/{controller_name(node)}/virtio-backend"
    return QmpCommand("x-query-virtio-queue-status", {"path": path, "queue": 0})


def plug_commands(
    frontend: Frontend,
    node: str,
    serial: str,
    queues: Queues,
    traits: DiskTraits,
    *,
    write_cache: bool,
) -> list[QmpCommand]:
    """The commands that make the block node ``node`` a disk of the guest.

    ``write_cache`` is what the controller says of itself; without it, QEMU has every write
    reach the medium before it completes (FUA).
    """
    disk: dict[str, object] = {
        "drive": node,
        "serial": serial,
        "write-cache": "on" if write_cache else "off",
        **_block_properties(frontend, traits),
    }
    if frontend is not Frontend.NVME:
        disk |= _REPORT_ERRORS
    controller = controller_name(node)
    match frontend:
        case Frontend.VIRTIO_BLK:
            return [_virtio_blk(controller, disk, queues, traits)]
        case Frontend.VIRTIO_SCSI:
            return _virtio_scsi(controller, {**disk, **_scsi_names(traits)}, queues)
        case Frontend.SATA:
            model = {} if traits.model_name is None else {"model": traits.model_name}
            return _sata(controller, {**disk, **model})
        case Frontend.NVME:
            return [_device("nvme", controller, {**disk, "max_ioqpairs": queues.count})]


def _block_properties(frontend: Frontend, traits: DiskTraits) -> dict[str, object]:
    """Return the QEMU properties of a disk that differ from the defaults."""
    properties: dict[str, object] = {}
    if traits.logical_block_bytes != NO_TRAITS.logical_block_bytes:
        properties["logical_block_size"] = traits.logical_block_bytes
    if traits.physical_block_bytes != NO_TRAITS.physical_block_bytes:
        properties["physical_block_size"] = traits.physical_block_bytes
    if traits.optimal_io_bytes is not None:
        properties["opt_io_size"] = traits.optimal_io_bytes
    if frontend in (Frontend.VIRTIO_SCSI, Frontend.SATA):
        if traits.rpm is not None:
            properties["rotation_rate"] = traits.rpm or _DOES_NOT_TURN
        if not traits.discards:
            properties["discard_granularity"] = 0
    # A SATA disk discards sectors, whatever its granularity.
    if traits.discards and traits.discard_granularity_bytes and frontend is not Frontend.SATA:
        properties["discard_granularity"] = traits.discard_granularity_bytes
    return properties


def _scsi_names(traits: DiskTraits) -> dict[str, object]:
    """A model's name in SCSI's two fields: the maker's name, and the rest."""
    if traits.model_name is None:
        return {}
    vendor, _, product = traits.model_name.partition(" ")
    if not product:
        vendor, product = "", traits.model_name
    names = {"vendor": vendor[:_VENDOR_LENGTH], "product": product[:_PRODUCT_LENGTH]}
    return {key: name for key, name in names.items() if name}


def controller_name(node: str) -> str:
    """Return the name of the device that a disk's commands plug in first."""
    return f"{node}-controller"


def _device(driver: str, name: str, properties: Mapping[str, object]) -> QmpCommand:
    return QmpCommand("device_add", {"driver": driver, "id": name, **properties})


def _virtio_blk(
    controller: str, disk: Mapping[str, object], queues: Queues, traits: DiskTraits
) -> QmpCommand:
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
        "discard": traits.discards,
        # Zeros are written without sending them by unmapping: what does not discard does neither.
        "write-zeroes": traits.discards,
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
