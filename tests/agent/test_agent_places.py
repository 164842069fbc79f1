# SPDX-License-Identifier: GPL-2.0-or-later
"""How the agent finds QEMU's calls, on programs that are built in the ways in which QEMUs are."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, END_DEADLINE_S, STRICT

PROGRAM = Path(__file__).parent / "places_program.c"
FINDER = [AGENT_DIRECTORY / "qemu/cpus/places.c", AGENT_DIRECTORY / "ours/base.c"]


class Build(NamedTuple):
    """How the functions are built, and how their calls are to be found."""

    module: list[str] | None
    """Flags of the module that they are in; None: they are the program's own."""
    calls_directly: bool


BUILDS = {
    "program": Build(None, calls_directly=True),
    "module by name": Build([], calls_directly=False),
    "module without lazy binding": Build(["-Wl,-z,now", "-Wl,-z,relro"], calls_directly=False),
    "module without PLT": Build(["-fno-plt"], calls_directly=False),
    "module that calls directly": Build(
        ["-Wl,-Bsymbolic", "-fno-semantic-interposition"], calls_directly=True
    ),
}


def build(directory: Path, *arguments: object) -> Path:
    built = directory / f"built-{len(list(directory.iterdir()))}"
    command = [require_tool("gcc"), *STRICT, "-o", str(built), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=END_DEADLINE_S)
    return built


@pytest.mark.parametrize("name", BUILDS)
def test_every_kind_of_call_is_found_and_led(name: str, tmp_path: Path) -> None:
    how = BUILDS[name]
    if how.module is None:
        command = [build(tmp_path, "-rdynamic", PROGRAM, *FINDER)]
    else:
        flags = ["-DMODULE_CODE", "-fPIC", "-shared", *how.module]
        command = [
            build(tmp_path, "-DMODULE", PROGRAM, *FINDER),
            build(tmp_path, *flags, PROGRAM),
        ]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=END_DEADLINE_S, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    directly = how.calls_directly
    assert dict(line.split(maxsplit=1) for line in ran.stdout.splitlines()) == {
        "named": "1",
        "unnamed": "0",
        "caller_begins": "1",
        "caller_ends": "1",
        "no_code": "1",
        # Of two calls, neither is the only one; by name, there is none.
        "only_call": str(int(directly)),
        "not_only_call": "0",
        "before": "201 10 6",
        "never": "0",
        # A function that has no name, and is one of two that call.
        "calls_in_static": str(int(directly)),
        "one_led": "201 10 2002" if directly else "201 10 6",
        "calls": str(int(directly)),
        "slots": str(int(not directly)),
        "all_led": "100101 10 2002" if directly else "100101 10 6",
    }
