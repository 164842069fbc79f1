# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of a run: the one list of them, for the command line and for Python.

What they mean is in :mod:`freezingtime.runs.plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from freezingtime.disk.disk import Disk
from freezingtime.option import FilePath, Option, Values

CPU_RATE = "4G"
MEMORY = "512MiB"
CLOCK = "exact"
MAX_LEAK = "10us"

# No word is longer than a narrow terminal's column, where it would be cut short.
DISK_HELP = (
    "`DEVICE[,KEY=VALUE...]`. DEVICE: a name that `freezingtime devices` lists, a file "
    "`NAME.toml`, your own `FILE.py:CLASS`, `constant:10us` or `constant:read=10us,write=20us`. "
    "KEY: `medium=memory` or `medium=file:PATH`, `size=SIZE`, `writable=yes`, `direct=yes`, "
    "`format=raw`, `delay=TIME` or `delay=MIN..MAX` (slows the medium, not the device), "
    "`name=NAME`, "
    "`frontend=NAME` (`virtio-blk`, `virtio-scsi`, `sata`, `nvme`), "
    "`write-cache=on|off`, `queue-depth=NUMBER`, `queues=NUMBER`, "
    "`block-size=SIZE` or `block-size=512/4096`, `rotational=yes|no`, "
    "`mount=DIRECTORY` (formatted and mounted before the job), `fs=ext4|xfs|btrfs`, "
    "`fault=RULE` (as `--fault`), `at=CHANGE` (as `--at`), "
    "and parameters of the device, such as `mapping.over_provisioning=0.2`. "
    "A file is never changed unless `writable=yes`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """The machine that a job runs in, as a user writes it."""

    disks: Annotated[
        Sequence[Disk | str], Option("SPEC", DISK_HELP, flag="--disk", values=Values.DEVICE)
    ] = field(default=(), kw_only=False)
    faults: Annotated[
        Sequence[str],
        Option(
            "[DISK:]RULE",
            "How the device of a disk fails on purpose, such as `error=EIO,sectors=2048..4095` "
            "or `data:hang,from=2s,for=500ms`. DISK: its name, if there are "
            "several. Repeatable.",
            flag="--fault",
        ),
    ] = ()
    at: Annotated[
        Sequence[str],
        Option(
            "CHANGE",
            "What changes while the job runs, such as `5s read=2ms` or `5s data.write=80us`: a "
            "time from its start on, then parameters of the device, with the disk's name before "
            "each if there are several. Repeatable.",
            flag="--at",
        ),
    ] = ()
    guest: Annotated[
        str | None,
        Option(
            "NAME|FILE",
            "Guest to run: `mini` (`mini-trixie` is built from another Debian suite); an image "
            "that `freezingtime image list` shows; the disk (raw or qcow2) of your own system, "
            "which is not changed; `oci:PATH[:NAME]`, a container image (an OCI layout, or what "
            "`docker save` writes); or `dir:PATH`, a root file system in a directory. Default: "
            "`mini`, or the guest of `--from`.",
            values=Values.GUEST,
        ),
    ] = None
    kernel: Annotated[
        FilePath | None,
        Option("FILE", "For your own system: its kernel. Default: the one on its disk."),
    ] = None
    initrd: Annotated[FilePath | None, Option("FILE", "Initramfs for `--kernel`.")] = None
    append: Annotated[
        str | None,
        Option(
            "ARGUMENTS",
            "For your own system: arguments to append to its kernel command line, "
            "for example `root=/dev/sdb1`.",
        ),
    ] = None
    allow_backing: Annotated[
        Sequence[FilePath],
        Option(
            "DIR",
            "Also allow backing and data files of the disk in DIR, not only in the disk's own "
            "directory. Repeatable.",
        ),
    ] = ()
    root_device: Annotated[
        str | None,
        Option(
            "DEVICE",
            "The device of the guest's root disk, if the guest has one: `DEVICE[,delay=TIME]`. "
            "Unless named, it takes no time.",
            values=Values.DEVICE,
        ),
    ] = None
    memory: Annotated[
        str | None,
        Option("SIZE", f"Memory of the guest. Default: {MEMORY}, or that of `--from`."),
    ] = None
    cpus: Annotated[
        int | None,
        Option(
            "NUMBER",
            "Number of guest CPUs; each executes at `--cpu-rate`. Default: 1, or as many as "
            "`--from` has.",
        ),
    ] = None
    cpu_model: Annotated[
        str | None,
        Option(
            "LEVEL",
            "The x86-64 level of the guest's CPU: `v1`, `v2` (RHEL 9) or `v3` "
            "(RHEL 10, AVX2). Default: `v1`, or that of `--from`. `v2` and `v3` need QEMU 10 "
            "or later.",
        ),
    ] = None
    clock: Annotated[
        str,
        Option(
            "CLOCK",
            "Who executes the guest. `exact`: an emulated CPU; two runs are the same to the "
            "nanosecond. `kvm`: the host's CPU, at its own speed; each run is a little different. "
            "`auto`: `kvm` where the host's KVM will do.",
        ),
    ] = CLOCK
    max_leak: Annotated[
        str,
        Option(
            "TIME",
            "With `--clock kvm`: the run is invalid if a request is off by more than this: what it "
            "was late, and what the host took meanwhile that could not be taken out.",
        ),
    ] = MAX_LEAK
    start_from: Annotated[
        str | None,
        Option(
            "NAME",
            "Start from a snapshot that `--save` made: same guest, memory, CPUs and number of "
            "disks, on any devices.",
            flag="--from",
            values=Values.SNAPSHOT,
        ),
    ] = None
    save: Annotated[
        str | None,
        Option(
            "NAME",
            "If the job exits with 0, save machine and disks as a snapshot of this name.",
        ),
    ] = None
    qemu: Annotated[
        str | None,
        Option(
            "NAME|PATH",
            "The QEMU to run. `auto`: the pinned one, the same on every host, which is fetched "
            "into the cache once unless it is installed; `system`: the one that is installed; a "
            "program, or a directory into which its packages were unpacked with all that it needs; "
            "`debian:SUITE`, which is fetched as well. Unless named, what `FREEZINGTIME_QEMU` "
            "names, or `auto`.",
        ),
    ] = None
    locked: Annotated[
        FilePath | None,
        Option(
            "FILE",
            "Run in exactly the guest, and with the QEMU, of a file that `freezingtime lock` has "
            "written; what is not there is built of the very packages.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Make lists tuples, as a JSON document or a caller has them: equal options are equal."""
        for name in self.__dataclass_fields__:
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(MachineOptions):
    """Options of a run, as text that a user writes: guest, job, limits, results.

    The fields are named as the command line's options, but for ``disks``, which repeat
    ``--disk``, and ``start_from``: ``--from`` is a word of Python's.
    """

    env: Annotated[
        Sequence[str],
        Option(
            "NAME=VALUE", "Set a variable of the job's environment, such as `T=10`. Repeatable."
        ),
    ] = ()
    collect: Annotated[
        Sequence[str],
        Option(
            "PATTERN",
            "Copy the guest's files that match, such as `*.log`, to `collected/` in `--out`. "
            "Repeatable.",
        ),
    ] = ()
    collect_limit: Annotated[
        str, Option("SIZE", "Limit the total size of the collected files; more ends the run.")
    ] = "4GiB"
    metrics: Annotated[
        str,
        Option(
            "SOURCE",
            "Where the application's own figures come from. `auto`: lines `METRIC NAME VALUE "
            "[UNIT [lower|higher]]` and what fio (JSON), pgbench, sysbench, db_bench, speedtest1, "
            "YCSB, time and dd print, and a collected `metrics.json` or log of `pgbench -l`; one "
            "of these programs; the name of a collected file `NAME.json`; or `none`.",
        ),
    ] = "auto"
    time_limit: Annotated[str | None, Option("TIME", "End the job after this much guest time.")] = (
        None
    )
    real_time_limit: Annotated[
        str | None, Option("TIME", "End the job after this much real time.")
    ] = None
    expect: Annotated[
        str | None,
        Option(
            "TIME",
            "How much guest time the job will take, for an estimate of when it ends. Default: what "
            "it starts fio (`--runtime`), pgbench (`-T`) and sysbench (`--time`) with.",
        ),
    ] = None
    cpu_rate: Annotated[
        str, Option("RATE", "Instructions that each guest CPU executes per second of guest time.")
    ] = CPU_RATE
    start_delay: Annotated[
        str,
        Option(
            "TIME",
            "Let the guest wait for this much guest time, up to 20s, before it starts the job: its "
            "kernel's timers and write-back are then elsewhere in their periods.",
        ),
    ] = "0"
    seed: Annotated[
        int,
        Option(
            "NUMBER",
            "Seed of all randomness in the device models: the same seed, the same run. "
            "The job finds it in `FREEZINGTIME_SEED`.",
            minimum=0,
        ),
    ] = 0
    out: Annotated[
        FilePath | None,
        Option("DIR", "Write the results to DIR: `run.json`, `stdout.txt` and `requests.parquet`."),
    ] = None
    boot: Annotated[bool, Option("", "Boot the guest instead of starting from its snapshot.")] = (
        False
    )
    medium_deadline: Annotated[
        str,
        Option("TIME", "Fail if the medium takes more real time than this for one request."),
    ] = "60s"
    boot_deadline: Annotated[
        str, Option("TIME", "Fail if the guest takes more real time than this to boot.")
    ] = "300s"
