# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of device models: every key that each takes, as the models declare it."""

from __future__ import annotations

import sys

from freezingtime.device.description import DeviceFile
from freezingtime.device.registry import MODELS, declared_parameters
from freezingtime.device.schema import Parameters, walk
from website.markdown import from_docstring, table

_HEADER = ("key", "kind", "allowed", "default", "what it is")


def models_page() -> str:
    """The page's Markdown: a section for a description's file, and one for each model."""
    file = f"## file\n\nWhat stands in the file of a device.\n\n{_keys(DeviceFile)}\n"
    return "\n".join([file, *map(_section, MODELS)])


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
