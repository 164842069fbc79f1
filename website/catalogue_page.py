# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of the catalogue: each entry's published figures, their sources, and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.description import Description
from freezingtime.device.registry import describe
from freezingtime.units import format_size_bytes
from website.markdown import table

#: The order of the list.
_CLASSES = ("flash", "scm", "disk", "volume", "mobile")
_TEXTS = (
    ("derived", "Derived"),
    ("fitted", "Fitted"),
    ("assumed", "Assumed"),
    ("notes", "Notes"),
    ("sources", "Sources"),
)
_CLIFF_FIGURES = ("cached_bandwidth", "cache", "after_cache_bandwidth", "fill_bandwidth")
_URL = re.compile(r"(https?://[^\s;,]+[^\s;,.)])")


def catalogue_pages() -> dict[str, str]:
    """The page of each entry, by its name, in Markdown."""
    return {entry.name: _page(entry) for entry in _entries()}


def catalogue_table() -> str:
    """The table of all entries, with links to their pages."""
    return table(("name", "class", "model", "capacity", "summary"), map(_row, _entries()))


def _entries() -> list[Description]:
    entries = [describe(name) for name in catalogue_names()]
    order = [*_CLASSES, *sorted({entry.device_class for entry in entries} - set(_CLASSES))]
    return sorted(entries, key=lambda entry: order.index(entry.device_class))


def _row(entry: Description) -> tuple[str, ...]:
    size_bytes = entry.capacity_bytes
    return (
        f"[`{entry.name}`]({entry.name}.md)",
        entry.device_class,
        entry.content["model"],
        "" if size_bytes is None else format_size_bytes(size_bytes),
        entry.summary,
    )


def _page(entry: Description) -> str:
    parts = [f"# {entry.name}\n\n{entry.summary}.\n"]
    published = entry.content.get("published", {})
    if published:
        rows = [
            (name.replace("_", " "), str(figure["value"]), figure["condition"], figure["source"])
            for name, figure in published.items()
        ]
        parts.append(table(("published", "value", "condition", "source"), rows) + "\n")
    if cliff := entry.content.get("cliff"):
        about = (cliff["condition"], cliff["source"])
        rows = [
            (name.replace("_", " "), cliff[name], *about)
            for name in _CLIFF_FIGURES
            if name in cliff
        ]
        parts.append(table(("written as a whole", "value", "condition", "source"), rows) + "\n")
    for key, heading in _TEXTS:
        lines = [
            f"- `{name}`: {_linked(text)}" for name, text in _texts(entry.content.get(key, {}))
        ]
        if lines:
            parts.append(f"**{heading}**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _texts(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _linked(text: str) -> str:
    return _URL.sub(r"<\1>", text.replace("*", "\\*"))
