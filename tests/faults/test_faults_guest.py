# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults as a guest's kernel takes them, behind each frontend; and what a run says of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from freezingtime.disk.faults import with_faults
from freezingtime.frontend import Frontend
from tests.support.frontendlib import device_path
from tests.support.guestlib import read_record, run_guest

#: What the kernel says of a read of an unreadable sector, a failing write, one without space, and
#: one to a disk that is read-only.
MEDIUM, FAILED, FULL = "medium error", "I/O error", "space allocation error"
TARGET = "target error"
IN_WORDS = {
    Frontend.VIRTIO_BLK: (FAILED,) * 4,
    Frontend.VIRTIO_SCSI: (MEDIUM, FAILED, FULL, TARGET),
    Frontend.SATA: (FAILED,) * 4,
    Frontend.NVME: (MEDIUM,) * 4,
}
#: How often each is tried: virtio-blk's driver reports at once, and SCSI's what cannot get better.
TRIES = {
    Frontend.VIRTIO_BLK: (1, 1, 1, 1),
    Frontend.VIRTIO_SCSI: (1, 6, 1, 1),
    Frontend.SATA: (6, 6, 6, 6),
    Frontend.NVME: (6, 6, 6, 6),
}
#: Of the controller's own words.
DETAILS = {
    Frontend.VIRTIO_SCSI: [
        *("Sense Key : Medium Error", "Add. Sense: Unrecovered read error"),
        *("Sense Key : Aborted Command", "Add. Sense: I/O process terminated"),
        *("Sense Key : Hardware Error", "Add. Sense: Internal target failure"),
        *("Sense Key : Data Protect", "Add. Sense: Space allocation failed write protect"),
    ],
    Frontend.SATA: ["status: { DRDY ERR }", "error: { ABRT }"],
    Frontend.NVME: ["sct 0x2 / sc 0x81", "sct 0x2 / sc 0x80"],
}
RULES = (
    "unreadable,sectors=2048..2055",
    "error=EIO,operation=write,sectors=4096..4103",
    "error=ENOSPC,sectors=8192..8199",
    "read_only,sectors=12288..12295",
    "slow_by=3ms,sectors=16384..16391",
    "hang,from=30s,for=1s",
    "lose,sectors=24576..24583",
    "misdirect=8,operation=write,sectors=28672..28679",
    "flip=1,sectors=32768..32775",
    "torn,sectors=36864..36871",
    "error=EIO,operation=discard",
)
JOB = """
print() {{ echo "$1: $(dd $2 bs=4k count=1 2>&1 | tail -1)"; }}
for path in {paths}; do
    echo "device $(basename $(readlink $path))"
    print unreadable "if=$path of=/dev/null skip=256 iflag=direct"
    print failed "if=/dev/zero of=$path seek=512 oflag=direct"
    print full "if=/dev/zero of=$path seek=1024 oflag=direct"
    print read-only "if=/dev/zero of=$path seek=1536 oflag=direct"
    print healing "if=/dev/zero of=$path seek=256 oflag=direct"
    print healed "if=$path of=/dev/null skip=256 iflag=direct"
    print slow "if=$path of=/dev/null skip=2048 iflag=direct"
    for block in 3072 3584 4096 4608; do
        dd if=/job/ones of=$path bs=4k count=1 seek=$block oflag=direct 2>/dev/null
    done
    for block in 3072 3584 3585 4096 4608; do
        dd if=$path bs=4k count=1 skip=$block iflag=direct 2>/dev/null | cmp -l - /job/ones | wc -l
    done
    sleep 6  # the kernel prints ten such messages in five seconds
done
sleep $((32 - $(cut -d. -f1 /proc/uptime)))
for path in {paths}; do dd if=$path of=/dev/null bs=4k count=1 skip=8192 iflag=direct & done
wait
echo KERNEL
dmesg
"""


