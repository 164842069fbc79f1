# SPDX-License-Identifier: GPL-2.0-or-later
"""A device's description as TOML, the way the catalogue's files are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from freezingtime.device.toml.json_schema import SCHEMA_LINE
from freezingtime.errors import InputError
from freezingtime.host.os_errors import os_errors_as
from freezingtime.host.replaced_file import replaced

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\"}
_LINE = 96


def device_toml(content: Mapping[str, Any]) -> str:
    """The text; its tables hold texts, numbers, booleans, lists, tables and lists of tables.

    The first line names the schema, for editors.
    """
    lines = "\n".join(_table(content, "")).lstrip("\n")
    return f"{SCHEMA_LINE}\n{lines}\n"


def write_device(path: Path, toml: str) -> None:
    """Write a device file; it appears in one instant.

    Raises:
        InputError: it cannot be written.
    """
    with (
        os_errors_as(InputError, f"--out {path}", "name a file to write"),
        replaced(path) as file,
    ):
        file.write(toml.encode())


def _table(content: Mapping[str, Any], path: str) -> Iterator[str]:
    """The lines of a table: its values, then the tables below it."""
    for key, value in content.items():
        if not _is_table(value) and not _is_tables(value):
            yield from _assignment(_key(key), value)
    for key, value in content.items():
        below = f"{path}.{_key(key)}" if path else _key(key)
        if _is_tables(value):
            for item in value:
                yield from ("", f"[[{below}]]", *_table(item, below))
        elif _is_table(value):
            values = any(not _is_table(item) and not _is_tables(item) for item in value.values())
            yield from (["", f"[{below}]"] if values else [])
            yield from _table(value, below)


def _is_table(value: Any) -> bool:
    """A distribution (a table with a kind) stays in its line."""
    return isinstance(value, Mapping) and "kind" not in value


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))


def _assignment(key: str, value: Any) -> Iterator[str]:
    line = f"{key} = {_value(value)}"
    if len(line) <= _LINE or not isinstance(value, list):
        yield line
        return
    yield f"{key} = ["
    row = ""
    for item in map(_value, value):
        if row and len(row) + len(item) + 2 > _LINE:
            yield row
            row = ""
        row = f"{row or '   '} {item},"
    yield from (row, "]")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise TypeError(f"{value!r} cannot be written to a device file")


def _text(text: str) -> str:
    """A basic string; control characters and lone surrogates are written as TOML has them."""
    plain = text.encode("utf-8", "replace").decode()
    return f'"{"".join(_ESCAPES.get(c) or (c if c.isprintable() else _escape(c)) for c in plain)}"'


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
