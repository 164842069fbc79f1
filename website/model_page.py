# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of device models: every key that each takes, as the models declare it."""

from __future__ import annotations

import sys

from freezingtime.device.description import DeviceFile
from freezingtime.device.latency.distribution import Distribution
from freezingtime.device.latency.service_time import FlushTime
from freezingtime.device.registry import MODELS, declared_parameters
from freezingtime.device.schema import Parameters, keys_of, walk
from website.markdown import from_docstring, table

_HEADER = ("key", "kind", "allowed", "default", "what it is")


def models_page() -> str:
    """The page's Markdown: a section for a description's file, each model, the distributions."""
    file = f"## file\n\nWhat stands in the file of a device.\n\n{_keys(DeviceFile)}\n"
    return "\n".join([file, *map(_section, MODELS), _distributions()])


def _distributions() -> str:
    """A section for what a time may be drawn from, with a table for each kind."""
    fixed = next(key for key in keys_of(FlushTime) if key.name == "fixed")
    kinds = [
        f"### {kind}\n\n{from_docstring(declared.__doc__ or '')}\n\n{_keys(declared)}\n"
        for kind, declared in fixed.tagged_tables.items()
    ]
    docs = sys.modules[Distribution.__module__].__doc__ or ""
    return "\n".join([f"## distributions\n\n{from_docstring(docs)}\n", *kinds])


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