@pytest.mark.guest
def test_each_frontend_reports_faults_as_its_controller_does(tmp_path: Path) -> None:
    disks = [f"constant:50us,name={frontend}.1,frontend={frontend}" for frontend in Frontend]
    rules = [f"{frontend}.1:{rule}" for frontend in Frontend for rule in RULES]
    paths = " ".join(device_path(frontend, f"{frontend}.1") for frontend in Frontend)
    given = [str(disk) for disk in with_faults(disks, rules)]
    job = tmp_path / "job"
    job.mkdir()
    (job / "ones").write_bytes(b"\xff" * 4096)
    ran = run_guest(JOB.format(paths=paths), *given, out=tmp_path / "run", job_directory=job)
    said, kernel = ran.stdout.decode().split("KERNEL\n")
    rows = read_record(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "run.json").read_text())
    for frontend, part in zip(Frontend, said.split("device ")[1:], strict=True):
        device, *lines = part.splitlines()
        lost, at_its_place, astray, flipped, torn = (
            int(line) for line in lines if ": " not in line
        )
        assert (lost, at_its_place, astray, flipped) == (4096, 4096, 0, 1)
        assert torn in range(512, 4096, 512)
        outcome = {
            name: text for name, _, text in (line.partition(": ") for line in lines if ": " in line)
        }
        assert [name for name, text in outcome.items() if text == "1+0 records out"] == [
            *("healing", "healed", "slow")
        ]
        for sector, words in zip((2048, 4096, 8192, 12288), IN_WORDS[frontend], strict=True):
            assert f"{words}, dev {device}, sector {sector} " in kernel
        assert all(words in kernel for words in DETAILS.get(frontend, []))
        mine = [row for row in rows if row["disk"] == f"{frontend}.1"]
        hits = [rule["hits"] for rule in result["faults"][f"{frontend}.1"]]
        assert hits == [*TRIES[frontend], 1, 1, 1, 1, 1, 1, 0]
        counts = Counter(row["fault"] for row in mine)
        assert [counts[kind] for kind in ("unreadable", "error", "slow", "hang", "flip")] == [
            *(hits[0], sum(hits[1:4]), 1, 1, 1)
        ]
        assert {
            row["completion_ns"] - row["arrival_ns"] for row in mine if row["fault"] == "slow"
        } == {3_050_000}
        assert {row["delivery_ns"] for row in mine if row["fault"] == "hang"} == {
            ran.result.job.start_ns + 31 * 10**9
        }
    assert result["disk_errors"]
    assert ran.result.valid


#: What becomes of a request that gets no answer; SCSI's driver waits as long as it takes.
NO_ANSWER = {
    Frontend.VIRTIO_BLK: "I/O error, dev {}, sector 32768",
    Frontend.SATA: "hard resetting link",
    Frontend.NVME: "timeout, reset controller",
}


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("frontend", Frontend)
def test_a_guest_gives_up_on_a_request_without_an_answer(frontend: Frontend) -> None:
    """And what it ends by a reset of the controller is over on time."""
    path = device_path(frontend)
    ran = run_guest(
        f"dd if={path} of=/dev/null bs=4k count=1 skip=4096 iflag=direct\n"
        f"echo exit $?; basename $(readlink {path}); dmesg",
        f"constant:50us,frontend={frontend},fault=error=timeout\\,sectors=32768..32775\\,count=1",
    )
    (_, status), (device,), *kernel = (line.split() for line in ran.stdout.decode().splitlines())
    said = "\n".join(" ".join(words) for words in kernel)
    assert status == ("1" if frontend is Frontend.VIRTIO_BLK else "0")
    assert NO_ANSWER.get(frontend, "").format(device) in said
    assert ran.result.valid


SHUT_DOWN = """
pci=$(basename $(readlink -f /sys/class/nvme/nvme0/device))
echo $pci > /sys/bus/pci/drivers/nvme/unbind
jobs
wait
"""


@pytest.mark.guest
def test_a_controllers_shutdown_is_exact_beside_a_disk_at_work() -> None:
    """The flush by which QEMU's controller shuts down is none of the guest's requests."""
    ran = run_guest(
        f"dd if=/dev/vda of=/dev/null bs=4k count=2 iflag=direct & sleep 0.05\n{SHUT_DOWN}",
        *("constant:100ms,name=other", "constant:50us,frontend=nvme"),
    )
    assert b"Running" in ran.stdout  # the other disk's first read
    assert ran.result.valid


@pytest.mark.guest
@pytest.mark.slow
def test_a_controllers_reset_is_exact_beside_a_disk_at_work() -> None:
    ran = run_guest(
        "dd if=/dev/vda of=/dev/null bs=4k count=14 iflag=direct &\n"
        "dd if=/dev/nvme0n1 of=/dev/null bs=4k count=1 skip=100 iflag=direct\n"
        f"{SHUT_DOWN}dmesg | grep -c 'timeout, reset controller'",
        "constant:5s,name=other",
        "constant:50us,frontend=nvme,fault=error=timeout\\,sectors=800..807\\,count=1",
    )
    assert b"Running" in ran.stdout
    assert ran.stdout.split()[-1:] == [b"1"]
    assert ran.result.valid
