# SPDX-License-Identifier: GPL-2.0-or-later
"""Declare an option once, beside its type and default: in a dataclass of options, or a command.

::

    @dataclass(frozen=True, kw_only=True)
    class RunOptions:
        memory: Annotated[str, Option("SIZE", "The guest's memory.")] = "512MiB"

The command line is generated from such a class, and Python functions take its fields. What only
the command line has is declared in the same way, by parameters of the command's function.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import os
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast, get_args, get_type_hints

from freezingtime.errors import did_you_mean

Class = TypeVar("Class", bound=type)


class Values(enum.Enum):
    """Kinds of things that an option's values name, for who completes them."""

    DEVICE = enum.auto()
    DEVICE_CLASS = enum.auto()
    GUEST = enum.auto()
    IMAGE = enum.auto()
    SNAPSHOT = enum.auto()
    RUN = enum.auto()
    RUN_IN_PROGRESS = enum.auto()
    TRACE_FORMAT = enum.auto()
    EXPORT_FORMAT = enum.auto()
    TERM = enum.auto()


#: A file, as Python callers name it.
FilePath: TypeAlias = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """Help text and metavar of an option."""

    metavar: str
    """Placeholder of its value in a help text; empty for a flag."""
    help: str
    flag: str = ""
    """Its name on the command line, where that is not the field's: ``--from``."""
    short: str = ""
    """A second name, of one letter: ``-o``."""
    minimum: int | None = None
    maximum: int | None = None
    at_once: Callable[[bool], None] | None = None
    """Called with a flag when it is parsed, so that its command need not look at it."""
    values: Values | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Argument:
    """Help text and metavar of an argument, which has no name on the command line."""

    metavar: str
    help: str
    values: Values | None = None


def flag_of(name: str, declared: Option) -> str:
    """Return the option's name on the command line, by its field's name."""
    return declared.flag or f"--{name.replace('_', '-')}"


class DeclaredOption(NamedTuple):
    """An option as a field of a dataclass declares it."""

    declared: Option
    kind: Any
    """The field's type, such as ``str | None``."""
    default: Any


def list_options(options: type[Any]) -> Mapping[str, DeclaredOption]:
    """Return the options that a dataclass declares, by their fields' names, in order.

    Raises:
        TypeError: a field has no :class:`Option`, or no default.
    """
    return _list_options(cast(Hashable, options))


@functools.cache
def _list_options(options: Any) -> Mapping[str, DeclaredOption]:
    hints = get_type_hints(options, include_extras=True)
    return MappingProxyType(
        {field.name: _declared(hints[field.name], field) for field in dataclasses.fields(options)}
    )


def _declared(hint: Any, field: dataclasses.Field[Any]) -> DeclaredOption:
    found = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Option)]
    if len(found) != 1 or field.default is dataclasses.MISSING:
        raise TypeError(f"{field.name}: annotate it with one Option and give it a default")
    return DeclaredOption(found[0], get_args(hint)[0], field.default)


def require_arguments(
    callee: str, signature: inspect.Signature, *arguments: object, **keywords: object
) -> None:
    """Require what a Python function takes; ``callee`` is its name for users.

    Raises:
        TypeError: an argument is unknown, missing or there twice; the text names the nearest.
    """
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        known = [*signature.parameters]
        unknown = [name for name in keywords if name not in known]
        hint = did_you_mean(unknown[0], known).rstrip() if unknown else ""
        if unknown and not hint:
            hint = f"it takes {', '.join(known)}"
        raise TypeError("; ".join(filter(None, [f"{callee}() {error}", hint]))) from None


def with_clear_arguments(name: str) -> Callable[[Class], Class]:
    """Have a class that is called ``name`` say which argument is not right, and the nearest."""

    def decorate(made: Class) -> Class:
        init = made.__init__  # type: ignore[misc]
        signature = inspect.signature(made)

        @functools.wraps(init)
        def checked(self: object, *arguments: object, **keywords: object) -> None:
            require_arguments(name, signature, *arguments, **keywords)
            init(self, *arguments, **keywords)

        made.__init__ = checked  # type: ignore[misc]
        return made

    return decorate
