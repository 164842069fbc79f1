# SPDX-License-Identifier: GPL-2.0-or-later
"""A rule of faults as text, as ``--fault`` and the key ``fault`` of ``--disk`` have it.

It is the table's keys, ``error=EIO,operation=read,sectors=0..7``; a key that stands for itself,
``hang``, is true; one of a table below has the path of both, ``slow_distribution.kind=uniform``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freezingtime.device.toml.changed import read_value, value_text
from freezingtime.errors import InputError


def parse_rule(text: str) -> dict[str, Any]:
    """The table that a rule's text stands for; what is in it is not looked at.

    Raises:
        InputError: it is none, or has a key twice.
    """
    content: dict[str, Any] = {}
    for pair in text.split(","):
        path, equals, value = pair.strip().partition("=")
        *names, last = path.split(".")
        if not path or not all((*names, last)) or (equals and not value):
            raise InputError(
                f"{pair or text!r}: write KEY=VALUE,..., such as error=EIO,operation=read"
            )
        table = content
        for name in names:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InputError(f"{path}: {name} is no table")
        if last in table:
            raise InputError(f"{path}: is given twice; keep one")
        table[last] = read_value(value) if equals else True
    return content


def rule_text(content: Mapping[str, Any]) -> str:
    """The text of which :func:`parse_rule` makes the table."""
    return ",".join(_pairs("", content))


def is_disappearance(text: str) -> bool:
    """Return whether a device disappears by a rule, of which this is the text."""
    return "disappear" in text.split(",")


def _pairs(path: str, content: Mapping[str, Any]) -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _pairs(f"{path}{name}.", value)
        elif value is True:
            yield f"{path}{name}"
        else:
            yield f"{path}{name}={value_text(value)}"
