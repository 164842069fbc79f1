# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of readers share: texts read into rows, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from freezingtime.errors import InputError
from freezingtime.request import Operation
from freezingtime.trace.readers import Reading, Trace, read_trace

R, W, F, D = Operation.READ, Operation.WRITE, Operation.FLUSH, Operation.DISCARD


class Row(NamedTuple):
    arrival_ns: int
    operation: Operation
    offset_bytes: int
    length_bytes: int
    fua: bool = False


def rows(trace: Trace) -> list[Row]:
    columns = (
        trace.arrival_ns,
        trace.operation,
        trace.offset_bytes,
        trace.length_bytes,
        trace.fua,
    )
    return [
        Row(arrival, Operation(operation), offset, length, fua)
        for arrival, operation, offset, length, fua in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def read(tmp_path: Path, text: str, **options: Any) -> list[Row]:
    path = tmp_path / "trace"
    path.write_text(text, encoding="utf-8")
    return rows(read_trace(path, **options))


def told(tmp_path: Path, text: str, **options: Any) -> Reading:
    """What is said of how a trace was read."""
    readings: list[Reading] = []
    read(tmp_path, text, on_reading=readings.append, **options)
    (reading,) = readings
    return reading


def complaint(tmp_path: Path, text: str, **options: Any) -> str:
    """What is said of a malformed trace, without the directory."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


# Each: name, text, and the requests in it. Times start at the first arrival, but for our own.
GOOD = {
    "iolog": (
        "fio version 3 iolog\n"
        "20 /tmp/f add\n"
        "131 /tmp/f open\n"
        "135 /tmp/f read 61440 4096\n"
        "431 /tmp/f write 774144 8192\n"
        "557 /tmp/f sync 0 0\n"
        "618 /tmp/f trim 491520 4096\n"
        "701 /tmp/f close\n",
        [
            Row(0, R, 61440, 4096),
            Row(296_000, W, 774144, 8192),
            Row(422_000, F, 0, 0),
            Row(483_000, D, 491520, 4096),
        ],
    ),
    "blkparse": (
        "Input file sda.blktrace.0 added\n"
        "  8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]\n"
        "  8,0    3        2     0.000001829   697  G   W 223490 + 8 [kjournald]\n"
        "  8,0    3        6     0.000009000   697  D  WS 223490 + 8 [kjournald]\n"
        "  8,0    1        0     0.000009100     0  m   N cfq697 insert_request\n"
        "  8,0    3        7     0.001009000   697  D RSM 100 + 16 [cat]\n"
        "  8,0    3        8     0.001109000     0  C   W 223490 + 8 [0]\n"
        "  8,0    3        9     0.002009000     0  D  FF [kworker]\n"
        "  8,0    3       10     0.003009000     0  D WFS 8 + 8 [jbd2/sda1]\n"
        "  8,0    3       11     0.004009000     0  D  DS 1024 + 2048 [fstrim]\n"
        "  8,0    3       12     0.005009000     0  D   R 36 (12 00 00 00 24 00 ..) [hdparm]\n"
        "CPU3 (sda):\n"
        " Reads Queued:           1,        8KiB\t Writes Queued:           1,        4KiB\n",
        [
            Row(0, W, 223490 * 512, 4096),
            Row(1_000_000, R, 51200, 8192),
            Row(2_000_000, F, 0, 0),
            Row(3_000_000, W, 4096, 4096, True),
            Row(4_000_000, D, 524288, 1 << 20),
        ],
    ),
    "msr": (
        "128166372003061629,hm,0,Read,383496192,32768,413\n"
        "128166372003061639,hm,0,Write,2822144,65536,1288\n",
        [Row(0, R, 383496192, 32768), Row(1000, W, 2822144, 65536)],
    ),
    "csv": (
        "Timestamp,Response,IOType,LUN,Offset,Size\n"
        "1456470000.000000,0.0001,R,3,4096,8192\n"
        "1456470000.000250,,W,3,8192,512\n",
        [Row(0, R, 4096, 8192), Row(250_000, W, 8192, 512)],
    ),
    "mqsim": (
        "1000 0 16 8 1\n4096 0 800 16 0\n",
        [Row(0, R, 8192, 4096), Row(3096, W, 409600, 8192)],
    ),
}
