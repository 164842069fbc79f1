# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of files and of a video: what they find is right, and depends on the device."""

from __future__ import annotations

import pytest
from examples.example_table import Example
from examples.files import FILE_SYSTEMS, files_example
from examples.video import video_example

from freezingtime.images.build import build_debian_image
from freezingtime.runs.run import run
from tests.conftest import require_root, require_tool
from tests.support.guestlib import Output

# Building the image takes minutes; it stays in the cache for the next time.
pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.timeout(1800)]

FAST, SLOW = "micron-7450-pro-960gb", "wd-ultrastar-dc-hc310-6tb"


def outputs(example: Example, device: str) -> tuple[dict[str, str], int]:
    """What the job prints, and the guest time of its end."""
    require_tool("mmdebstrap")
    require_root()
    build_debian_image(example.image, example.system)
    output = Output()
    result = run(example.plan(device), output)
    assert result.job.exit_status == 0, output.stderr.decode()
    assert result.valid
    lines = output.stdout.decode().splitlines()
    return dict(line.split(" ", 1) for line in lines), result.job.end_ns


@pytest.mark.parametrize("file_system", FILE_SYSTEMS)
def test_files_are_copied_whole_in_the_time_of_the_device(file_system: str) -> None:
    example = files_example(file_system, count=60)
    fast, _ = outputs(example, FAST)
    slow, end_ns = outputs(example, SLOW)
    for found in (fast, slow):
        assert found["files"] == "60"
        assert found["file_system"] == "ok"
    assert int(slow["rsync_ms"]) > int(fast["rsync_ms"]) + 20
    assert outputs(example, f"{SLOW},delay=1ms") == (slow, end_ns)


def test_a_video_is_converted_alike_in_the_time_of_the_device() -> None:
    example = video_example(frames=60)
    fast, _ = outputs(example, FAST)
    slow, end_ns = outputs(example, SLOW)
    for found in (fast, slow):
        assert found["frames"] == "60"
        assert found["file_system"] == "ok"
    assert fast["video"] == slow["video"]
    assert int(slow["conversion_ns"]) > int(fast["conversion_ns"])
    assert int(slow["sync_ns"]) > int(fast["sync_ns"]) + 5_000_000
    assert outputs(example, f"{SLOW},delay=1ms") == (slow, end_ns)
