# SPDX-License-Identifier: GPL-2.0-or-later
"""A database on devices that are not here: its own figures on each.

``python -m examples.databases sqlite``, ``postgresql`` or ``rocksdb``, with devices of the
catalogue (or descriptions) behind it if the ones below are not yours. The first time it builds
a guest image called ``databases``; that takes minutes, and what ``image build debian`` takes.
"""

from __future__ import annotations

import sys

from examples.example_table import Example, build_image, job_output, print_outputs

from freezingtime.errors import FreezingTimeError, InputError
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.guest_image import RootDisk

IMAGE = "databases"
PACKAGES = ("fio", "postgresql", "rocksdb-tools", "sqlite3")
ROOT = RootDisk("ext4", 4 << 30)
JOBS = ("sqlite", "postgresql", "rocksdb")
DEVICES = (
    "intel-optane-p5800x-1.6tb",
    "micron-7450-pro-960gb",
    "samsung-870-evo-1tb",
    "aws-gp3",
    "wd-ultrastar-dc-hc310-6tb",
)


def main() -> None:
    """Print the table."""
    job, *devices = sys.argv[1:] or [""]
    if job not in JOBS:
        raise InputError(f"{job!r}: name a job: {', '.join(JOBS)}")
    example = Example(job, IMAGE, DebianPlan(PACKAGES, ROOT), "2GiB")
    build_image(example)
    print_outputs([(device, job_output(example, device)) for device in devices or DEVICES])


if __name__ == "__main__":
    try:
        main()
    except FreezingTimeError as error:
        raise SystemExit(f"databases: {error}") from None
