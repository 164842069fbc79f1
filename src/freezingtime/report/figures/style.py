# SPDX-License-Identifier: GPL-2.0-or-later
"""Style of all figures: light, fit for print, and clear to the colour-blind."""

from __future__ import annotations

from typing import Any

#: Okabe and Ito, "Color Universal Design" (2008), without yellow, which is too light for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

#: matplotlib's settings; a figure is to have the same bytes every time.
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.which": "major",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "savefig.dpi": 150,
    "svg.fonttype": "path",
    "svg.hashsalt": "freezingtime",
}

#: The same, in their order, on a dark page.
DARK_COLORS = ("#5aa9e6", "#ff8f4d", "#2fc79a", "#e8a3cc", "#f5c04a", "#a5dcf7")
