# SPDX-License-Identifier: GPL-2.0-or-later
"""The binary trace of blktrace, ``struct blk_io_trace`` of Linux's ``blktrace_api.h``, version 7.

Little-endian, as on the machines that are of interest here. An action is the number of what
happened and, above bit 16, a set of categories.
"""

from __future__ import annotations

import numpy as np

EVENT = np.dtype(
    [
        ("magic", "<u4"),
        ("sequence", "<u4"),
        ("time", "<u8"),
        ("sector", "<u8"),
        ("bytes", "<u4"),
        ("action", "<u4"),
        ("pid", "<u4"),
        ("device", "<u4"),
        ("cpu", "<u4"),
        ("error", "<u2"),
        ("pdu_len", "<u2"),
    ]
)
MAGIC = 0x65617400 | 7
DEVICE_MINOR_BITS = 20

CATEGORY_SHIFT = 16
READ, WRITE, FLUSH, SYNC = 1 << 0, 1 << 1, 1 << 2, 1 << 3
QUEUED, REQUEUED, ISSUED, COMPLETED = 1 << 4, 1 << 5, 1 << 6, 1 << 7
PACKET = 1 << 9
NOTIFY, AHEAD, META = 1 << 10, 1 << 11, 1 << 12
DISCARD, FUA = 1 << 13, 1 << 15

#: By their numbers, what happened to a request, in blkparse's letters.
LETTERS = {
    **{1: "Q", 2: "M", 3: "F", 4: "G", 5: "S", 6: "R", 7: "D", 8: "C"},
    **{9: "P", 10: "U", 11: "UT", 12: "I", 13: "X", 14: "B", 15: "A"},
}
NUMBERS = {letter: number for number, letter in LETTERS.items()}
