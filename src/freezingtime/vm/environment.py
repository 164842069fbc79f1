# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables that a user sets in the environment of a job: ``--env NAME=VALUE``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from freezingtime.errors import InputError

#: Where a job finds the seed of its run.
SEED_NAME = "FREEZINGTIME_SEED"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_OURS = "FREEZINGTIME_"
#: The most that Linux takes of one variable, its name and end included.
_BYTES_MAX = (128 << 10) - 1
#: Linux refuses to start a program with much more than that in all.
_TOTAL_BYTES_MAX = 1 << 20


def parse_environment(assignments: Sequence[str]) -> dict[str, str]:
    """Return the variables by their names, in order.

    Raises:
        InputError: one is no assignment, is given twice, is ours, or cannot be passed on.
    """
    variables: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        option = f"--env {text[:80]}"
        if not equals or not _NAME.fullmatch(name):
            raise InputError(f"{option}: write NAME=VALUE, such as T=10")
        if name.startswith(_OURS):
            raise InputError(f"{option}: {_OURS}... is set by freezingtime; choose another name")
        if name in variables:
            raise InputError(f"{option}: {name} is given twice; keep one")
        if "\n" in value or "\0" in value:
            raise InputError(f"{option}: the value has a line end or NUL; pass it in a --job file")
        if _size_bytes(text) > _BYTES_MAX:
            raise InputError(f"{option}...: is longer than 128 KiB; pass it in a --job file")
        variables[name] = value
    if sum(map(_size_bytes, assignments)) > _TOTAL_BYTES_MAX:
        raise InputError("--env: more than 1 MiB in all; pass it in a --job file")
    return variables


def _size_bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
