# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference/report.md: its sections are those of a report, and every example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezingtime.report.figures.run_figures import RUN_FIGURES, RUNS_MAX
from tests.results.test_report import HEADINGS, Page, cells
from tests.support.doclib import read_page, run_examples

PAGE = read_page("reference/report")


def test_the_table_has_the_sections_of_the_page() -> None:
    sections = re.findall(r"^\| ([^|]+) \| ", PAGE.partition("## Sweeps")[0], re.MULTILINE)[2:]
    for name in ("Slow operations", "Faults"):  # only where there is something of them
        sections.remove(name)
    assert sections == HEADINGS
    assert RUNS_MAX == 6


@pytest.mark.guest
def test_every_example_runs(tmp_path: Path) -> None:
    assert [kind for kind, _ in run_examples(PAGE, tmp_path)] == ["console"]
    page = Page((tmp_path / "report.html").read_text())
    assert cells(page, "h2") == HEADINGS
    # The mean of reads, which is all the difference between the two devices.
    assert {"80us", "60us"} <= set(cells(page, "td"))
    # Nothing goes on in ``constant`` devices, and they do not fail: those figures are not drawn.
    assert len(list((tmp_path / "figures").iterdir())) == 2 * (len(RUN_FIGURES) - 2)
