# SPDX-License-Identifier: GPL-2.0-or-later
"""One table of a device's TOML description, read and written as it is declared.

Errors say where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from freezingtime.device.schema import Key, Parameters, keys_of
from freezingtime.errors import InputError, did_you_mean

Declared = TypeVar("Declared", bound=Parameters)

#: No value that makes sense is longer.
_SHOWN_LENGTH = 200


class Table:
    """A TOML table with its place: ``file`` and the path of keys that leads to it."""

    def __init__(self, content: Mapping[str, Any], file: str, path: str = "") -> None:
        self._content = content
        self._file = file
        self._path = path

    def __contains__(self, path: str) -> bool:
        """Whether a key is there; with dots, one of a table below."""
        return self._value(path) is not None

    def _value(self, path: str) -> Any:
        value: Any = self._content
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    @property
    def content(self) -> Mapping[str, Any]:
        """The table as TOML has it."""
        return self._content

    @property
    def file(self) -> str:
        """The file that the table is from, for messages."""
        return self._file

    def error(self, key: str, problem: str) -> InputError:
        """The error to raise about a key's value; ``problem`` says what would be right."""
        value = self._value(key)
        shown = "" if value is None or isinstance(value, dict | list) else f" = {_shown(value)}"
        return InputError(f"{self._file}: {self._path}{key}{shown}: {problem}")

    def read(self, declared: type[Declared], *, beside: Sequence[str] = ()) -> Declared:
        """Read the table as what is declared; keys ``beside`` may stand there, too.

        Raises:
            InputError: a key is unknown or missing, or a value is not possible.
        """
        keys = keys_of(declared)
        self._refuse_unknown([*beside, *(key.name for key in keys)])
        values = {key.field_name: self._read_key(key) for key in keys if self._is_read(key)}
        made = declared(**values)
        made.check(self)
        return made

    def _refuse_unknown(self, allowed: Sequence[str]) -> None:
        for name in self._content:
            if name not in allowed:
                raise InputError(
                    f"{self._file}: {self._path}{name}: unknown key; {did_you_mean(name, allowed)}"
                    f"allowed: {', '.join(sorted(allowed))}"
                )

    def _is_read(self, key: Key) -> bool:
        return key.needed or key.name in self._content

    def _read_key(self, key: Key) -> Any:
        name = key.name
        value = self._content.get(name)
        if key.is_table or (key.tagged_tables and isinstance(value, dict)):
            return self._read_table(key, self.below(name))
        if value is None:
            raise InputError(f"{self._file}: {self._path}{name}: is missing; it {key.problem}")
        if key.is_list:
            return tuple(self._read_table(key, item) for item in self._tables(key, value))
        if key.notation is not None:
            return self._read_notation(key, value)
        return self._read_scalar(key, value)

    def below(self, name: str) -> Table:
        """The table at a key; an empty one where there is none."""
        content = self._content.get(name, {})
        if not isinstance(content, Mapping):
            raise self.error(name, f"must be a table: [{self._path}{name}]")
        return self._place(name, content)

    def _place(self, name: str, content: Mapping[str, Any]) -> Table:
        return Table(content, self._file, f"{self._path}{name}.")

    def _tables(self, key: Key, value: Any) -> list[Table]:
        name = key.name
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(name, f"must be a list of tables: [[{self._path}{name}]]")
        return [self._place(f"{name}[{number}]", item) for number, item in enumerate(value, 1)]

    def _read_table(self, key: Key, table: Table) -> Any:
        if key.open_table is not None:
            return key.open_table(table._content, table._file, table._path)
        if key.table is not None:
            return table.read(key.table)
        kind = table._content.get(key.tag_key)
        declared = key.tagged_tables.get(kind) if isinstance(kind, str) else None
        if declared is None:
            missing = "" if key.tag_key in table else "is missing; it "
            kinds = ", ".join(key.tagged_tables)
            raise table.error(key.tag_key, f"{missing}must be one of: {kinds}")
        return table.read(declared, beside=[key.tag_key])

    def _read_scalar(self, key: Key, value: Any) -> Any:
        kinds: Any = (int, float) if key.scalar is float else key.scalar or str
        if not isinstance(value, kinds) or (isinstance(value, bool) and key.scalar is not bool):
            raise self.error(key.name, key.problem)
        if key.choices and value not in key.choices:
            raise self.error(key.name, key.problem)
        least, most = key.least, key.most
        if least is not None and most is not None and not least <= value <= most:
            bounds = f"{least:g} to {most:g}" if key.scalar is float else f"{least} to {most}"
            raise self.error(key.name, f"{key.problem} from {bounds}")
        return float(value) if key.scalar is float else value

    def _read_notation(self, key: Key, value: Any) -> Any:
        notation = key.notation
        assert notation is not None
        try:
            read = notation.parse(value)
        except InputError as error:
            raise self.error(key.name, str(error)) from error
        if key.least is not None and read < key.least:
            raise self.error(key.name, f"must be at least {notation.show(key.least)}")
        if key.most is not None and read > key.most:
            raise self.error(key.name, f"must be at most {notation.show(key.most)}")
        return read


def content_of(table: Parameters | Table) -> dict[str, Any]:
    """Return the content from which :meth:`Table.read` reads a declared table.

    Defaults are written, too, so that what is written keeps its meaning if they change; but for
    those that stand for nothing (None, 0).
    """
    if isinstance(table, Table):
        return dict(table.content)
    config = table.__struct_config__
    content: dict[str, Any] = {} if config.tag is None else {config.tag_field or "": config.tag}
    for key in keys_of(type(table)):
        value = getattr(table, key.field_name)
        if key.needed or value or value != key.default:
            content[key.name] = _written(key, value)
    return {name: value for name, value in content.items() if value != {}}


def _written(key: Key, value: Any) -> Any:
    if key.is_list:
        return list(map(content_of, value))
    return content_of(value) if isinstance(value, Parameters | Table) else key.written(value)


def _shown(value: object) -> str:
    """The value as it is written, as far as it is of use."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 3]}..."
