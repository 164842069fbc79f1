# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a command's options of those that its parameters declare, or the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import typer

from freezingtime.cli.completion import completer
from freezingtime.disk.disk import Disk
from freezingtime.option import Argument, FilePath, Option, flag_of, list_options

Command: TypeAlias = Callable[..., int]

#: The types that Typer reads values as, where it does not know the declared one.
_KINDS = {
    FilePath | None: Path | None,
    str | Sequence[int]: str,
    str | int | Fraction | None: str | None,
    Sequence[str]: list[str] | None,
    Sequence[Disk | str]: list[str] | None,
    Sequence[FilePath]: list[Path] | None,
    Sequence[Path]: list[Path] | None,
}


class Only(tuple[str, ...]):
    """Selected fields of a dataclass: ``Annotated[RunOptions, Only(["qemu"])]``."""

    __slots__ = ()


class GivenNames(frozenset[str]):
    """Names of the parameters that stand on the command line, even with their defaults.

    A command with a parameter of this type is told; it is no option.
    """

    __slots__ = ()


def takes_options(*, then: Mapping[str, str] | None = None) -> Callable[[Command], Command]:
    """Have a command called with the fields of those of its parameters that are dataclasses.

    Help texts show them in place of the parameter, but some of the command's other
    parameters behind the one that ``then`` names.
    """

    def decorate(command: Command) -> Command:
        parameters = inspect.signature(command, eval_str=True).parameters
        fields = {name: _fields(parameter) for name, parameter in parameters.items()}

        def call(**given: Any) -> int:
            for name, declared in fields.items():
                if declared:
                    named = {field: given.pop(field) for field in declared if field in given}
                    given[name] = dataclasses.replace(_defaults(parameters[name]), **named)
            return command(**given)

        shown: dict[str, Parameter] = {}
        for name, parameter in parameters.items():
            shown |= fields[name] or {name: parameter}
        names = list(shown)
        for name, former in (then or {}).items():
            names.remove(name)
            names.insert(names.index(former) + 1, name)
        return _with_parameters(call, command, [shown[name] for name in names])

    return decorate


def as_typer_command(command: Command) -> Command:
    """Return a command whose declared options and arguments are Typer's."""

    def call(**given: Any) -> int:
        for name in told:
            given[name] = _given_names(given[name])
        # Typer has None for what is not given, where there is no other default.
        return command(**{name: value for name, value in given.items() if value is not None})

    parameters = inspect.signature(command, eval_str=True).parameters.values()
    told = [each.name for each in parameters if each.annotation is GivenNames]
    return _with_parameters(call, command, map(_as_typer_parameter, parameters))


def _given_names(context: typer.Context) -> GivenNames:
    return GivenNames(
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    )


def _fields(parameter: Parameter) -> dict[str, Parameter]:
    """The fields of a dataclass of options as parameters; none of other types."""
    options, only = _split(parameter)
    if not dataclasses.is_dataclass(options):
        return {}
    defaults = _defaults(parameter)
    return {
        name: Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=getattr(defaults, name),
            annotation=Annotated[option.kind, option.declared],
        )
        for name, option in list_options(type(defaults)).items()
        if name in (only or (name,))
    }


def _defaults(parameter: Parameter) -> Any:
    """The options as they are where nothing is given."""
    return _split(parameter)[0]() if parameter.default is Parameter.empty else parameter.default


def _as_typer_parameter(parameter: Parameter) -> Parameter:
    kind, declared = _split(parameter)
    default = parameter.default
    if kind is GivenNames:
        return parameter.replace(default=Parameter.empty, annotation=typer.Context)
    is_shown = default is not False and default not in (Parameter.empty, None, "", ())
    parser: Callable[[str], Any] | None = None
    if _is_path(_KINDS.get(kind, kind)):
        parser = _parse_path
    elif kind in (int, int | None) and isinstance(declared, Option):
        parser = partial(_parse_whole, declared)
    if isinstance(declared, Argument):
        info = typer.Argument(
            metavar=declared.metavar,
            help=declared.help,
            show_default=is_shown,
            parser=parser,
            autocompletion=completer(declared.values),
        )
    elif isinstance(declared, Option):
        info = typer.Option(
            *_names(parameter.name, declared, is_on=default is True),
            metavar=declared.metavar,
            help=declared.help,
            callback=declared.at_once,
            is_eager=declared.at_once is not None,
            show_default=is_shown,
            parser=parser,
            autocompletion=completer(declared.values),
        )
    else:
        return parameter
    return parameter.replace(
        default=None if default == () else default,
        annotation=Annotated[_KINDS.get(kind, kind), info],
    )


def _is_path(kind: Any) -> bool:
    return kind is Path or any(map(_is_path, get_args(kind)))


def _parse_path(text: str) -> Path:
    """Refuse an empty text, as of a shell's variable that is not set: it is no directory's name."""
    if not text:
        raise typer.BadParameter("is empty; name a file or directory")
    return Path(text)


def _parse_whole(declared: Option, text: str | int) -> int:
    """A number within the option's limits, in our own words; Typer parses defaults, too."""
    least, most = declared.minimum, declared.maximum
    allowed = "a whole number"
    if least is not None:
        allowed += f", {least} or more" if most is None else f" from {least} to {most}"
    if not re.fullmatch("[+-]?[0-9]{1,18}", str(text)):
        raise typer.BadParameter(f"{text}: must be {allowed}")
    value = int(text)
    if (least is not None and value < least) or (most is not None and value > most):
        raise typer.BadParameter(f"{text}: must be {allowed}")
    return value


def _names(name: str, declared: Option, *, is_on: bool) -> list[str]:
    """Return its names on the command line; Typer calls one that is on ``--name/--no-name``."""
    if is_on:
        return []
    return [flag_of(name, declared), *filter(None, [declared.short])]


def _split(parameter: Parameter) -> tuple[Any, Any]:
    """A parameter's type, and what is declared of it."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter.annotation, None
    kind, declared, *_ = get_args(parameter.annotation)
    return kind, declared


def _with_parameters(call: Command, command: Command, shown: Iterable[Parameter]) -> Command:
    parameters = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in shown]
    call.__doc__, call.__name__ = command.__doc__, command.__name__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call
