# SPDX-License-Identifier: GPL-2.0-or-later
"""The platter's angle as an exact function of guest time.

An angle is an integer from 0 to :data:`TURN`, which is also the number of nanoseconds in a
minute: in one nanosecond the platter turns by exactly ``rpm``. So no drift ever adds up, at
any speed and after any time.

These functions are plain Python for the model's own use, and leaves (they call nothing), so
that the kernels compile the very same source.
"""

from __future__ import annotations

#: A full turn; and the nanoseconds of a minute.
TURN = 60_000_000_000

#: Times are rounded up to whole nanoseconds: a head that is late by this much at most has met
#: its sector, or rounding would cost a turn.
TOLERANCE_NS = 2


def angle_at(now_ns: int, rpm: int, phase: int) -> int:
    """The angle under the heads at ``now_ns``; ``phase`` is the angle at time 0."""
    return ((now_ns % 60_000_000_000) * rpm + phase) % 60_000_000_000


def wait_ns(angle: int, target: int, rpm: int) -> int:
    """The time until ``target`` is under the heads that are over ``angle`` now, rounded up."""
    distance = (target - angle) % 60_000_000_000
    if distance >= 60_000_000_000 - 2 * rpm:
        return 0
    return (distance + rpm - 1) // rpm
