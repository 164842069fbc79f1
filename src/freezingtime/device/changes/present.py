# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters of a running device that can change, and their present values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freezingtime.device.changes.change import (
    GivenChange,
    flattened,
    is_changeable,
    parse_change,
)
from freezingtime.device.model_parameters import ModelParameters
from freezingtime.device.schema import left_out
from freezingtime.device.toml.changed import changed, value_text


def present_values(
    content: Mapping[str, Any], made: Sequence[GivenChange], declared: type[ModelParameters]
) -> dict[str, str]:
    """Return what can change of the device of a description's content, by path, after changes.

    A default for which there is no value is told in words, such as ``no limit``.
    """
    now = dict(content)
    for change in made:
        now = changed(now, parse_change(change.text)[1])
    parameters = now.get("parameters", {})
    values = {path: value_text(value) for path, value in flattened("", parameters)}
    values |= {path: default for path, default, _ in left_out(declared, parameters)}
    return {path: text for path, text in values.items() if is_changeable(path, declared)}
