# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make test-qemus` says of a QEMU: good only if its tests ran to their end and passed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.qemulib import Row, Tried, run_tests

_EXACT = Row("7.2.22", "6.1.0", on_time=True, same=True, mean_ns=1.0)


@pytest.mark.parametrize(
    ("said", "status", "passed", "words"),
    [
        ("== 3 passed in 1.00s ==", 0, True, "3 passed in 1.00s"),
        ("== 1 failed, 2 passed in 1.00s ==", 1, False, "1 failed, 2 passed in 1.00s"),
        (".....................", 2, False, "....................."),  # interrupted
        ("", 3, False, "nothing printed"),
    ],
)
def test_the_tests_passed_if_pytest_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    status: int,
    passed: bool,
    words: str,
) -> None:
    pytest_of_that_status = tmp_path / "python"
    pytest_of_that_status.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    pytest_of_that_status.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pytest_of_that_status))
    ended = run_tests(tmp_path)
    assert ended == (passed, words if passed else f"{words} (exit status {status})")
    assert Tried("bookworm", _EXACT, *ended).good is passed


def test_a_qemu_that_was_not_measured_is_not_good() -> None:
    assert not Tried("bookworm", None, True, "not run").good
