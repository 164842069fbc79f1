# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever is killed, and however the medium fails: nothing is lost that was acknowledged.

One trial here, and one of each kind behind each frontend among the slow tests;
``python -m experiments.kill --trials 1000`` runs as many as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from experiments.kill.trial import Break, trial_of, try_once

from freezingtime.frontend import Frontend
from tests.conftest import require_tool

pytestmark = pytest.mark.guest

#: Printed with every failure, since it is in the test's name; change it to try other moments.
SEED = 20181129
_KINDS = len(Break)
_BOTH_BEHIND_NVME = _KINDS * [*Frontend].index(Frontend.NVME) + [*Break].index(Break.BOTH)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number == _BOTH_BEHIND_NVME else pytest.mark.slow)
        for number in range(_KINDS * len(Frontend))
    ],
)
def test_what_was_acknowledged_is_there(number: int, tmp_path: Path) -> None:
    for tool in ("sqlite3", "mkfs.ext4", "e2fsck", "debugfs", "gcc"):
        require_tool(tool)
    trial = trial_of(SEED, number)
    outcome = try_once(trial, tmp_path / "trial")
    assert outcome.wrong == [], trial
    if trial.is_death:
        assert outcome.acknowledged >= trial.stored
