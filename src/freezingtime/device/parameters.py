# SPDX-License-Identifier: GPL-2.0-or-later
"""One table of a device's TOML description, read key by key, with errors that say where.

Every getter takes a key once; :meth:`Table.finish` complains about the keys that nobody
took. So a misspelt key is an error, and the list of allowed keys is always the true one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from freezingtime.errors import InputError
from freezingtime.units import (
    format_size_bytes,
    format_time_ns,
    parse_size_bytes,
    parse_time_ns,
)

Value = TypeVar("Value")

#: What a key's value may be unless its model says otherwise: sums of so many times, and products
#: with so many bytes, stay within the 64 bits that guest time has.
TIME_NS_MOST = 10**15
NUMBER_MOST = 1e9
SIZE_BYTES_MOST = 2**60
BANDWIDTH_LEAST, BANDWIDTH_MOST = 1000, 10**15

_REQUIRED: Any = object()

#: No value that makes sense is longer.
_SHOWN_LENGTH = 200


class Table:
    """A TOML table with its place: ``file`` and the path of keys that leads to it."""

    def __init__(self, content: Mapping[str, Any], file: str, path: str = "") -> None:
        self._content = content
        self._file = file
        self._path = path
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._content

    @property
    def file(self) -> str:
        """The file that the table is from, for messages."""
        return self._file

    def error(self, key: str, problem: str) -> InputError:
        """The error to raise about a key's value; ``problem`` says what would be right."""
        value = self._content.get(key)
        shown = "" if value is None or isinstance(value, dict | list) else f" = {_shown(value)}"
        return InputError(f"{self._file}: {self._path}{key}{shown}: {problem}")

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """A string."""
        return self._take(key, default, str, "must be a text")

    def choice(self, key: str, allowed: Sequence[str], default: str = _REQUIRED) -> str:
        """One of several words."""
        value = self.text(key, default)
        if value not in allowed:
            raise self.error(key, f"must be one of: {', '.join(allowed)}")
        return value

    def boolean(self, key: str, default: bool = _REQUIRED) -> bool:
        """true or false."""
        return self._take(key, default, bool, "must be true or false")

    def integer(
        self, key: str, default: int = _REQUIRED, *, least: int = 0, most: int = 2**63 - 1
    ) -> int:
        """A whole number from ``least`` to ``most``."""
        value = self._take(key, default, int, "must be a whole number")
        if isinstance(value, bool) or not least <= value <= most:
            raise self.error(key, f"must be a whole number from {least} to {most}")
        return value

    def number(
        self,
        key: str,
        default: float = _REQUIRED,
        *,
        least: float = 0.0,
        most: float = NUMBER_MOST,
    ) -> float:
        """A finite number from ``least`` to ``most``."""
        value = self._take(key, default, (int, float), "must be a number")
        if isinstance(value, bool) or not least <= value <= most:
            raise self.error(key, f"must be a number from {least:g} to {most:g}")
        return float(value)

    def time_ns(
        self, key: str, default: int = _REQUIRED, *, least: int = 0, most: int = TIME_NS_MOST
    ) -> int:
        """A time such as "75us", in nanoseconds."""
        problem = 'must be a time such as "75us"'
        return self._parsed(key, default, parse_time_ns, (least, most), problem, format_time_ns)

    def size_bytes(
        self, key: str, default: int = _REQUIRED, *, least: int = 0, most: int = SIZE_BYTES_MOST
    ) -> int:
        """A size such as "16KiB", in bytes."""
        problem = 'must be a size such as "16KiB"'
        return self._parsed(
            key, default, parse_size_bytes, (least, most), problem, format_size_bytes
        )

    def bandwidth_bytes_per_s(
        self,
        key: str,
        default: int = _REQUIRED,
        *,
        least: int = BANDWIDTH_LEAST,
        most: int = BANDWIDTH_MOST,
    ) -> int:
        """A bandwidth such as "3.2GB/s", in bytes per second."""

        def parse(text: str) -> int:
            return parse_size_bytes(text.removesuffix("/s"))

        def shown(value: int) -> str:
            return f"{format_size_bytes(value)}/s"

        problem = 'must be a bandwidth such as "3.2GB/s"'
        return self._parsed(key, default, parse, (least, most), problem, shown)

    def array(self, key: str, problem: str) -> list[Any]:
        """A list of anything; the caller checks what is in it. ``problem``: what it must be."""
        return self._take(key, _REQUIRED, list, problem)

    def sub_or_empty(self, key: str) -> Table:
        """A table below this one; an empty one if it is not there."""
        return self.sub(key) or Table({}, self._file, f"{self._path}{key}.")

    def sub(self, key: str) -> Table | None:
        """A table below this one, or None if it is not there."""
        self._known.append(key)
        content = self._content.get(key)
        if content is None:
            return None
        if not isinstance(content, dict):
            raise self.error(key, f"must be a table: [{self._path}{key}]")
        return Table(content, self._file, f"{self._path}{key}.")

    def tables(self, key: str) -> list[Table]:
        """A list of tables below this one; empty if it is not there."""
        self._known.append(key)
        content = self._content.get(key, [])
        if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
            raise self.error(key, f"must be a list of tables: [[{self._path}{key}]]")
        return [
            Table(item, self._file, f"{self._path}{key}[{number}].")
            for number, item in enumerate(content, start=1)
        ]

    def finish(self) -> None:
        """Complain about keys that were never asked for.

        Raises:
            InputError: there is one; the message lists those that are allowed.
        """
        for key in self._content:
            if key not in self._known:
                allowed = ", ".join(sorted(set(self._known)))
                raise InputError(
                    f"{self._file}: {self._path}{key}: unknown key; allowed: {allowed}"
                )

    def _take(self, key: str, default: Value, kind: type | tuple[type, ...], problem: str) -> Value:
        self._known.append(key)
        if key not in self._content:
            if default is _REQUIRED:
                raise InputError(f"{self._file}: {self._path}{key}: is missing; it {problem}")
            return default
        value: Value = self._content[key]
        if not isinstance(value, kind):
            raise self.error(key, problem)
        return value

    def _parsed(
        self,
        key: str,
        default: int,
        parse: Callable[[str], int],
        bounds: tuple[int, int],
        problem: str,
        shown: Callable[[int], str],
    ) -> int:
        text: str | int = self._take(key, default, (str, int), problem)
        if key not in self._content:
            return default
        # A bare number would have no unit: only 0 needs none.
        if isinstance(text, bool) or (not isinstance(text, str) and text != 0):
            raise self.error(key, problem)
        try:
            value = parse(str(text))
        except InputError as error:
            raise self.error(key, problem) from error
        least, most = bounds
        if value < least:
            raise self.error(key, f"must be at least {shown(least)}")
        if value > most:
            raise self.error(key, f"must be at most {shown(most)}")
        return value


def _shown(value: object) -> str:
    """The value as it is written, as far as it is of use."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 3]}..."
