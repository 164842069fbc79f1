# SPDX-License-Identifier: GPL-2.0-or-later
"""Small pieces of Markdown, and Markdown out of docstrings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

_ROLE = re.compile(r":(?:\w+:)?\w+:`~?\.?([^`]+)`")
_LITERAL = re.compile(r"::\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what stands in a cell is Markdown already."""
    lines = [header, ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def from_docstring(text: str) -> str:
    """A docstring in reStructuredText, as they are here, in Markdown."""
    text = _ROLE.sub(lambda match: f"`{_last_part(match[0], match[1])}`", text.strip() + "\n")
    text = text.replace("``", "`")
    text = _LITERAL.sub(_fenced, text)
    return re.sub(r"::$", ":", text, flags=re.MULTILINE).strip()


def _last_part(role: str, name: str) -> str:
    return name.rpartition(".")[2] if "`~" in role else name


def _fenced(match: re.Match[str]) -> str:
    body = textwrap.dedent(match[1]).strip("\n")
    kind = "toml" if re.search(r"^\[|^\w+ = ", body, re.MULTILINE) else "text"
    return f":\n\n```{kind}\n{body}\n```\n\n"
