# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the trace formats; a list of them needs no reader."""

#: In the order of the help text; :mod:`freezingtime.trace.readers.formats` has the formats.
FORMAT_NAMES = (
    *("record", "iolog", "blkparse", "blkparse-queue", "ftrace", "biosnoop", "fiu", "msr", "csv"),
    *("spc", "alibaba", "tencent", "blkparse-csv", "mqsim", "disksim"),
)
