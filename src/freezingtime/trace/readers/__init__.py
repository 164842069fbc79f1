"""Traces of other tools, and our own, read into columns.

A format is one module: it says whether it knows a file by its first line, and turns lines
into records. What all have in common, from gzip to the order of arrival, is done here.
"""

from __future__ import annotations

from freezingtime.trace.readers.columns import Trace
from freezingtime.trace.readers.formats import FORMAT_NAMES
from freezingtime.trace.readers.read import read_trace

__all__ = ["FORMAT_NAMES", "Trace", "read_trace"]
