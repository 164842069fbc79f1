# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters that a user gives for a device in place of those in its description.

A path is the one that messages and TOML files have, below ``parameters``:
``mapping.over_provisioning``, ``member[2].parameters.read.fixed``; ``parameters.`` may stand
before it, and has to where the path would be one name only. ``fault[1].probability`` is a key of a
rule of faults.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from freezingtime.errors import InputError

_TOP = "parameters"
#: Tables beside the parameters whose keys may be given, too.
_BESIDE = "fault"
_STEP = re.compile(r"([A-Za-z0-9_-]+)(?:\[([1-9][0-9]{0,3})\])?")


def is_parameter(key: str) -> bool:
    """Whether a key of ``--disk`` is the path of a parameter; it may still not be right."""
    return "." in key


def read_value(text: str) -> object:
    """The value as TOML has it, where ``text`` is a number, true, false or a quoted string.

    Anything else is a string, which needs no quotes: ``50us``.
    """
    if "\n" in text or "\r" in text:
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float | str) else text


def value_text(value: object) -> str:
    """The text of which :func:`read_value` makes a value."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f"'{text}'" if isinstance(value, str) and read_value(text) != text else text


def part_at(parameters: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], str] | None:
    """The table of the member of a composition that a path leads to, and the path below it.

    ``path`` is below ``parameters``, which are the composition's; None: it leads to no member.
    """
    first, _, rest = path.partition(".")
    found = _STEP.fullmatch(first)
    if found is None or not rest.startswith(f"{_TOP}."):
        return None
    there = parameters.get(found[1])
    if found[2] is not None:
        number = int(found[2])
        there = there[number - 1] if isinstance(there, list) and number <= len(there) else None
    return (there, rest.removeprefix(f"{_TOP}.")) if isinstance(there, Mapping) else None


def changed(content: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """The content of a description with these parameters, by their paths.

    Raises:
        InputError: a path is none, or leads through what is no table.
    """
    result = copy.deepcopy(dict(content))
    for path, value in changes.items():
        *steps, last = _steps(path)
        table = result
        for name, number in steps:
            table = _below(table, name, number, path)
        name, number = last
        if number is not None or isinstance(table.get(name), dict | list):
            raise InputError(f"{path}: is a table; name one of its keys")
        table[name] = value
    return result


def _steps(path: str) -> list[tuple[str, int | None]]:
    """The names of a path, each with the number of the member that it means."""
    steps = []
    for step in path.split("."):
        found = _STEP.fullmatch(step)
        if found is None:
            raise InputError(
                f"{path}: is no path of a parameter; write TABLE.KEY, member[1].parameters.KEY or "
                "parameters.KEY"
            )
        steps.append((found[1], None if found[2] is None else int(found[2])))
    name, number = steps[0]
    is_whole = (name == _TOP and number is None) or (name == _BESIDE and number is not None)
    return steps if is_whole else [(_TOP, None), *steps]


def _below(table: dict[str, Any], name: str, number: int | None, path: str) -> dict[str, Any]:
    there = table.setdefault(name, {}) if number is None else table.get(name)
    if number is None and isinstance(there, dict):
        return there
    count = len(there) if isinstance(there, list) else 0
    if number is None:
        problem = f"{name} has {count} members; write {name}[1]" if count else f"{name} is no table"
        raise InputError(f"{path}: {problem}")
    if not 1 <= number <= count or not isinstance(there, list):
        raise InputError(f"{path}: there is no {name}[{number}]; the device has {count} of them")
    member: dict[str, Any] = there[number - 1]
    if not isinstance(member, dict):
        raise InputError(f"{path}: {name}[{number}] is no table")
    return member
