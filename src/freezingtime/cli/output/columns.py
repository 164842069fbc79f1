# SPDX-License-Identifier: GPL-2.0-or-later
"""Text in columns, for people and for `cut` alike: no line is ever wrapped.

Nor is one cut short, but on terminals, and there only in columns that may be.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from freezingtime.host.foreign_text import printable

_GAP = "  "
#: A column that is narrower says nothing.
_LEAST_WIDTH = 10


def print_columns(rows: Sequence[Sequence[str | Text]], *, shrink: Sequence[int] = ()) -> None:
    """Print rows of equal length on stdout, each column but the last as wide as its widest cell.

    The colour of a :class:`~rich.text.Text` shows on terminals only. On a terminal that is too
    narrow the columns that ``shrink`` names by their indexes are cut short, the first one first.
    """
    cells = [
        [Text(printable(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows
    ]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    console = Console(soft_wrap=True, highlight=False)
    if console.is_terminal and shrink:
        widths = narrowed(widths, console.width, shrink)
        for row in cells:
            for index in shrink:
                row[index].truncate(widths[index], overflow="ellipsis")
    for row in cells:
        *padded, last = row
        for cell, width in zip(padded, widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        console.print(Text(_GAP).join([*padded, last]))


def aligned(rows: Sequence[Sequence[str]], text_columns: int) -> list[list[str]]:
    """Pad the cells of each column to one width: text on the right, figures on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.ljust(width) if index < text_columns else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def narrowed(widths: Sequence[int], total: int, shrink: Sequence[int]) -> list[int]:
    """Take what is too much for ``total`` from the columns ``shrink``, the first one first."""
    narrow = list(widths)
    excess = sum(narrow) + len(_GAP) * (len(narrow) - 1) - total
    for index in shrink:
        taken = max(0, min(excess, narrow[index] - _LEAST_WIDTH))
        narrow[index] -= taken
        excess -= taken
    return narrow
