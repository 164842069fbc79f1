# SPDX-License-Identifier: GPL-2.0-or-later
"""Live view of a run on a terminal: times, and a line for each disk, redrawn in place."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from freezingtime.host.foreign_text import printable
from freezingtime.runs.progress.meter import DiskHistory
from freezingtime.runs.progress.text import disk_cells

#: A view with more disks leaves no room for what the job prints.
DISKS_MAX = 8


class LiveView:
    """Live view at the bottom of the terminal, which vanishes without a trace."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def show_step(self, line: str) -> None:
        """Draw a step of the preparation."""
        self._draw(_line(line))

    def show_run(self, line: str, histories: Sequence[DiskHistory]) -> None:
        """Draw how far the run is."""
        self._draw(
            Group(_line(line), *self._disks(histories)),
        )

    def clear(self) -> None:
        """Take away what is drawn."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _disks(self, histories: Sequence[DiskHistory]) -> list[RenderableType]:
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        ascii_only = self._console.options.ascii_only
        for history in histories[:DISKS_MAX]:
            table.add_row(
                *(Text(printable(cell)) for cell in disk_cells(history, ascii_only=ascii_only))
            )
        hidden_count = len(histories) - DISKS_MAX
        more = [_line(f"and {hidden_count} more disks")] if hidden_count > 0 else []
        return [table, *more] if histories else []

    def _draw(self, what: RenderableType) -> None:
        if self._live is None:
            # By hand: a thread that draws would take the host's CPU from the guest, and what
            # is printed must go out as it is.
            self._live = Live(
                what,
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
        else:
            self._live.update(what, refresh=True)


def _line(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")
