# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions whose keywords are the fields of a dataclass, so that there is one list of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Set
from typing import ParamSpec, TypeVar, get_type_hints

from freezingtime.option import require_arguments

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")
Fields = TypeVar("Fields")


def with_fields_of(
    fields: Callable[Parameters, Fields],
) -> Callable[[Callable[[Fields], Value]], Callable[Parameters, Value]]:
    """Have a function of one dataclass called as that class is, for editors and type checkers, too.

    What calls it shows in its help as the function's own arguments.
    """

    def decorate(function: Callable[[Fields], Value]) -> Callable[Parameters, Value]:
        return _called_as(fields, function, lambda made, _given: function(made))

    return decorate


def with_given_fields_of(
    fields: Callable[Parameters, Fields],
) -> Callable[[Callable[[Fields, Set[str]], Value]], Callable[Parameters, Value]]:
    """Do as :func:`with_fields_of`, for a function that is told the names that were given, too."""

    def decorate(function: Callable[[Fields, Set[str]], Value]) -> Callable[Parameters, Value]:
        return _called_as(fields, function, function)

    return decorate


def _called_as(
    fields: Callable[Parameters, Fields],
    function: Callable[..., Value],
    run: Callable[[Fields, Set[str]], Value],
) -> Callable[Parameters, Value]:
    signature = _signature(fields, function)

    def call(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Value:
        require_arguments(f"ft.{function.__name__}", signature, *arguments, **keywords)
        given = signature.bind(*arguments, **keywords).arguments.keys()
        return run(fields(*arguments, **keywords), given)

    call.__doc__ = function.__doc__
    call.__name__, call.__qualname__ = function.__name__, function.__qualname__
    call.__module__ = function.__module__
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _signature(fields: Callable[..., object], function: Callable[..., object]) -> inspect.Signature:
    hints = get_type_hints(fields)
    parameters = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(fields).parameters.values()
    ]
    return inspect.Signature(parameters, return_annotation=get_type_hints(function)["return"])
