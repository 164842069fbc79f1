# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime explain`: every word that the output needs, and the nearest to a mistyped one."""

from __future__ import annotations

import inspect

import pytest

from freezingtime.cli.device import replay as cli_replay
from freezingtime.cli.guest import summary as cli_run
from freezingtime.cli.results.explain import TERMS
from freezingtime.simulate import overload
from tests.cli.conftest import RunHere


def test_a_word_is_explained_as_it_is_printed(run_here: RunHere) -> None:
    ended = run_here("explain", "Frozen")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"frozen: {TERMS['frozen']}\n"
    assert run_here("explain", "guest  time").stdout.startswith("guest time: Time on the guest's")
    words = [line.partition("  ")[0] for line in run_here("explain").stdout.splitlines()]
    assert words == list(TERMS) == sorted(TERMS)


def test_an_unknown_word_is_said_with_the_nearest(run_here: RunHere) -> None:
    ended = run_here("explain", "wraped")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(
        "freezingtime: explain wraped: unknown; did you mean warped? available: disturbed, exact, "
    )


@pytest.mark.parametrize(
    ("word", "place"),
    [
        *((word, cli_run) for word in ("exact", "frozen", "warped", "guest time", "real time")),
        *((word, cli_replay) for word in ("host", "mean", "p50", "p99")),
        ("the queue grows", overload),
    ],
)
def test_what_is_explained_is_what_is_printed(word: str, place: object) -> None:
    assert word in TERMS
    assert word in inspect.getsource(place)  # type: ignore[arg-type]
