"""docs/fit.md: every example runs as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import require_tool
from tests.doclib import read_page, run_examples


def test_every_example_runs(tmp_path: Path) -> None:
    require_tool("fio")
    ran = list(run_examples(read_page("fit"), tmp_path))
    assert {kind for kind, _ in ran} == {"console", "python"}
