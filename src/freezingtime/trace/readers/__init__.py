# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of other tools, and our own, read into columns.

A format is one module: it says whether it knows a file by its first line, and turns lines
into records. What all have in common, from gzip to the order of arrival, is done here.
"""

from __future__ import annotations

from freezingtime.trace.readers.columns import Trace
from freezingtime.trace.readers.formats import FORMAT_NAMES
from freezingtime.trace.readers.hints import NO_HINTS, HintOptions, Hints, parse_hints
from freezingtime.trace.readers.read import read_trace
from freezingtime.trace.readers.reading import OnReading, Reading

__all__ = [
    "FORMAT_NAMES",
    "NO_HINTS",
    "HintOptions",
    "Hints",
    "OnReading",
    "Reading",
    "Trace",
    "parse_hints",
    "read_trace",
]
