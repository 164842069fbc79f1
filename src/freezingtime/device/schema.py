# SPDX-License-Identifier: GPL-2.0-or-later
"""Declared tables: what may stand in a device's description, said once.

A table of a description is a class below :class:`Parameters`. Each of its keys is a field, whose
annotation has the unit, the range and the text of the documentation::

    class Cells(Parameters, kw_only=True):
        erase_ns: Annotated[TimeNs, key("erasing a block", most=60 * 10**9)]
        scheduler: Annotated[Literal["die", "chip"], key("what does one thing at a time")] = "die"

A key is called as its field without the unit, ``erase``, unless ``msgspec.field(name=...)`` says
otherwise. What reads a description (:mod:`.parameters`), the documentation's reference,
``freezingtime devices`` and the schema for editors (:mod:`.json_schema`) ask :func:`keys_of`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import inspect

from freezingtime.errors import InputError
from freezingtime.units import (
    format_size_bytes,
    format_time_ns,
    parse_size_bytes,
    parse_time_ns,
)

if TYPE_CHECKING:
    from freezingtime.device.parameters import Table

INTEGER_MOST = 2**63 - 1
NUMBER_MOST = 1e9
_UNITS = ("_bytes_per_s", "_bytes", "_ns")


def _key_name(field_name: str) -> str:
    for unit in _UNITS:
        if field_name.endswith(unit):
            return field_name.removesuffix(unit)
    return field_name


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=_key_name):
    """A declared table. Classes below it are to be ``kw_only``: needed keys may follow others."""

    def check(self, table: Table) -> None:
        """Refuse values that do not go together; ``table`` is what they were read from.

        Raises:
            InputError: as :meth:`.parameters.Table.error` makes it.
        """


@dataclass(frozen=True, kw_only=True)
class Notation:
    """Notation of a value that TOML has no type for."""

    kind: str
    problem: str
    """What a value must be."""
    parse: Callable[[Any], Any]
    """From TOML's value. InputError has the text that the user is to see."""
    show: Callable[[Any], Any] = str
    """To TOML's value."""
    schema: Mapping[str, Any]
    """What it is in JSON Schema."""
    least: int | None = None
    most: int | None = None
    """Unless a key says otherwise: sums of so many times, and products with so many bytes, stay
    within the 64 bits that guest time has."""

    def meta(self) -> msgspec.Meta:
        """The annotation of a type that is written like this."""
        return msgspec.Meta(extra={"notation": self}, extra_json_schema=dict(self.schema))


def _quantity(
    kind: str,
    example: str,
    parse: Callable[[str], int],
    show: Callable[[int], str],
    *,
    least: int = 0,
    most: int,
) -> msgspec.Meta:
    """A whole number with a unit; only 0 needs none."""
    problem = f'must be a {kind} such as "{example}"'

    def parse_value(value: object) -> int:
        if not isinstance(value, str) and (isinstance(value, bool) or value != 0):
            raise InputError(problem)
        try:
            return parse(str(value))
        except InputError as error:
            raise InputError(problem) from error

    schema = {"type": ["string", "integer"], "examples": [example]}
    return Notation(
        kind=kind,
        problem=problem,
        parse=parse_value,
        show=show,
        schema=schema,
        least=least,
        most=most,
    ).meta()


def _parse_bandwidth(text: str) -> int:
    return parse_size_bytes(text.removesuffix("/s"))


def _format_bandwidth(bytes_per_s: int) -> str:
    return f"{format_size_bytes(bytes_per_s)}/s"


TIME_NS_MOST = 10**15
TimeNs: TypeAlias = Annotated[
    int, _quantity("time", "75us", parse_time_ns, format_time_ns, most=TIME_NS_MOST)
]
SizeBytes: TypeAlias = Annotated[
    int, _quantity("size", "16KiB", parse_size_bytes, format_size_bytes, most=2**60)
]
Bandwidth: TypeAlias = Annotated[
    int,
    _quantity("bandwidth", "3.2GB/s", _parse_bandwidth, _format_bandwidth, least=1000, most=10**15),
]


def key(
    text: str, *, least: float | None = None, most: float | None = None, missing: str = ""
) -> msgspec.Meta:
    """The annotation of a key: the text of the documentation, and the range of a number.

    ``missing`` says what holds where the key is not there, if its default is no value.
    """
    extra = {"missing": missing} if missing else None
    return msgspec.Meta(description=text, ge=least, le=most, extra=extra)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of a declared table, and all that is known of it."""

    name: str
    field_name: str
    text: str
    missing: str
    needed: bool
    default: Any
    """None where there is none."""
    notation: Notation | None = None
    scalar: type | None = None
    """What TOML's value is, if it is one: int, float, bool, str."""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    table: type[Parameters] | None = None
    tagged_tables: Mapping[str, type[Parameters]]
    """Tables of several kinds, by the value of their key ``tag_key``."""
    tag_key: str = ""
    is_list: bool = False
    """Whether it is a list of tables."""
    open_table: type[Table] | None = None
    """A table that is passed on as it is: whoever builds from it knows what is declared."""

    @property
    def is_table(self) -> bool:
        """Whether it is a table, and can be nothing else."""
        return (self.table is not None or self.open_table is not None) and not self.is_list

    @property
    def kind(self) -> str:
        """Kind of the value, in a word or two."""
        if self.notation is not None:
            return self.notation.kind + (" or table" if self.tagged_tables else "")
        if self.choices:
            return "word"
        if self.scalar is not None:
            return _SCALARS[self.scalar][0]
        return "list of tables" if self.is_list else "table"

    @property
    def problem(self) -> str:
        """Requirement on the value, without its range."""
        if self.notation is not None:
            return self.notation.problem
        if self.choices:
            return f"must be one of: {', '.join(self.choices)}"
        if self.scalar is not None:
            return _SCALARS[self.scalar][1]
        return "must be a list of tables" if self.is_list else "must be a table"

    @property
    def allowed(self) -> str:
        """The range, or the words, as the documentation has them."""
        if self.choices:
            return ", ".join(self.choices)
        if self.least is None or self.most is None:
            return ""
        show = self.notation.show if self.notation else _SHOW_NUMBER[self.scalar or int]
        least, most = self._usual_bounds()
        if self.most != most:
            return f"{show(self.least)} to {show(self.most)}"
        # The usual bounds of times and sizes go for all, and are no news.
        is_news = self.notation is None or self.least != least
        return f"{show(self.least)} or more" if is_news else ""

    def _usual_bounds(self) -> tuple[float | None, float | None]:
        if self.notation is not None:
            return self.notation.least, self.notation.most
        return _BOUNDS[self.scalar or int]

    @property
    def written_default(self) -> str | float | None:
        """The default as it would stand in a description; None where there is none."""
        if self.default is None or self.table is not None or self.tagged_tables:
            return None
        default: str | float = self.written(self.default)
        return default

    def written(self, value: Any) -> Any:
        """A value as it would stand in a description."""
        return value if self.notation is None else self.notation.show(value)

    @property
    def shown_default(self) -> str:
        """The default for the eye; a text for what is no value."""
        default = self.written_default
        if self.missing or default is None:
            return self.missing
        if isinstance(default, bool):
            return f"`{str(default).lower()}`"
        if isinstance(default, int):
            return f"`{default:_}`"
        return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


