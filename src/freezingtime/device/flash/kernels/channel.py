# SPDX-License-Identifier: GPL-2.0-or-later
"""Channels: first come first served, for commands and data. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory

_NS_PER_S = 1_000_000_000


@inner
def transfer_ns(length_bytes: int, bytes_per_s: int) -> int:
    """Return the transfer time of bytes, to the nearest nanosecond."""
    return (length_bytes * _NS_PER_S + bytes_per_s // 2) // bytes_per_s


@inner
def occupy_channel(ssd: int, lane_id: int, duration_ns: int, now_ns: int) -> int:
    channel = memory.channels(ssd)[memory.lanes(ssd)[lane_id].channel]
    channel.free_ns = max(now_ns, channel.free_ns) + duration_ns
    channel.busy_ns += duration_ns
    return int(channel.free_ns)
