# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference/compare.md: every example runs as it stands, and prints what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezingtime.results.metrics import UNITS
from tests.support.doclib import read_page, run_examples

PAGE = read_page("reference/compare")


def test_the_table_has_the_metrics() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", PAGE, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(.*?)`", row)]
    assert names == [*UNITS, "app.NAME"]  # the last stands for whatever the application says


@pytest.mark.guest
def test_every_example_runs(tmp_path: Path) -> None:
    assert len(list(run_examples(PAGE, tmp_path))) > 3
