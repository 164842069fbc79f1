# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of a running device that can change, and their present values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from freezingtime.device.changes.change import (
    DeclaredOf,
    GivenChange,
    flattened,
    is_changeable,
    parse_change,
)
from freezingtime.device.compose.members import Composition
from freezingtime.device.schema import left_out
from freezingtime.device.toml.changed import changed, value_text


def present_values(
    content: Mapping[str, Any], made: Sequence[GivenChange], declared_of: DeclaredOf
) -> dict[str, str]:
    """Return what can change of the device of a description's content, by path, after changes.

    A default for which there is no value is told in words, such as ``no limit``.
    """
    now = dict(content)
    for change in made:
        now = changed(now, parse_change(change.text)[1])
    return dict(_values(now, declared_of))


def _values(content: Mapping[str, Any], declared_of: DeclaredOf) -> Iterator[tuple[str, str]]:
    declared = declared_of(str(content.get("model")))
    parameters = content.get("parameters", {})
    values = {path: value_text(value) for path, value in flattened("", parameters)}
    values |= {path: default for path, default, _ in left_out(declared, parameters)}
    yield from ((path, text) for path, text in values.items() if is_changeable(path, declared))
    if issubclass(declared, Composition):
        for place, member in _members(parameters):
            if "model" in member:
                for path, text in _values(member, declared_of):
                    yield f"{place}.parameters.{path}", text


def _members(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables of a composition's members, with their paths."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield name, value
        elif isinstance(value, list):
            yield from ((f"{name}[{number}]", each) for number, each in enumerate(value, start=1))
