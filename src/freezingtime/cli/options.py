# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share, and the wrapper that turns a function into a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from freezingtime.cli.declared_options import Command, as_typer_command
from freezingtime.device.own_model import allow_code
from freezingtime.errors import InputError
from freezingtime.option import Option

if TYPE_CHECKING:
    from freezingtime.store.results.result_store import ResultStore

#: The store of results in the cache, as the `--store` of a single run names it.
_CACHE = Path("cache")

SeedOption: TypeAlias = Annotated[
    int,
    Option(
        "NUMBER",
        "Seed of the device models' random numbers; equal seeds make equal runs.",
        minimum=0,
    ),
]

JsonOption: TypeAlias = Annotated[
    bool, Option("", "Print one JSON document instead of text.", flag="--json")
]

QuietOption: TypeAlias = Annotated[bool, Option("", "Suppress progress on stderr.", short="-q")]

ScriptOption: TypeAlias = Annotated[
    Path | None, Option("FILE", "Run this script from the host instead of COMMAND.")
]

JobOption: TypeAlias = Annotated[
    Path | None,
    Option("DIR", "Instead of COMMAND: copy DIR into the guest as `/job`, and run `/job/run`."),
]

RecordOption: TypeAlias = Annotated[
    Path | None,
    Option("FILE", "Write a record, in the format of `requests.parquet` of `run --out`."),
]


def _allow_code(allowed: bool) -> None:
    if allowed:
        allow_code()


AllowCodeOption: TypeAlias = Annotated[
    bool,
    Option(
        "",
        "Allow device files to name Python code as members. A `FILE.py:CLASS` that "
        "you name yourself always runs.",
        at_once=_allow_code,
    ),
]


def store_of_single_run(store: Path | None, *, refresh: bool) -> ResultStore | None:
    """Return the store that `--store` of a single run or replay names; None: there is none.

    Raises:
        InputError: nothing can be refreshed.
    """
    if store is None:
        if refresh:
            raise InputError("--refresh: goes with --store; leave it out")
        return None
    from freezingtime.store.results.result_store import ResultStore, default_store

    return default_store() if store == _CACHE else ResultStore(store)


class Group(TyperGroup):
    """Commands below one name; the name alone prints what there is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)


def command_app(
    command: Command, cls: type[TyperCommand] | None = None, **context_settings: object
) -> typer.Typer:
    """A Typer app of one command, for :mod:`freezingtime.cli.main` to take in."""
    app = _app()
    app.command(cls=cls, context_settings=context_settings)(as_typer_command(command))
    return app


def group_app(help_text: str, commands: Mapping[str, Command]) -> typer.Typer:
    """A Typer app of commands below one name, such as ``image list``."""
    app = _app(help=help_text, cls=Group)
    for name, command in commands.items():
        app.command(name)(as_typer_command(command))
    return app


def _app(**settings: Any) -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode="markdown", **settings)
