# SPDX-License-Identifier: GPL-2.0-or-later
"""Marks that tie the guest's clock to guest time: a job of our own behind the user's.

The guest runs it when the user's job has ended, its record is closed and its files are handed over;
so nothing of that depends on it. It needs no program in the guest but a shell that reads the clock
without starting one: busybox's, or bash.
"""

from __future__ import annotations

import re

from freezingtime.vm.job import Job

#: The message that the clock's readings come in.
MARKS = "MARKS"
MARK_COUNT = 32
#: As many as one message has room for.
_READINGS_MAX = 2 * 128
_READING = re.compile(r"([0-9]{1,10})\.([0-9]{6})")

# Behind the last closing of the disk its blocks leave the page cache, so each reading of it is a
# request; nothing else has it open, once udev has looked at what the job runner wrote to it.
_SCRIPT = """
export LC_ALL=C
[ -n "$EPOCHREALTIME" ] || exec bash "$0"
inside=/run/freezingtime
control=/dev/disk/by-id/scsi-freezingtime-control
! command -v udevadm >/dev/null || udevadm settle
count=0
while [ $count -lt {count} ]; do
    before=$EPOCHREALTIME
    read -r -n 1 _ <$control || exit 1
    after=$EPOCHREALTIME
    marks="$marks $before $after"
    count=$((count + 1))
done
busybox=
[ ! -x $inside/busybox ] || busybox=$inside/busybox
printf '%s\\n' "{word}$marks" |
    $busybox dd of=$control bs=4096 seek=8192 count=1 conv=sync,notrunc oflag=direct
"""


def mark_job(ended: Job, *, in_container: bool) -> Job:
    """The job that makes the marks, and leaves the disks as the one before it was to.

    A container's image may have no shell of its own.
    """
    shell = "/run/freezingtime/sh" if in_container else "/bin/sh"
    script = _SCRIPT.format(count=MARK_COUNT, word=MARKS)
    return Job(f"#!{shell}{script}".encode(), sync=ended.sync, unmount=ended.unmount)


def parse_marks(text: str) -> list[tuple[int, int]]:
    """The readings before and after each request, in us, of a message that any process may send.

    Raises:
        ValueError: it is none.
    """
    word, *words = text.split() or [""]
    readings = [_READING.fullmatch(each) for each in words[:_READINGS_MAX]]
    if word != MARKS or len(words) % 2 or len(words) > _READINGS_MAX or None in readings:
        raise ValueError("the guest sent something else than readings of its clock")
    times_us = [int(found[1]) * 1_000_000 + int(found[2]) for found in readings if found]
    return list(zip(times_us[::2], times_us[1::2], strict=True))
