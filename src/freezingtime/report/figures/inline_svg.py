# SPDX-License-Identifier: GPL-2.0-or-later
"""Adapting a figure's SVG to a page: the page's colours, text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

from freezingtime.report.figures.axes import NEUTRAL
from freezingtime.report.figures.style import COLORS, STYLE

#: matplotlib's settings for what :func:`inline_svg` takes.
INLINE_SETTINGS: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_LINK = f"{{{_SVG}}}a"
_REFERENCE = re.compile(r"#([\w.-]+)")
_CLIP = re.compile(r"url\(#([\w.-]+)\)")
# A tenth of a point is less than a screen shows.
_DECIMALS = re.compile(r"-?\d+\.\d{2,}")
_FONT = re.compile(r"font-family: [^;]*;?")
_GEOMETRY = ("d", "x", "y")
_PAGE_COLORS = {
    "#000000": "currentColor",
    NEUTRAL: "currentColor",
    "#ffffff": "var(--page)",
    STYLE["grid.color"]: "var(--grid)",
    **{color.lower(): f"var(--series-{number})" for number, color in enumerate(COLORS)},
}
_COLOR = re.compile("|".join(_PAGE_COLORS))


def inline_svg(svg: bytes, name: str, title: str, description: str) -> str:
    """An ``<svg>`` element that scales, with a title and a description for who cannot see it.

    ``name`` goes before all identifiers, so that several can stand in one page. The page has
    to define the colours ``--page``, ``--grid`` and ``--series-0`` to ``--series-5``.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(svg)
    _remove_page_wide(root)
    used = _references(root)
    for element in root.iter():
        _adapt(element, name, used)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    labels = {"title": title, "desc": description}
    for place, (tag, text) in enumerate(labels.items()):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    root.set("role", "img")
    root.set("aria-labelledby", " ".join(f"{name}-{tag}" for tag in labels))
    return ElementTree.tostring(root, encoding="unicode")


def _remove_page_wide(root: ElementTree.Element) -> None:
    """Remove styles that would apply to the whole page, and the drawing program's name."""
    for child in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(child)
    for definitions in root.findall(f"{{{_SVG}}}defs"):
        for style in definitions.findall(f"{{{_SVG}}}style"):
            definitions.remove(style)


def _references(root: ElementTree.Element) -> set[str]:
    used = set()
    for element in root.iter():
        used.update(_REFERENCE.findall(element.get(_HREF, "")))
        used.update(_CLIP.findall(element.get("clip-path", "")))
    return used


def _adapt(element: ElementTree.Element, name: str, used: set[str]) -> None:
    identifier = element.get("id")
    if identifier in used:
        element.set("id", f"{name}-{identifier}")
    elif identifier is not None:
        del element.attrib["id"]
    if element.tag == _LINK:  # tables have the same links, for who comes by keyboard
        element.set("tabindex", "-1")
    for attribute in (_HREF, "clip-path"):
        if attribute in element.attrib:
            element.set(attribute, element.attrib[attribute].replace("#", f"#{name}-"))
    for attribute in _GEOMETRY:
        if attribute in element.attrib:
            shorter = _DECIMALS.sub(_rounded, element.attrib[attribute])
            element.set(attribute, " ".join(shorter.split()))
    if "style" in element.attrib:
        style = _FONT.sub("", element.attrib["style"])
        element.set("style", _COLOR.sub(_page_color, style).strip("; "))
    if element.text is not None and not element.text.strip():
        element.text = None
    if element.tail is not None and not element.tail.strip():
        element.tail = "\n"


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}"


def _page_color(color: re.Match[str]) -> str:
    return _PAGE_COLORS[color[0]]
