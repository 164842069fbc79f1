# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether Linux lets a thread be told when it is switched from: perf's software event."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

PARANOID_PATH: Final = Path("/proc/sys/kernel/perf_event_paranoid")

_PERF_EVENT_OPEN: Final = 298
_SOFTWARE, _CONTEXT_SWITCHES = 1, 3
_ATTRIBUTE_BYTES: Final = 112
_FLAG_CLOEXEC: Final = 8


def require_perf_signal() -> None:
    """Open the event for this very thread, as the agent will.

    Raises:
        OSError: it may not be.
    """
    attributes = bytearray(_ATTRIBUTE_BYTES)
    struct.pack_into("<IIQQ", attributes, 0, _SOFTWARE, _ATTRIBUTE_BYTES, _CONTEXT_SWITCHES, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    event = libc.syscall(
        _PERF_EVENT_OPEN,
        ctypes.c_char_p(bytes(attributes)),
        *(ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_ulong(_FLAG_CLOEXEC)),
    )
    if event < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.close(event)


def paranoia() -> str:
    """The host's setting, or "unknown"."""
    try:
        return PARANOID_PATH.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
