# SPDX-License-Identifier: GPL-2.0-or-later
"""The example notebook, executed: its outputs are those that the documentation shows."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conftest import skip

try:
    import nbformat
    from website.notebook_page import NOTEBOOK, execute, notebook_page, text_of
except ImportError:
    skip("nbformat is not installed")


def words_of(output: Any) -> list[str]:
    """Of a table, what stands in its cells."""
    return re.sub(r"<style.*?</style>|<[^>]*>", " ", text_of(output), flags=re.DOTALL).split()


@pytest.mark.slow
def test_it_says_and_draws_what_the_documentation_shows() -> None:
    shown, now = nbformat.read(NOTEBOOK, as_version=4), execute()
    assert [cell.source for cell in now.cells] == [cell.source for cell in shown.cells]
    pictures = 0
    for before, after in zip(shown.cells, now.cells, strict=True):
        outputs = [cell.get("outputs", []) for cell in (before, after)]
        for there, here in zip(*outputs, strict=True):
            assert here.output_type == there.output_type
            assert words_of(here) == words_of(there), before.source
            drawn = ["image/png" in output.get("data", {}) for output in (there, here)]
            assert drawn[0] == drawn[1]
            pictures += drawn[0]
    assert pictures == 2


def test_the_site_has_it_with_its_figures() -> None:
    page, figures = notebook_page()
    assert [name for name in figures if f"]({name})" in page] == list(figures)
    assert all(content.startswith(b"\x89PNG") for content in figures.values())
    assert "InputError: --device samsng-870-evo" in page
    assert "<style" not in page
    assert re.findall(r"^# ", page, re.MULTILINE) == []
