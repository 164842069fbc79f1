# SPDX-License-Identifier: GPL-2.0-or-later
"""One list of options: what the command line takes, Python takes, by the same name and default.

A run's list is :class:`freezingtime.runs.options.RunOptions`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import typer.main
from typer.testing import CliRunner

import freezingtime as ft
from freezingtime.api import fitting, replays, runs
from freezingtime.api.keywords import with_fields_of
from freezingtime.calibrate.measure.measure import MeasurePlan
from freezingtime.calibrate.measure.options import MeasureOptions, make_measure_plan
from freezingtime.cli.declared_options import takes_options
from freezingtime.cli.device import fit as cli_fit
from freezingtime.cli.device import measure as cli_measure
from freezingtime.cli.device import replay as cli_replay
from freezingtime.cli.device import validate as cli_validate
from freezingtime.cli.guest import doctor as cli_doctor
from freezingtime.cli.guest import run as cli_run
from freezingtime.cli.guest import shell as cli_shell
from freezingtime.cli.options import command_app
from freezingtime.errors import InputError
from freezingtime.option import FilePath, Option, list_options
from freezingtime.runs import plan as plan_module
from freezingtime.runs.options import MachineOptions, RunOptions
from freezingtime.runs.plan import RunPlan, make_plan

#: How a run is shown, and not what is run; code is allowed by a call of its own in Python.
SHOWN_BY_CLI = {"as_json", "quiet", "verbose", "allow_late", "allow_code"}
SHOWN_BY_API = {"progress"}
#: A result that is known is shown again; in Python it is there to be opened.
READ_BACK_BY_CLI = {"store", "refresh"}
#: Python measures by a call of its own.
MEASURING_BY_CLI = {"yes", *list_options(MeasureOptions)}
JOB_OF_CLI = {"command", "script", "job"}
JOB_OF_API = {"job"}


def defaults(function: Callable[..., object]) -> dict[str, object]:
    """The parameters with their defaults; Typer has None for a list of nothing."""
    return {
        name: None if parameter.default == () else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
    }


def without(options: Mapping[str, object], names: set[str]) -> dict[str, object]:
    assert names <= set(options)
    return {name: default for name, default in options.items() if name not in names}


OPTIONS = defaults(RunOptions)


def test_a_run_has_one_list_of_options() -> None:
    only_cli = JOB_OF_CLI | SHOWN_BY_CLI | READ_BACK_BY_CLI
    assert without(defaults(cli_run.run_command), only_cli) == OPTIONS
    assert without(defaults(runs.run), JOB_OF_API | SHOWN_BY_API) == OPTIONS
    shell = without(defaults(cli_shell.shell_command), {"allow_code", "out"})
    assert shell == defaults(MachineOptions)


def test_a_plan_of_no_options_is_a_plan_with_its_own_defaults() -> None:
    script = b"#!/bin/sh\n"
    assert make_plan(RunOptions(), script=script) == RunPlan([], script)


def test_a_measurement_of_no_options_is_one_with_its_own_defaults() -> None:
    path, out = Path("/there"), Path("/not/there")
    assert make_measure_plan(path, out, MeasureOptions()) == MeasurePlan(
        path, out, sizes_bytes=[4096, 65536], depths=[1, 4, 16]
    )
    given = MeasureOptions(sizes=[8192, 4096], depths=(2, 1))
    assert make_measure_plan(path, out, given) == make_measure_plan(
        path, out, MeasureOptions(sizes="4KiB,8KiB", depths="1,2")
    )


@pytest.mark.parametrize(
    ("app", "names"),
    [
        (cli_run.app, set(OPTIONS)),
        (cli_shell.app, set(OPTIONS) & set(defaults(cli_shell.shell_command))),
        (cli_validate.app, {"qemu", "cpu_rate"}),
        (cli_doctor.app, {"qemu"}),
    ],
)
def test_what_is_declared_of_an_option_is_what_help_says(app: typer.Typer, names: set[str]) -> None:
    shown = {parameter.name: parameter for parameter in typer.main.get_command(app).params}
    declared = list_options(RunOptions)
    for name in names:
        option: Any = shown[name]
        assert option.opts == [declared[name].declared.flag or f"--{name.replace('_', '-')}"]
        assert (option.help, option.metavar) == (
            declared[name].declared.help,
            declared[name].declared.metavar,
        )
        assert option.default == OPTIONS[name]
        assert option.show_default == (OPTIONS[name] not in (None, False) or name == "seed")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MoreOptions(RunOptions):
    colour: Annotated[str, Option("COLOUR", "The colour of the lamp.")] = "green"
    lamps: Annotated[Sequence[FilePath], Option("FILE", "Lamps.", flag="--lamp")] = ()
    bright: Annotated[bool, Option("", "Whether it is bright.")] = False


def test_an_option_that_is_added_to_the_list_is_in_both_interfaces() -> None:
    seen: list[MoreOptions] = []

    @takes_options(then={"quiet": "colour"})
    def command(options: MoreOptions, quiet: Annotated[bool, Option("", "Hush.")] = False) -> int:
        seen.append(options)
        return 0

    @with_fields_of(MoreOptions)
    def function(options: MoreOptions) -> int:
        seen.append(options)
        return 0

    ended = CliRunner().invoke(command_app(command), ["--help"])
    assert re.search(r"--colour +COLOUR +The colour of the lamp", ended.stdout), ended.stdout
    flags = re.findall(r"--[a-z-]+", ended.stdout[ended.stdout.index("--colour") :])
    assert flags == ["--colour", "--quiet", "--lamp", "--bright", "--help"]
    arguments = ["--colour", "red", "--lamp", "a", "--lamp", "b", "--bright", "--cpus", "4"]
    CliRunner().invoke(command_app(command), arguments)
    CliRunner().invoke(command_app(command), [])
    lamps = [Path("a"), Path("b")]
    function(colour="red", lamps=lamps, bright=True, cpus=4)
    function()
    assert seen[:2] == seen[2:]
    assert seen[:2] == [
        MoreOptions(colour="red", lamps=lamps, bright=True, cpus=4),
        MoreOptions(),
    ]
    assert list(inspect.signature(function).parameters) == [*OPTIONS, "colour", "lamps", "bright"]


def test_a_path_is_not_empty() -> None:
    """Of ``--out "$VARIABLE"``; what is empty would be the current directory."""

    @takes_options()
    def command(options: RunOptions) -> int:
        raise AssertionError(options)

    for option in ("--out", "--kernel", "--allow-backing"):
        ended = CliRunner().invoke(command_app(command), [option, ""])
        assert ended.exit_code == 2
        assert "is empty; name a file or directory" in " ".join(ended.output.split())
    with pytest.raises(InputError, match=r"^out: is empty; name a file or directory$"):
        runs.run(out="", job="true")


def test_an_option_that_is_not_declared_is_an_error() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Undeclared(RunOptions):
        colour: str = "green"

    with pytest.raises(TypeError, match="colour: annotate it with one Option"):
        list_options(Undeclared)


class _PlannedError(Exception):
    """Carries what a plan was to be made of."""

    def __init__(self, options: RunOptions) -> None:
        super().__init__()
        self.options = options


def planned(module: Any, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> Any:
    """Return the options that ``call`` has a plan made of."""

    def note(options: RunOptions, **_: object) -> None:
        raise _PlannedError(options)

    monkeypatch.setattr(module, "make_plan", note)
    with pytest.raises(_PlannedError) as raised:
        call()
    return raised.value.options


def distinct(name: str) -> Any:
    """Return a value that no other option has."""
    if name in ("disks", "collect", "allow_backing", "env"):
        return [Path(f"/{name}")] if name == "allow_backing" else [name]
    return Path(f"/{name}") if name in ("kernel", "initrd", "out") else name


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_a_run_arrives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: distinct(name)}
    by_api = planned(runs, monkeypatch, lambda: runs.run(job="true", **given))
    by_cli = planned(
        plan_module, monkeypatch, lambda: cli_run.run_command(command=["true"], **given)
    )
    # Lists are tuples then, so that options that a document has are equal to those of a command.
    value = distinct(name)
    expected = tuple(value) if isinstance(value, list) else value
    assert getattr(by_api, name) == getattr(by_cli, name) == expected


@pytest.mark.parametrize(
    ("command", "function", "of_cli", "of_api", "other_form"),
    [
        (
            cli_replay.replay_command,
            replays.replay,
            # The store is of single runs of the command line, as that of `run`.
            {"trace", "workload", "device", "fail_if", "store", "refresh"},
            {"trace_or_workload", "devices"},
            set(),
        ),
        (
            cli_fit.fit_command,
            fitting.fit,
            # Curves are fitted by the command alone.
            {"figures", "cells", "held_out", "said", "budget"},
            set(),
            {"out"},
        ),
        (cli_measure.measure_command, fitting.measure, {"yes"}, set(), set()),
        (
            cli_validate.validate_command,
            fitting.validate,
            MEASURING_BY_CLI | {"figures"},
            set(),
            {"device"},
        ),
    ],
)
def test_other_commands_and_their_functions_take_the_same(
    command: Callable[..., object],
    function: Callable[..., object],
    of_cli: set[str],
    of_api: set[str],
    other_form: set[str],
) -> None:
    shown = SHOWN_BY_CLI & set(defaults(command))
    cli = without(defaults(command), of_cli | shown)
    api = without(defaults(function), of_api | SHOWN_BY_API)
    assert set(cli) == set(api)
    assert without(cli, other_form) == without(api, other_form)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ft.run("true", memry="1GiB"), r"ft\.run\(\) .* 'memry'; did you mean memory\?"),
        (lambda: ft.fit("x", sed=1), r"ft\.fit\(\) .* 'sed'; did you mean seed\?"),
        (lambda: ft.measure("x"), r"ft\.measure\(\) missing a required argument: 'out'"),
        (
            lambda: ft.replay("read", ["constant:1us"], speedup=2),
            r"ft\.replay\(\) .* 'speedup'; did you mean speed_up\?",
        ),
        (
            lambda: ft.validate(against="x", colour=1),
            r"ft\.validate\(\) .* 'colour'; it takes device, .*, progress",
        ),
        (lambda: ft.Disk("x", qeue_depth=1), r"ft\.Disk\(\) .*; did you mean queue_depth\?"),
        (ft.Disk, r"ft\.Disk\(\) missing a required argument: 'device'"),
    ],
)
def test_an_argument_that_is_none_is_named_with_the_nearest(
    call: Callable[[], object], said: str
) -> None:
    """By the function's name, and not by that of a class within."""
    with pytest.raises(TypeError, match=f"^{said}$"):
        call()
