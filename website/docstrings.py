# SPDX-License-Identifier: GPL-2.0-or-later
"""The API's docstrings, which are in reStructuredText, as mkdocstrings wants them."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import griffe

from website.markdown import from_docstring

#: Of a type's full name: what stands before its own.
_MODULES = re.compile(r"\b(?:\w+\.)+(?=\w)")


class Docstrings(griffe.Extension):
    """Puts roles and literals into Markdown, and the values of defaults in place of their names."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = from_docstring(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Called for a package when all of it is loaded."""
        for function in _functions(pkg):
            _take_fields(function)
            for parameter in function.parameters:
                if isinstance(parameter.default, griffe.ExprName):
                    parameter.default = _value(parameter.default, loader)


def _functions(scope: griffe.Object) -> Iterator[griffe.Function]:
    for member in scope.members.values():
        if isinstance(member, griffe.Function):
            yield member
        elif isinstance(member, griffe.Object):
            yield from _functions(member)


def _take_fields(function: griffe.Function) -> None:
    """Give a function that ``with_fields_of`` a dataclass the parameters that it has in use."""
    if not any("with_fields_of" in str(decorator.value) for decorator in function.decorators):
        return
    module = importlib.import_module(function.module.path)
    signature = inspect.signature(getattr(module, function.name))
    function.parameters = griffe.Parameters(
        *(
            griffe.Parameter(
                parameter.name,
                annotation=_MODULES.sub("", inspect.formatannotation(parameter.annotation)),
                kind=griffe.ParameterKind(parameter.kind.description),
                default=None if parameter.default is parameter.empty else repr(parameter.default),
            )
            for parameter in signature.parameters.values()
        )
    )


def _value(name: griffe.ExprName, loader: griffe.GriffeLoader) -> griffe.Expr | str:
    """What a constant of ours is; the name itself of anything else."""
    try:
        constant = loader.modules_collection[name.canonical_path]
    except KeyError:
        return name
    if isinstance(constant, griffe.Attribute) and constant.value is not None:
        return constant.value
    return name
