# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/explanation/accuracy-curves.md are what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.doclib import read_page, run_examples


@pytest.mark.slow
def test_the_tables_are_what_the_command_prints(tmp_path: Path) -> None:
    assert [
        kind for kind, _ in run_examples(read_page("explanation/accuracy-curves"), tmp_path)
    ] == ["console"]
