# SPDX-License-Identifier: GPL-2.0-or-later
"""A video on devices that are not here: ffmpeg converts it, and says how fast it was.

``python -m examples.video``, with devices of the catalogue (or descriptions) behind it if the
ones below are not yours. The first time it builds a guest image called ``video``; that takes
minutes, and what ``image build debian`` takes.
"""

from __future__ import annotations

import sys

from examples.example_table import Example, build_image, job_output, print_outputs

from freezingtime.errors import FreezingTimeError
from freezingtime.images.debian.image import DebianPlan
from freezingtime.images.guest_image import RootDisk

DEVICES = ("intel-optane-p5800x-1.6tb", "samsung-870-evo-1tb", "wd-ultrastar-dc-hc310-6tb")


def video_example(frames: int = 250, disk: str = "/dev/vda") -> Example:
    """A video of so many frames, on a disk of the guest's."""
    return Example(
        "ffmpeg",
        "video",
        DebianPlan(("ffmpeg",), RootDisk("ext4", 4 << 30)),
        "256MiB",
        {"FRAMES": str(frames), "DISK": disk},
    )


def main() -> None:
    """Print the table."""
    example = video_example()
    build_image(example)
    print_outputs([(device, job_output(example, device)) for device in sys.argv[1:] or DEVICES])


if __name__ == "__main__":
    try:
        main()
    except FreezingTimeError as error:
        raise SystemExit(f"video: {error}") from None
