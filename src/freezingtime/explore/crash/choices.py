# SPDX-License-Identifier: GPL-2.0-or-later
"""Choices of a user of an exploration: words and limits, which help texts have, too."""

from __future__ import annotations

#: What a lost piece may hold beside its old content.
VALUE_WORDS = ("zero", "garbage", "unreadable")
#: Options of a run that are of its machine, or limits: those that an exploration has, too.
MACHINE_OPTIONS = (
    *("disks", "guest", "kernel", "initrd", "append", "allow_backing", "root_device"),
    *("memory", "cpus", "cpu_model", "qemu", "locked"),
    *("time_limit", "real_time_limit", "cpu_rate", "seed", "medium_deadline", "boot_deadline"),
)
#: How often the power may be cut.
DEPTHS = (1, 2)
CHECK_LIMIT = "60s"
#: A point with at most so many states has all of them derived: 10 pieces, each lost or kept.
EXHAUSTIVE_MOST = 1 << 10
#: And so many of one with more, unless the user says how many.
SAMPLED = 64

ALL_FLUSHES, EVERY_WRITE = "all-flushes", "every-write"
AT, AFTER = "at=", "after="
#: The forms of ``--points``.
FORMS = f"{ALL_FLUSHES}, {EVERY_WRITE}, a number, {AT}TIME, {AFTER}PATTERN"
