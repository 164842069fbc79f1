# SPDX-License-Identifier: GPL-2.0-or-later
"""Empty file systems, and their checks, for a guest that has no tools for them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from experiments.crash.programs import bring, find

from freezingtime.disk.mount import Mount
from freezingtime.explore.crash.check import default_check

#: Where the disk is mounted.
POINT = "/data"

_SIZES = {"ext4": 64 << 20, "xfs": 320 << 20, "btrfs": 128 << 20}
_TOOLS = {"ext4": "e2fsck", "xfs": "xfs_repair", "btrfs": "btrfs"}


def make_file_system(name: str, path: Path) -> str:
    """Make an image with an empty file system, unless it was; return what a disk has in ``--disk``.

    Raises:
        RunError: its tools are not installed.
    """
    if not path.exists():
        begun = path.with_suffix(".begun")
        with begun.open("wb") as file:
            file.truncate(_SIZES[name])
        options = ("-q", "-F") if name == "ext4" else ("-q",)
        subprocess.run([find(f"mkfs.{name}"), *options, begun], check=True, capture_output=True)
        begun.rename(path)
    return f"medium=file:{path},mount={POINT},fs={name}"


def file_system_check(name: str, first: str, job: Path) -> str:
    """The default check behind ``first``; its tool is brought along in the job's directory.

    Raises:
        RunError: the tool is not installed.
    """
    bring(_TOOLS[name], job)
    shebang, functions, rest = default_check([Mount(POINT, name)]).decode().split("\n", 2)
    return f"{shebang}\nPATH=/job:$PATH\n{functions}\n{first}\n{rest}"
