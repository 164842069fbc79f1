# SPDX-License-Identifier: GPL-2.0-or-later
"""One page: what it says above all else, and its sections. It needs nothing beside itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from freezingtime._version import __version__
from freezingtime.host.replaced_file import replaced
from freezingtime.report.layout.templates import page_script, page_style, page_template
from freezingtime.report.tables import ReportTable

_LAYOUT = "layout.html"


@dataclass(frozen=True, slots=True)
class PageVerdict:
    """Line above all else that says how it ended."""

    kind: str
    """The class of its style: good or bad."""
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure, and what the script needs of it."""

    name: str
    svg: str
    caption: str
    panels: str = "[]"
    """What the script says of them where the pointer is, as JSON."""


@dataclass(frozen=True, slots=True)
class PageText:
    """Text as it is, line by line."""

    title: str
    content: str


#: A paragraph is plain text.
PagePart: TypeAlias = str | ReportTable | PageFigure | PageText


@dataclass(frozen=True, slots=True)
class PageSection:
    """A heading, and what is below it, in order."""

    name: str
    title: str
    parts: Sequence[PagePart] = ()
    is_folded: bool = False
    """Shown when it is asked for, and on paper."""
    short_title: str = ""
    """In the contents, if the title is too long for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that a page says."""

    title: str
    heading: str = ""
    """If it is not the title."""
    made_from: str
    subject: tuple[str, str] | None = None
    """A line below the heading: what it is said of, and its name."""
    verdicts: Sequence[PageVerdict]
    notices: Sequence[str]
    tables: Sequence[ReportTable] = ()
    """Above all sections."""
    sections: Sequence[PageSection]
    labels: Sequence[str] = ()
    """The name of each colour in the figures."""
    points: Sequence[Sequence[str]] = field(default=())
    """What each point of the figures says of itself, line by line."""


def render_page(page: Page, template: str = _LAYOUT, **more: Any) -> str:
    """The page as HTML; a ``template`` that extends the layout takes ``more``."""
    script = page_script()
    return page_template(template).render(
        page=page,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        labels=page_json(list(page.labels)),
        points=page_json([list(lines) for lines in page.points]) if page.points else "",
        style=page_style(),
        version=__version__,
        **more,
    )


def write_page(page: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = page.encode(errors="replace")
    with replaced(path) as file:
        file.write(content)


def page_json(value: Sequence[Any] | Mapping[str, Any]) -> str:
    """JSON that can stand in a page: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c")
