# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin that pytest loads wherever Freezing Time is installed.

Nothing but pytest is imported before a test asks for a gate.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from freezingtime.testing.gate import GateOfTest

#: The user property of a test's report that has its gates; so they come from xdist's workers, too.
_PROPERTY = "freezingtime"
_HEADER = ("gate", "figure", "baseline", "now", "change", "verdict")
_VERSION = 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("freezingtime", "Freezing Time")
    group.addoption(
        "--freezingtime-baseline",
        type=Path,
        metavar="DIR",
        help="Directory of the baselines that tests with freezingtime_gate compare with.",
    )
    group.addoption(
        "--freezingtime-update",
        action="store_true",
        help="Make what these tests run now their baselines.",
    )
    group.addoption(
        "--freezingtime-store",
        type=Path,
        metavar="DIR",
        help="The store of results. Default: in the cache.",
    )
    group.addoption(
        "--freezingtime-json",
        type=Path,
        metavar="FILE",
        help="Write all figures of the gates to FILE.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect gates where reports arrive: not in a worker of xdist's."""
    path: Path | None = config.getoption("--freezingtime-json")
    if config.getoption("--freezingtime-baseline") is None:
        for option, is_given in (
            ("--freezingtime-update", config.getoption("--freezingtime-update")),
            ("--freezingtime-json", path is not None),
        ):
            if is_given:
                raise pytest.UsageError(f"{option}: needs --freezingtime-baseline DIR")
    if path is not None and not path.parent.is_dir():
        raise pytest.UsageError(
            f"--freezingtime-json {path}: no directory {path.parent}; create it first"
        )
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collected(), "freezingtime-collected")


@pytest.fixture
def freezingtime_gate(request: pytest.FixtureRequest) -> GateOfTest:
    """Gate a job or a replay: call it with what runs, and conditions in ``fail_if``."""
    config = request.config
    baseline: Path | None = config.getoption("--freezingtime-baseline")
    if baseline is None:
        pytest.skip("needs --freezingtime-baseline DIR")

    from freezingtime.testing.gate import GateOfTest

    return GateOfTest(
        request.node.nodeid,
        baseline,
        config.getoption("--freezingtime-store"),
        updates=config.getoption("--freezingtime-update"),
        noted=lambda gate: request.node.user_properties.append((_PROPERTY, json.dumps(gate))),
    )


class _Collected:
    """The gates of all tests, shown and written at the end."""

    def __init__(self) -> None:
        self._gates: list[dict[str, Any]] = []
        self._problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the gates of a test that has run."""
        if report.when == "call":
            self._gates += [
                {"test": report.nodeid, **json.loads(str(value))}
                for name, value in report.user_properties
                if name == _PROPERTY
            ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file, if one is wanted."""
        path: Path | None = session.config.getoption("--freezingtime-json")
        if path is not None:
            document = {"version": _VERSION, "gates": self._gates}
            try:
                path.write_text(json.dumps(document, indent=2) + "\n")
            except OSError as error:
                # Told at the end: raised here, it would be all that is told of the tests.
                self._problem = f"--freezingtime-json {path}: {error.strerror}; name another file"
                session.exitstatus = session.exitstatus or pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show a row for each figure that a condition is about."""
        rows = [
            (gate["name"], *figure, gate["verdict"])
            for gate in self._gates
            for figure in gate["shown"] or [("-", "-", "-", "-")]
        ]
        if self._problem:
            terminalreporter.ensure_newline()
            terminalreporter.write_line(f"ERROR: {self._problem}", red=True)
        if not rows:
            return
        widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
        terminalreporter.ensure_newline()
        terminalreporter.write_sep("=", "freezingtime")
        for row in (_HEADER, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            terminalreporter.write_line("  ".join(cells).rstrip())
