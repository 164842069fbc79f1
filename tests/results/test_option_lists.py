# SPDX-License-Identifier: GPL-2.0-or-later
"""One list of options: what the command line takes, Python takes, by the same name and default.

A run's list is the signature of :func:`freezingtime.runs.options.make_plan`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from freezingtime.api import fitting, replays, runs
from freezingtime.api.disk import Disk
from freezingtime.cli.device import fit as cli_fit
from freezingtime.cli.device import measure as cli_measure
from freezingtime.cli.device import replay as cli_replay
from freezingtime.cli.device import validate as cli_validate
from freezingtime.cli.guest import run as cli_run
from freezingtime.cli.guest import shell as cli_shell
from freezingtime.disk.spec import DISK_KEYS, parse_disk
from freezingtime.runs.options import make_plan
from freezingtime.runs.run import RunPlan

#: How a run is shown, and not what is run; code is allowed by a call of its own in Python.
SHOWN_BY_CLI = {"as_json", "quiet", "allow_late", "allow_code"}
SHOWN_BY_API = {"progress"}
#: Python measures by a call of its own.
MEASURING_BY_CLI = {
    *("yes", "create", "write", "overwrite", "sizes", "depths", "rounds", "runtime"),
}
JOB_OF_CLI = {"command", "disk", "script", "job"}
JOB_OF_API = {"disks", "job"}
JOB_OF_PLAN = {"disks", "script", "job_directory"}


def defaults(function: Callable[..., object]) -> dict[str, object]:
    """The parameters with their defaults; Typer has None for a list of nothing."""
    return {
        name: None if parameter.default == () else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
    }


def without(options: Mapping[str, object], names: set[str]) -> dict[str, object]:
    assert names <= set(options)
    return {name: default for name, default in options.items() if name not in names}


OPTIONS = without(defaults(make_plan), JOB_OF_PLAN)


def test_a_run_has_one_list_of_options() -> None:
    assert without(defaults(cli_run.run_command), JOB_OF_CLI | SHOWN_BY_CLI) == OPTIONS
    assert without(defaults(runs.run), JOB_OF_API | SHOWN_BY_API) == OPTIONS
    shell = without(defaults(cli_shell.shell_command), {"disk", "allow_code"})
    assert shell == {name: OPTIONS[name] for name in shell}


def test_a_plan_of_no_options_is_a_plan_with_its_own_defaults() -> None:
    script = b"#!/bin/sh\n"
    assert make_plan(disks=[], script=script) == RunPlan([], script)


class _PlannedError(Exception):
    """Carries what a plan was to be made of."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options


def planned(module: Any, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> Any:
    """What ``call`` has a plan made of."""

    def note(**options: Any) -> None:
        raise _PlannedError(options)

    monkeypatch.setattr(module, "make_plan", note)
    with pytest.raises(_PlannedError) as raised:
        call()
    return raised.value.options


def distinct(name: str) -> Any:
    """A value that no other option has."""
    if name in ("collect", "allow_backing"):
        return [Path(f"/{name}")] if name == "allow_backing" else [name]
    return Path(f"/{name}") if name in ("kernel", "initrd", "out") else name


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_a_run_arrives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: distinct(name)}
    by_api = planned(runs, monkeypatch, lambda: runs.run([], "true", **given))
    by_cli = planned(cli_run, monkeypatch, lambda: cli_run.run_command(["true"], **given))
    assert by_api[name] == by_cli[name] == distinct(name)


@pytest.mark.parametrize(
    ("command", "function", "of_cli", "of_api", "other_form"),
    [
        (
            cli_replay.replay_command,
            replays.replay,
            {"trace", "workload", "device", "format_name"},
            {"trace_or_workload", "devices", "format"},
            {"speed_up"},
        ),
        (cli_fit.fit_command, fitting.fit, {"figures"}, set(), {"out"}),
        (cli_measure.measure_command, fitting.measure, {"yes"}, set(), {"sizes", "depths"}),
        (
            cli_validate.validate_command,
            fitting.validate,
            MEASURING_BY_CLI | {"figures"},
            set(),
            {"device", "cpus"},
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


def test_a_disk_has_every_key_of_the_option() -> None:
    keys = {key.replace("-", "_") for key in DISK_KEYS} - {"medium"}
    fields = {field.name for field in dataclasses.fields(Disk)} - {"device", "file"}
    assert fields == keys


def test_every_field_of_a_disk_is_in_its_text() -> None:
    values: dict[str, Any] = {
        **{"name": "data", "file": "/disk", "size": "1GiB", "writable": True, "direct": True},
        **{"format": "raw", "delay": "3ms", "frontend": "virtio-scsi", "write_cache": False},
        **{"queue_depth": 7, "queues": 2, "block_size": "512/4096", "rotational": False},
    }
    disk = Disk("constant:1us", **values)
    assert set(values) == {field.name for field in dataclasses.fields(Disk)} - {"device"}
    for name in values:
        default = next(field.default for field in dataclasses.fields(Disk) if field.name == name)
        assert dataclasses.replace(disk, **{name: default}).spec != disk.spec, name
    parsed = parse_disk(disk.spec)
    assert (parsed.queues.depth, parsed.queues.count) == (7, 2)
    assert (parsed.traits.physical_block_bytes, parsed.traits.rpm) == (4096, 0)
