# SPDX-License-Identifier: GPL-2.0-or-later
"""The security page names tests: there are such."""

from __future__ import annotations

import re

from tests.support.doclib import ROOT, read_page

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_test_that_the_page_names_is_there() -> None:
    named = _TEST.findall(read_page("explanation/security"))
    assert len(named) > 20
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []
