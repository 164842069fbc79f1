# SPDX-License-Identifier: GPL-2.0-or-later
"""All experiments of the paper, and what a user would pick instead: ``make paper``.

Prints each as it ends, writes figures and a summary to ``--out`` (``build/paper``), and ends with
1 if a condition does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.paper import alternatives, emulated_ssd, fastest, ffmpeg, overhead
from experiments.paper.outcome import Outcome, Settings, main

from freezingtime.report.figures.canvas import write_file

_EXPERIMENTS = (fastest, emulated_ssd, ffmpeg, overhead, alternatives)
_HEAD = """# The paper's experiments

Made by `make paper`. "Freezing Time: A New Approach for Emulating Fast Storage Devices Using VM"
(MASCOTS 2018, doi:10.1109/MASCOTS.2018.00010), and what Freezing Time makes of its experiments.
"""


def experiment(settings: Settings) -> Sequence[Outcome]:
    """One after the other; the summary is written after each."""
    outcomes: list[Outcome] = []
    for module in _EXPERIMENTS:
        outcomes += module.experiment(settings)
        text = "\n".join([_HEAD, *(outcome.markdown() for outcome in outcomes)])
        write_file(settings.directory / "summary.md", text.encode(), "--out")
    return outcomes


if __name__ == "__main__":
    main("paper", experiment)
