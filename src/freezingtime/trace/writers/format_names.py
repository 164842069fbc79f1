# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the formats that a record is written in; a list of them needs no writer."""

#: In the order of the help text; :mod:`freezingtime.trace.writers.export` has the writers.
EXPORT_FORMATS = ("csv", "fio-lat", "fio-iolog", "blkparse", "blktrace")
