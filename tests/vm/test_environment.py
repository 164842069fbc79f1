# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables of a job's environment: `run --env NAME=VALUE`."""

from __future__ import annotations

import pytest

from freezingtime.errors import InputError
from freezingtime.vm.environment import parse_environment


def test_assignments_as_a_shell_has_them() -> None:
    given = ["T=10", "_a1=", "LINE=a b = 'c' $d \\", "UMLAUT=\u00fc"]
    assert parse_environment(given) == {
        "T": "10",
        "_a1": "",
        "LINE": "a b = 'c' $d \\",
        "UMLAUT": "\u00fc",
    }
    assert parse_environment([]) == {}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["T"], "--env T: write NAME=VALUE, such as T=10"),
        (["=1"], "--env =1: write NAME=VALUE, such as T=10"),
        (["1T=1"], "--env 1T=1: write NAME=VALUE, such as T=10"),
        (["a-b=1"], "--env a-b=1: write NAME=VALUE, such as T=10"),
        (["T=1", "T=1"], "--env T=1: T is given twice; keep one"),
        (["FREEZINGTIME_SEED=1"], "is set by freezingtime; choose another name"),
        (["T=a\nb=1"], "the value has a line end or NUL; pass it in a --job file"),
        (["T=a\0"], "the value has a line end or NUL; pass it in a --job file"),
        ([f"T={'x' * (128 << 10)}"], "is longer than 128 KiB; pass it in a --job file"),
        ([f"T{n}={'x' * 100_000}" for n in range(11)], "--env: more than 1 MiB in all; pass it"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(given: list[str], why: str) -> None:
    with pytest.raises(InputError) as error:
        parse_environment(given)
    assert why in str(error.value)
