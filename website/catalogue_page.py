# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of the catalogue: each entry with its published figures, their sources, and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.description import Description
from freezingtime.device.registry import describe
from freezingtime.units import format_size_bytes
from website.markdown import table

_CLASSES = {
    "flash": "Flash drives",
    "scm": "Low-latency drives",
    "disk": "Hard disks",
    "volume": "Cloud volumes",
    "mobile": "Phones and cards",
}
_TEXTS = (
    ("derived", "Derived"),
    ("fitted", "Fitted"),
    ("assumed", "Assumed"),
    ("notes", "Notes"),
    ("sources", "Sources"),
)
_URL = re.compile(r"(https?://[^\s;,]+[^\s;,.)])")

_INTRODUCTION = """# Catalogue

`freezingtime devices` lists the same; `freezingtime devices NAME` also runs the model and shows
what it predicts beside what is published. What the tables of an entry mean, and what an entry
must fulfil: [the catalogue's rules](../devices.md#the-catalogues-rules). How near the models come
to real drives: [Accuracy](../accuracy.md).
"""


def catalogue_page() -> str:
    """The page's Markdown."""
    entries = [describe(name) for name in catalogue_names()]
    order = [*_CLASSES, *sorted({entry.device_class for entry in entries} - set(_CLASSES))]
    entries.sort(key=lambda entry: order.index(entry.device_class))
    rows = [_row(entry) for entry in entries]
    parts = [_INTRODUCTION, table(("name", "class", "model", "capacity", "what it is"), rows), ""]
    for device_class, members in groupby(entries, key=lambda entry: entry.device_class):
        parts.append(f"## {_CLASSES.get(device_class, device_class)}\n")
        parts += [_entry(member) for member in members]
    return "\n".join(parts)


def _row(entry: Description) -> tuple[str, ...]:
    size_bytes = entry.capacity_bytes
    return (
        f"[`{entry.name}`](#{_anchor(entry.name)})",
        entry.device_class,
        entry.content["model"],
        "" if size_bytes is None else format_size_bytes(size_bytes),
        entry.summary,
    )


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]", "-", name)


def _entry(entry: Description) -> str:
    parts = [f"### {entry.name} {{#{_anchor(entry.name)}}}\n\n{entry.summary}.\n"]
    published = entry.content.get("published", {})
    if published:
        rows = [
            (name.replace("_", " "), str(figure["value"]), figure["condition"], figure["source"])
            for name, figure in published.items()
        ]
        parts.append(table(("published", "value", "condition", "source"), rows) + "\n")
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
