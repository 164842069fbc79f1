# SPDX-License-Identifier: GPL-2.0-or-later
"""Many small files on devices that are not here: tar and rsync on ext4, XFS and Btrfs.

``python -m examples.files``, with devices of the catalogue (or descriptions) behind it if the
ones below are not yours. The first time it builds a guest image called ``files``; that takes
minutes, and what ``image build debian`` takes.
"""

from __future__ import annotations

import sys

from examples.example_table import Example, build_image, job_output, print_outputs

from freezingtime.errors import FreezingTimeError
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.guest_image import RootDisk

FILE_SYSTEMS = ("ext4", "xfs", "btrfs")
DEVICES = ("micron-7450-pro-960gb", "samsung-870-evo-1tb", "wd-ultrastar-dc-hc310-6tb")


def files_example(file_system: str, count: int = 400) -> Example:
    """A tree of ``count`` files, unpacked and copied."""
    return Example(
        "files",
        "files",
        DebianPlan(("btrfs-progs", "rsync", "xfsprogs"), RootDisk("ext4", 4 << 30)),
        "1GiB",
        {"FILE_SYSTEM": file_system, "FILES": str(count)},
    )


def main() -> None:
    """Print the table."""
    examples = {name: files_example(name) for name in FILE_SYSTEMS}
    build_image(examples["ext4"])
    print_outputs(
        [
            (f"{device} {name}", job_output(example, device))
            for device in sys.argv[1:] or DEVICES
            for name, example in examples.items()
        ]
    )


if __name__ == "__main__":
    try:
        main()
    except FreezingTimeError as error:
        raise SystemExit(f"files: {error}") from None
