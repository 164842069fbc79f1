# SPDX-License-Identifier: GPL-2.0-or-later
"""The check of a recovered guest by default: of its file systems, and of what was acknowledged.

A job acknowledges with a line ``ACK NAME`` on its output, or ``ACK NAME SHA256``: from then on that
file must survive a power cut, with that content. The check finds the lines that had been printed
before the cut in the file ``acked``, without ``ACK``, where it starts (``/job``). Of several lines
for a file the last one counts.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

from freezingtime.disk.mount import Mount
from freezingtime.errors import InputError

# No shell reads a zero byte.
_ACK = re.compile(rb"^ACK ([^\n\0]+)\n", re.MULTILINE)

_HEAD = """#!/bin/sh
bad() { echo "$1"; exit 1; }
"""

# Of a name that was acknowledged again and again, what was said last is what must be there.
_ACKNOWLEDGED = """cd {point} || bad 'no directory {point}'
while read -r name digest; do
    [ -n "$name" ] || continue
    [ -e "$name" ] || bad "lost after it was acknowledged: $name"
    [ -z "$digest" ] && continue
    found=$(sha256sum <"$name") || bad "cannot read $name"
    [ "${{found%% *}}" = "$digest" ] || bad "not the content that was acknowledged: $name"
done <<EOF
$(awk '{{ last[$1] = $0 }} END {{ for (name in last) print last[name] }}' /job/acked)
EOF
cd /
"""

_FILE_SYSTEM = """
find {point} -xdev -type f -exec cat {{}} + >/dev/null || bad 'cannot read all files of {point}'
device=$(awk '$2 == "{point}" {{ print $1 }}' /proc/mounts)
umount {point} || bad 'cannot unmount {point}'
command -v {tool} >/dev/null || bad 'no {tool} in this guest: give --check'
{tool} {options} "$device" || bad 'the file system of {point} is damaged: {tool} exited with '$?
"""

_FSCK = {
    "ext4": ("e2fsck", "-fn"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check --readonly"),
}


class Acknowledged:
    """Acknowledgements of a job, by how much it had printed."""

    def __init__(self, output: bytes) -> None:
        found = list(_ACK.finditer(output))
        self._ends = [match.end() for match in found]
        self._names = [match[1] + b"\n" for match in found]

    def by(self, output_bytes: int) -> bytes:
        """The lines, without ``ACK``, that were printed as a whole within that."""
        return b"".join(self._names[: bisect.bisect_right(self._ends, output_bytes)])


def default_check(mounts: Sequence[Mount]) -> bytes:
    """The script that checks mounted file systems; acknowledged names are below the first.

    Raises:
        InputError: there are none.
    """
    if not mounts:
        raise InputError(
            "no disk has a file system to check; give --disk DEVICE,mount=DIRECTORY, or a check of "
            "your own with --check"
        )
    text = _HEAD + _ACKNOWLEDGED.format(point=mounts[0].point)
    # What is mounted inside another one is unmounted first.
    for mount in sorted(mounts, key=lambda mount: mount.point, reverse=True):
        tool, options = _FSCK[mount.file_system]
        text += _FILE_SYSTEM.format(point=mount.point, tool=tool, options=options)
    return text.encode()
