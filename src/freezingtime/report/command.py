# SPDX-License-Identifier: GPL-2.0-or-later
"""The command that makes a run once more, from its ``run.json``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from freezingtime.units import format_size_bytes

_SHELL = "#!/bin/sh\n"
_EXEC = f"{_SHELL}exec "
_END = "END"
#: What is not named in a command, as it is so by itself.
_DEFAULTS = {
    "clock": "exact",
    "guest": "mini",
    "memory_bytes": 512 << 20,
    "cpus": 1,
    "cpu_model": "v1",
    "cpu_rate_hz": 4_000_000_000,
    "seed": 0,
}

_OF_A_SNAPSHOT = ("guest", "memory_bytes", "cpus", "cpu_model")


def command_of(document: Mapping[str, Any] | None) -> str:
    """The command for a shell; empty where a file of the user's would have to be named.

    Without ``--out``, since the run is there already.
    """
    plan = {} if document is None else document["plan"]
    if not isinstance(plan.get("script"), str) or plan.get("system") or plan.get("locked"):
        return ""
    return " ".join(["freezingtime run", *_options(plan), *_job(plan)])


def _options(plan: Mapping[str, Any]) -> Iterator[str]:
    for spec in _texts(plan.get("disks")):
        yield f"--disk {shlex.quote(spec)}"
    if plan.get("root_device"):
        yield f"--root-device {shlex.quote(str(plan['root_device']))}"
    if plan.get("from"):
        yield f"--from {shlex.quote(str(plan['from']))}"
    for key, default in _DEFAULTS.items():
        value = plan.get(key, default)
        comes_along = bool(plan.get("from")) and key in _OF_A_SNAPSHOT
        if value not in (None, default) and not comes_along:
            yield f"--{_option(key)} {shlex.quote(_value(key, value))}"
    for variable in _texts(plan.get("environment")):
        yield f"--env {shlex.quote(variable)}"
    for pattern in _texts(plan.get("collect")):
        yield f"--collect {shlex.quote(pattern)}"


def _option(key: str) -> str:
    return key.removesuffix("_bytes").removesuffix("_hz").replace("_", "-")


def _value(key: str, value: object) -> str:
    if key == "memory_bytes" and isinstance(value, int):
        return format_size_bytes(value)
    return str(value)


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _job(plan: Mapping[str, Any]) -> Iterator[str]:
    script = str(plan["script"])
    line = script.removeprefix(_SHELL).strip()
    if plan.get("job_directory"):
        yield f"--job {shlex.quote(str(plan['job_directory']))}"
    elif script.startswith(_EXEC) and "\n" not in line:
        yield f"-- {line.removeprefix('exec ')}"
    elif script.startswith(_SHELL) and "\n" not in line and " " in line:
        yield f"-- {shlex.quote(line)}"
    else:
        end = _END
        while end in script:
            end += "_"
        yield f"--script /dev/stdin <<'{end}'\n{script.rstrip()}\n{end}"
