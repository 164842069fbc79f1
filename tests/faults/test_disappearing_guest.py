# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that are pulled out of a running guest and come back, behind each frontend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freezingtime.frontend import Frontend
from tests.support.frontendlib import device_path
from tests.support.guestlib import GuestRun, read_record, run_guest

REMOVABLE = (Frontend.VIRTIO_BLK, Frontend.VIRTIO_SCSI, Frontend.NVME)
GONE_NS, BACK_NS = 1_000_000_000, 3_000_000_000
RULE = "disappear,from=1s,for=2s".replace(",", "\\,")
#: Of each disk's kernel messages: that it is gone, and that it is back.
MESSAGES = {
    Frontend.VIRTIO_BLK: ("I/O error, dev vda", "[vda] 131072 512-byte logical blocks"),
    Frontend.VIRTIO_SCSI: ("hostbyte=DID_BAD_TARGET", "LUN assignments on this target have"),
    Frontend.NVME: ("nvme0n1: detected capacity change from 131072 to 0", "pci function 0000:00:1"),
}
JOB = """
paths="{paths}"
for path in $paths; do echo marker | dd of=$path bs=512 conv=sync oflag=direct 2>/dev/null; done
for path in $paths {stays}; do
    device=$(readlink -f $path)
    ( dd if=$device of=/dev/null bs=4k iflag=direct count=100 2>/dev/null; echo "$path read $?" ) &
    ( dd if=/dev/zero of=$device bs=4k seek=100 oflag=direct count=100 2>/dev/null
      echo "$path written $?" ) &
done
wait
for path in $paths; do [ -e $(readlink -f $path) ] || echo "$path gone"; done
sleep 3
for path in $paths; do echo "$path $(head -c 6 $(readlink -f $path))"; done
echo KERNEL
dmesg
"""


def pulled(out: Path) -> GuestRun:
    """A run whose disks are all at work when three of the four are pulled out."""
    disks = [
        f"constant:20ms,name={frontend}.1,frontend={frontend},size=64MiB"
        + (f",fault={RULE}" if frontend in REMOVABLE else "")
        for frontend in Frontend
    ]
    paths = " ".join(device_path(frontend, f"{frontend}.1") for frontend in REMOVABLE)
    job = JOB.format(paths=paths, stays=device_path(Frontend.SATA, "sata.1"))
    return run_guest(job, *disks, out=out)


@pytest.mark.guest
@pytest.mark.slow
def test_a_disk_is_pulled_out_and_put_back_at_exact_times(tmp_path: Path) -> None:
    """And what is under way on another disk goes on as ever."""
    ran = pulled(tmp_path / "run")
    said, kernel = ran.stdout.decode().split("KERNEL\n")
    start_ns = ran.result.job.start_ns
    rows = read_record(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "run.json").read_text())
    for frontend in REMOVABLE:
        path = device_path(frontend, f"{frontend}.1")
        assert f"{path} read 1\n" in said
        assert f"{path} written 1\n" in said
        assert f"{path} gone\n" in said
        assert f"{path} marker\n" in said
        assert all(words in kernel for words in MESSAGES[frontend])
        mine = [row for row in rows if row["disk"] == f"{frontend}.1"]
        ended = [row for row in mine if row["fault"] is not None]
        assert len(ended) == 2
        assert {row["fault"] for row in ended} == {"disappear"}
        assert {row["delivery_ns"] - start_ns for row in ended} == {GONE_NS}
        arrivals_ns = [row["arrival_ns"] - start_ns for row in mine]
        assert not [time_ns for time_ns in arrivals_ns if GONE_NS <= time_ns <= BACK_NS]
        assert max(arrivals_ns) > BACK_NS
        assert [rule["hits"] for rule in result["faults"][f"{frontend}.1"]] == [1]
    others = [row for row in rows if row["disk"] == "sata.1" and row["length_bytes"] == 4096]
    assert {row["delivery_ns"] - row["arrival_ns"] for row in others} == {20_000_000}
    assert [row for row in others if row["arrival_ns"] < start_ns + GONE_NS < row["delivery_ns"]]
    assert ran.result.valid


@pytest.mark.guest
@pytest.mark.slow
def test_two_runs_with_disks_that_disappear_are_one(tmp_path: Path) -> None:
    runs = [pulled(tmp_path / name) for name in ("one", "two")]
    assert runs[0].stdout == runs[1].stdout
    one, two = (
        [
            {name: value for name, value in row.items() if "host" not in name}
            for row in read_record(tmp_path / out)
        ]
        for out in ("one", "two")
    )
    assert one == two


@pytest.mark.guest
@pytest.mark.slow
def test_a_guest_that_sleeps_has_its_disk_back_in_time() -> None:
    """QEMU frees what is unplugged in a thread of its own: a guest that sleeps is sooner."""
    disks = [
        f"constant:20ms,name={frontend}.1,frontend={frontend},size=64MiB"
        ",fault=disappear\\,from=1s\\,for=1s"
        for frontend in REMOVABLE
    ]
    ran = run_guest("sleep 5; cat /sys/block/*/size", *disks)
    assert ran.stdout.decode().split().count("131072") == len(REMOVABLE)
    assert ran.result.valid
