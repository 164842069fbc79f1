# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share: tools that may be missing, and the program as a user runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest

from freezingtime.vm.qemu.program import VARIABLE, requested_qemu

pytest_plugins = ["pytester"]

#: The installed console script, beside the interpreter that runs the tests.
PROGRAM = Path(sys.executable).parent / "freezingtime"

_DEADLINE_S = 300.0

# A shell has what it starts in the background ignore Ctrl-C, nohup has it ignore SIGHUP, and so
# would the programs that are started here, some of which are to be ended by these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes is the host's affair.
hypothesis.settings.register_profile("freezingtime", deadline=None)
hypothesis.settings.load_profile("freezingtime")


#: Rooms whose tests take compiled models, long simulations or builds: for `make test`.
_SIMULATIONS = frozenset(
    ("changes", "compose", "device", "disk", "docs", "flash", "install", "kept", "simulate")
)
#: Files whose tests start a program anew for nearly each case, or wait: for `make test`, too.
_PROGRAM_STARTS = {
    "test_cli_errors.py",
    "test_foreign_text.py",
    "test_fsync.py",
    "test_patience.py",
    "test_plot.py",
    "test_qemu_probe.py",
    "test_replay_sweep.py",
    "test_report.py",
    "test_serve.py",
    "test_standard_streams.py",
    "test_start_up.py",
    "test_workers.py",
}
#: What compiles the largest model, for a minute: the other worker is not to compile it as well.
_COMPILES = "test_flash_invariants.py"
#: Files of those rooms that are as quick as a linter.
_QUICK = {"test_docstrings.py", "test_house.py", "test_project.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make check`` leaves out by its room; files with guests come first.

    A worker takes a file at a time: with the long ones at the end, one would work alone.
    """
    with_guests = {item.path for item in items if item.get_closest_marker("guest")}
    items.sort(key=lambda item: (item.path.name != _COMPILES, item.path not in with_guests))
    for item in items:
        if item.path.name in _QUICK:
            continue
        if item.path.parent.name in _SIMULATIONS or item.path.name in _PROGRAM_STARTS:
            item.add_marker(pytest.mark.simulation)


def skip(reason: str) -> None:
    """Skip the test; fail it where nothing may be missing (``REQUIRE_TOOLS=1``)."""
    if os.environ.get("REQUIRE_TOOLS") == "1":
        pytest.fail(f"REQUIRE_TOOLS=1, but {reason}")
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of a program that a test needs; skips the test where it is missing."""
    path = shutil.which(name)
    if path is None:
        skip(f"{name} is not installed")
    return path or name


def require_root() -> None:
    """Skip the test unless it may mount and change users."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")


@pytest.fixture
def only_named_qemu(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the QEMU of all tests; whoever does not give it on gets one that will not do."""
    name = requested_qemu(None)
    monkeypatch.setenv(VARIABLE, "/bin/false")
    return name


class RunProgram(Protocol):
    """Runs ``freezingtime`` to its end and returns what it printed."""

    def __call__(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] = ...,
        prefix: Sequence[str] = ...,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def freezingtime() -> RunProgram:
    """The installed program, with its output captured and no terminal in sight.

    ``environment`` is added to the test's own, ``prefix`` is a command that runs the program,
    and ``options`` go to :func:`subprocess.run`.
    """
    if not PROGRAM.exists():
        skip(f"{PROGRAM} is not installed")

    def run(
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, str(PROGRAM), *map(str, arguments)],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            env={**os.environ, **(environment or {})},
            **options,
        )

    return run
