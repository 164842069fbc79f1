# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference/record: its columns are the record's, and every example runs as it stands."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from freezingtime.annotation import HeldBy, ServedFrom
from freezingtime.trace.record_schema import COLUMNS, FAULT_COLUMN, KVM_COLUMNS
from tests.conftest import require_tool
from tests.support.doclib import read_page, run_examples

PAGE = read_page("reference/record/index")
PAGES = ("index", "queries", "formats")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ", re.MULTILINE)


def test_the_table_has_the_columns_of_the_record() -> None:
    words = {"dictionary<values=string, indices=int16, ordered=0>": "word"}
    fields = [*COLUMNS, FAULT_COLUMN, *KVM_COLUMNS]
    columns = [(field.name, words.get(str(field.type), str(field.type))) for field in fields]
    assert ROW.findall(PAGE) == columns


@pytest.mark.parametrize("words", [HeldBy, ServedFrom])
def test_every_word_of_a_device_has_its_meaning(words: type[IntEnum]) -> None:
    for word in words:
        if word is not HeldBy.NOTHING:
            assert f"`{word.name.lower()}`" in PAGE
    assert "`nothing` where `held_ns` is 0" in PAGE


@pytest.mark.guest
def test_every_example_runs(tmp_path: Path) -> None:
    require_tool("btt")
    for name in PAGES:
        (tmp_path / name).mkdir()
    ran = [
        example
        for name in PAGES
        for example in run_examples(read_page(f"reference/record/{name}"), tmp_path / name)
    ]
    assert {kind for kind, _ in ran} == {"console", "python", "sh"}
    for kind, printed in ran:
        if kind == "sh":
            assert re.search(r"^D2C ", printed, re.MULTILINE)
