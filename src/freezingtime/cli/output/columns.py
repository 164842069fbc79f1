# SPDX-License-Identifier: GPL-2.0-or-later
"""Text in columns, for people and for `cut` alike: no line is ever cut short or wrapped."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from freezingtime.host.foreign_text import printable

_GAP = "  "


def print_columns(rows: Sequence[Sequence[str | Text]]) -> None:
    """Print rows of equal length on stdout, each column but the last as wide as its widest cell.

    The colour of a :class:`~rich.text.Text` shows on terminals only.
    """
    cells = [
        [Text(printable(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows
    ]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    console = Console(soft_wrap=True, highlight=False)
    for row in cells:
        *padded, last = row
        for cell, width in zip(padded, widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        console.print(Text(_GAP).join([*padded, last]))
