# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of device models: every key that each takes, as the models declare it."""

from __future__ import annotations

import sys

from freezingtime.device.description import DeviceFile
from freezingtime.device.registry import MODELS, declared_parameters
from freezingtime.device.schema import Parameters, walk
from website.markdown import from_docstring, table

_HEADER = ("key", "kind", "allowed", "default", "what it is")

_INTRODUCTION = """# Device models: all parameters

What stands in a [device's description](../devices.md), and under `[parameters]` for each `model`.
**Bold** keys are needed (in a table: if the table is there). Times are texts such as `"75us"`,
sizes `"4KiB"`, bandwidths `"3.2GB/s"`. An editor knows the same from a
[schema](../devices.md#in-an-editor).

## The file
"""


def models_page() -> str:
    """The page's Markdown."""
    return "\n".join([_INTRODUCTION, _keys(DeviceFile), "", *map(_section, MODELS)])


def _section(model: str) -> str:
    declared = declared_parameters(model)
    docs = sys.modules[declared.__module__].__doc__ or ""
    return f"## {model}\n\n{from_docstring(docs)}\n\n{_keys(declared)}\n"


def _keys(declared: type[Parameters]) -> str:
    """A table of the keys, those of tables below included."""
    rows = [
        (
            f"**`{path}`**" if key.needed else f"`{path}`",
            key.kind,
            key.allowed,
            key.shown_default,
            key.text,
        )
        for path, key in walk(declared)
    ]
    return table(_HEADER, rows)
