# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of other tools, and our own, read into columns.

A format is one module: it says whether it knows a file by its first line, and turns lines
into records. What all have in common, from gzip to the order of arrival, is done here.

The names here are loaded when they are used: the help text of a command needs no reader.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freezingtime.trace.readers.columns import Trace
    from freezingtime.trace.readers.format_names import FORMAT_NAMES
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

_MODULES = {
    "FORMAT_NAMES": "format_names",
    "NO_HINTS": "hints",
    "HintOptions": "hints",
    "Hints": "hints",
    "OnReading": "reading",
    "Reading": "reading",
    "Trace": "columns",
    "parse_hints": "hints",
    "read_trace": "read",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
