# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference/compare.md: every example runs as it stands, and prints what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezingtime.results.exports.formats import FORMAT_NAMES
from freezingtime.results.metrics import UNITS
from tests.support.doclib import read_page, run_examples

PAGE = read_page("reference/compare")


def test_the_table_has_the_metrics() -> None:
    # The last stands for whatever the application says.
    assert names_in_table("Conditions") == [*UNITS, "app.NAME"]


def test_the_table_has_the_formats() -> None:
    assert {*names_in_table("Formats"), "text"} == set(FORMAT_NAMES)


def names_in_table(heading: str) -> list[str]:
    """The names in the first column of the tables below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(.*?)`", row)]


@pytest.mark.guest
def test_every_example_runs(tmp_path: Path) -> None:
    assert len(list(run_examples(PAGE, tmp_path))) > 3