_SCALARS: dict[type, tuple[str, str]] = {
    int: ("whole number", "must be a whole number"),
    float: ("number", "must be a number"),
    bool: ("true or false", "must be true or false"),
    str: ("text", "must be a text"),
}
_BOUNDS: dict[type, tuple[float, float]] = {int: (0, INTEGER_MOST), float: (0.0, NUMBER_MOST)}
_SHOW_NUMBER: dict[type, Callable[[Any], str]] = {int: "{:,}".format, float: "{:g}".format}
_SCALAR_TYPES: dict[type, type] = {
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.BoolType: bool,
    inspect.StrType: str,
}


@functools.cache
def keys_of(table: type[Parameters]) -> tuple[Key, ...]:
    """The keys of a declared table, in the order of their declaration."""
    declared = inspect.type_info(table)
    assert isinstance(declared, inspect.StructType)
    return tuple(map(_key_of, declared.fields))


def _key_of(declared: inspect.Field) -> Key:
    has_default = declared.default is not msgspec.NODEFAULT
    facts: dict[str, Any] = {"text": "", "missing": "", "tagged_tables": {}}
    _collect(declared.type, facts)
    if not facts["text"] and facts.get("table"):
        facts["text"] = (facts["table"].__doc__ or "").strip().removesuffix(".")
    return Key(
        name=declared.encode_name,
        field_name=declared.name,
        needed=declared.required,
        default=declared.default if has_default else None,
        **facts,
    )


def _collect(declared: inspect.Type, facts: dict[str, Any]) -> None:
    """Add what a type says to the facts of its key."""
    if isinstance(declared, inspect.Metadata):
        described: str = (declared.extra_json_schema or {}).get("description", "")
        facts["text"] = facts["text"] or described
        facts |= declared.extra or {}
        _collect(declared.type, facts)
    elif isinstance(declared, inspect.UnionType):
        for alternative in declared.types:
            _collect(alternative, facts)
    elif isinstance(declared, inspect.VarTupleType) and "notation" not in facts:
        facts["is_list"] = True
        _collect(declared.item_type, facts)
    elif isinstance(declared, inspect.StructType) and declared.tag_field is not None:
        facts["tag_key"] = declared.tag_field
        facts["tagged_tables"][str(declared.tag)] = declared.cls
    elif isinstance(declared, inspect.StructType):
        facts["table"] = declared.cls
    elif isinstance(declared, inspect.CustomType):
        facts["open_table"] = declared.cls
        facts["table"] = getattr(declared.cls, "declared", None)
    elif isinstance(declared, inspect.LiteralType):
        facts["choices"] = tuple(map(str, declared.values))
    elif scalar := _SCALAR_TYPES.get(type(declared)):
        _collect_scalar(declared, scalar, facts)


def _collect_scalar(declared: Any, scalar: type, facts: dict[str, Any]) -> None:
    bounds: tuple[float | None, float | None] = _BOUNDS.get(scalar, (None, None))
    if (notation := facts.get("notation")) is None:
        facts["scalar"] = scalar
    else:
        bounds = notation.least, notation.most
    if bounds != (None, None):
        facts["least"] = bounds[0] if declared.ge is None else declared.ge
        facts["most"] = bounds[1] if declared.le is None else declared.le


def walk(table: type[Parameters], path: str = "") -> Iterator[tuple[str, Key]]:
    """All keys of a table and of those below it, with their paths; tables after their values."""
    for declared in sorted(keys_of(table), key=lambda declared: declared.table is not None):
        below = f"{path}{declared.name}"
        yield below, declared
        if declared.table is not None:
            yield from walk(declared.table, f"{below}{'[]' if declared.is_list else ''}.")


def left_out(
    table: type[Parameters], content: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Path, default and text of each key that ``content`` does not have.

    Tables that are there only if they are written, and lists, are left out.
    """
    for declared in keys_of(table):
        name = declared.name
        if declared.table is not None and not declared.is_list and declared.open_table is None:
            if name in content or declared.needed or declared.default is not None:
                yield from left_out(declared.table, content.get(name, {}), f"{path}{name}.")
        elif name not in content and declared.shown_default:
            yield f"{path}{name}", declared.shown_default.strip("`"), declared.text
