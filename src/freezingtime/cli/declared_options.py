# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a command's options of those that a dataclass declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.models import OptionInfo

from freezingtime.option import DeclaredOption, FilePath, list_options

#: The types that Typer reads values as, where it does not know the declared one.
_KINDS = {
    FilePath | None: Path | None,
    Sequence[str]: list[str] | None,
    Sequence[FilePath]: list[Path] | None,
}


def option_of(options: type[Any], name: str) -> OptionInfo:
    """Return a single field of a dataclass of options as Typer's option."""
    return _typer_option(name, list_options(options)[name])


def takes_options(
    options: type[Any], *, only: Collection[str] = (), then: Mapping[str, str] | None = None
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Have a command called with the fields of its parameter ``options``, a dataclass.

    Help texts show them in place of that parameter, but some of the command's other
    parameters behind the one that ``then`` names. ``only``: these fields instead of all.
    """
    declared = {
        name: option for name, option in list_options(options).items() if not only or name in only
    }

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def call(**given: Any) -> int:
            values = {name: given.pop(name, None) for name in declared}
            named = {name: value for name, value in values.items() if value is not None}
            return command(options=options(**named), **given)

        parameters = inspect.signature(command, eval_str=True).parameters
        fields = {name: _parameter(name, option) for name, option in declared.items()}
        names: list[str] = []
        for name in parameters:
            names += fields if name == "options" else [name]
        for name, former in (then or {}).items():
            names.remove(name)
            names.insert(names.index(former) + 1, name)
        keyword = inspect.Parameter.KEYWORD_ONLY
        shown = [{**parameters, **fields}[name].replace(kind=keyword) for name in names]
        call.__doc__ = command.__doc__
        call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        return call

    return decorate


def _parameter(name: str, option: DeclaredOption) -> inspect.Parameter:
    kind = _KINDS.get(option.kind, option.kind)
    default = None if option.default == () else option.default
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, _typer_option(name, option)],
    )


def _typer_option(name: str, option: DeclaredOption) -> OptionInfo:
    declared = option.declared
    info: OptionInfo = typer.Option(
        declared.flag or f"--{name.replace('_', '-')}",
        metavar=declared.metavar,
        help=declared.help,
        min=declared.minimum,
        show_default=option.default is not False and option.default not in (None, ()),
    )
    return info
