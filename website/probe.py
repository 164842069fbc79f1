# SPDX-License-Identifier: GPL-2.0-or-later
"""What keys a device model takes, found by watching it read a description.

The models read their tables through :class:`freezingtime.device.parameters.Table`, whose calls
name kind, default and range of every key. So what stands here cannot differ from the code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from freezingtime.device.parameters import BANDWIDTH_LEAST, NUMBER_MOST, Table
from freezingtime.errors import InputError
from freezingtime.units import format_size_bytes, format_time_ns

#: Of a member of a composition: another model's own keys.
_NOT_WATCHED = "parameters"
_INTEGER_MOST = 2**63 - 1


@dataclass
class Key:
    """What is known of one key."""

    kinds: list[str] = field(default_factory=list)
    default: str | None = None
    allowed: str = ""
    needed: bool = False
    looked_for: bool = False
    """Whether the model looks if it is there: what it reads otherwise is no default."""


class WatchedTable(Table):
    """A table that notes in ``seen`` what it is asked for, by the keys' paths."""

    def __init__(self, content: Mapping[str, Any], seen: dict[str, Key], prefix: str = "") -> None:
        super().__init__(content, "-", prefix)
        self._below = content
        self._seen = seen
        self._prefix = prefix

    def __contains__(self, key: str) -> bool:
        self._key(key).looked_for = True
        return super().__contains__(key)

    def text(self, key: str, *default: Any) -> str:
        self._note(key, "text", default, str)
        return super().text(key, *default)

    def choice(self, key: str, allowed: Sequence[str], *default: Any) -> str:
        value = super().choice(key, allowed, *default)
        self._key(key).kinds = ["word"]
        self._key(key).allowed = ", ".join(allowed)
        return value

    def boolean(self, key: str, *default: Any) -> bool:
        self._note(key, "true or false", default, lambda value: str(value).lower())
        return super().boolean(key, *default)

    def integer(self, key: str, *default: Any, least: int = 0, most: int = _INTEGER_MOST) -> int:
        self._note(key, "whole number", default, lambda value: f"{value:_}", least)
        self._range(key, f"{least:,}", None if most == _INTEGER_MOST else f"{most:,}")
        return super().integer(key, *default, least=least, most=most)

    def number(
        self, key: str, *default: Any, least: float = 0.0, most: float = NUMBER_MOST
    ) -> float:
        self._note(key, "number", default, lambda value: f"{value:g}", least)
        self._range(key, f"{least:g}", None if most == NUMBER_MOST else f"{most:g}")
        return super().number(key, *default, least=least, most=most)

    def time_ns(self, key: str, *default: Any, least: int = 0, **most: int) -> int:
        self._note(key, "time", default, format_time_ns, least)
        return super().time_ns(key, *default, least=least, **most)

    def size_bytes(self, key: str, *default: Any, least: int = 0, **most: int) -> int:
        self._note(key, "size", default, format_size_bytes, least)
        return super().size_bytes(key, *default, least=least, **most)

    def bandwidth_bytes_per_s(
        self, key: str, *default: Any, least: int = BANDWIDTH_LEAST, **most: int
    ) -> int:
        def shown(value: int) -> str:
            return f"{format_size_bytes(value)}/s"

        self._note(key, "bandwidth", default, shown, least)
        return super().bandwidth_bytes_per_s(key, *default, least=least, **most)

    def array(self, key: str, problem: str) -> list[Any]:
        self._note(key, "list", (), str)
        return super().array(key, problem)

    def sub(self, key: str) -> Table | None:
        self._note(key, "table", (None,), str)
        content = self._below.get(key)
        if key == _NOT_WATCHED or not isinstance(content, dict):
            return super().sub(key)
        super().sub(key)
        return WatchedTable(content, self._seen, f"{self._prefix}{key}.")

    def sub_or_empty(self, key: str) -> Table:
        return self.sub(key) or WatchedTable({}, self._seen, f"{self._prefix}{key}.")

    def tables(self, key: str) -> list[Table]:
        self._note(key, "list of tables", (None,), str)
        found = super().tables(key)
        contents = self._below.get(key, [])
        return [
            WatchedTable(content, self._seen, f"{self._prefix}{key}[].")
            for content, _ in zip(contents, found, strict=True)
        ]

    def _key(self, key: str) -> Key:
        return self._seen.setdefault(self._prefix + key, Key())

    def _note(
        self,
        key: str,
        kind: str,
        default: tuple[Any, ...],
        shown: Callable[[Any], str],
        least: float = 0,
    ) -> None:
        known = self._key(key)
        if kind not in known.kinds:
            known.kinds.append(kind)
        if default and isinstance(default[0], str | int | float):
            is_one = isinstance(default[0], str) or default[0] >= least
            known.default = shown(default[0]) if is_one else None

    def _range(self, key: str, least: str, most: str | None) -> None:
        self._key(key).allowed = f"{least} to {most}" if most is not None else f"{least} or more"


def watch(content: Mapping[str, Any], build: Callable[[Table], object]) -> dict[str, Key]:
    """The keys that ``build`` asks for, by their paths, in the order in which it does.

    Which ones are needed is tried out: ``content`` is right, and is not without them.
    """
    seen: dict[str, Key] = {}
    build(WatchedTable(content, seen))
    for path, key in seen.items():
        if key.looked_for:
            key.default = None
        without = copy.deepcopy(dict(content))
        key.needed = _remove(without, path) and not _is_right(without, build)
    return seen


def _remove(content: dict[str, Any], path: str) -> bool:
    """Take a key out; of a list of tables, out of the first that has it."""
    first, _, rest = path.partition(".")
    if not rest:
        return content.pop(first, None) is not None
    name = first.removesuffix("[]")
    below = content.get(name)
    tables = below if first.endswith("[]") else [below]
    return isinstance(tables, list) and any(
        _remove(table, rest) for table in tables if isinstance(table, dict)
    )


def _is_right(content: Mapping[str, Any], build: Callable[[Table], object]) -> bool:
    try:
        build(Table(content, "-"))
    except InputError:
        return False
    return True


def unexplored(content: Mapping[str, Any], seen: Mapping[str, Key]) -> list[str]:
    """Where ``content`` is not enough: keys below these were not asked for."""
    present = set(_paths(content, ""))
    return [
        path
        for path, key in seen.items()
        if path not in present and (not key.kinds or key.kinds in (["table"], ["list of tables"]))
    ]


def _paths(content: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in content.items():
        yield prefix + key
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, dict):
                mark = "[]" if isinstance(value, list) else ""
                yield from _paths(below, f"{prefix}{key}{mark}.")
