# SPDX-License-Identifier: GPL-2.0-or-later
"""On macOS and on other CPUs everything works that needs no guest, and the rest says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.results.test_compare import a_run, reads
from tests.simulate.test_fit import write_log_pair

#: Imports every module, then runs every command line that it is given in JSON; a line of JSON each.
_PROGRAM = """
import contextlib, importlib, io, json, pkgutil, sys
import freezingtime
for module in pkgutil.walk_packages(freezingtime.__path__, "freezingtime."):
    if not module.name.endswith(("__main__", "._agent")):  # the latter is no module
        importlib.import_module(module.name)
from freezingtime.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main._run()
    print(json.dumps([status, out.getvalue(), err.getvalue()]))
"""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "devices": ("devices",),
    "replay": (
        *("replay", "--workload", "randread,bs=4k,qd=4,count=2k", "--device", "constant:100us"),
        *("--json", "--quiet"),
    ),
    "report": ("report", "a", "-o", "page.html"),
    "compare": ("compare", "a", "b"),
    "fit": ("fit", "logs", "-o", "mine.toml", "--quiet"),
    "export": ("export", "a", "--format", "csv", "-o", "a.csv"),
    "runs": ("runs", "."),
    "explain": ("explain", "frozen"),
    "run": ("run", "--disk", "constant:10us", "--", "true"),
    "build": ("image", "build"),
    "doctor": ("doctor",),
    "serve": ("serve", "constant:10us", "--socket", "here"),
    "measure": ("measure", "new.img", "--create", "1GiB", "--out", "measured"),
}
_LINUX_ONLY = {"serve": "serving a device needs Linux", "measure": "measuring a device needs Linux"}
_NO_GUEST = "running a guest needs Linux on x86-64"
_GUEST_ONLY = dict.fromkeys(("run", "build"), _NO_GUEST)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """What each command did there: its exit status and its words."""
    directory = tmp_path_factory.mktemp("elsewhere")
    (directory / "logs").mkdir()
    write_log_pair(directory / "logs", "lognormal")
    a_run(directory / "a", reads(*range(9000, 9500)))
    a_run(directory / "b", reads(*range(9100, 9600)))
    site = directory / "site"
    site.mkdir()
    shutil.copy(Path(__file__).with_name("other_platform.py"), site / "sitecustomize.py")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(list(COMMANDS.values()))],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(COMMANDS, map(tuple, outcomes), strict=True))


@pytest.mark.parametrize(
    "name",
    [
        "devices",
        "replay",
        "report",
        "compare",
        "fit",
        "export",
        "runs",
        "explain",
    ],
)
def test_what_needs_no_guest_works(ended: dict[str, tuple[int, str, str]], name: str) -> None:
    status, output, errors = ended[name]
    assert (status, "Traceback" in errors) == (0, False), errors
    assert output or "wrote" in errors


def test_a_replay_gives_what_it_gives_here(ended: dict[str, tuple[int, str, str]]) -> None:
    here = subprocess.run(
        [sys.executable, "-m", "freezingtime", *COMMANDS["replay"]],
        capture_output=True,
        text=True,
        check=True,
    )
    (elsewhere,), (device,) = (
        json.loads(text)["devices"] for text in (ended["replay"][1], here.stdout)
    )
    assert elsewhere["summaries"] == device["summaries"]


@pytest.mark.parametrize(("name", "words"), (_GUEST_ONLY | _LINUX_ONLY).items())
def test_the_rest_says_in_one_line_what_it_needs(
    ended: dict[str, tuple[int, str, str]], name: str, words: str
) -> None:
    status, output, errors = ended[name]
    assert (status, output) == (2, "")
    assert errors.startswith(
        f"freezingtime: {words}, and this is Darwin on arm64; replay, devices,"
    )
    assert errors.count("\n") == 1


def test_doctor_says_so_too(ended: dict[str, tuple[int, str, str]]) -> None:
    status, output, errors = ended["doctor"]
    assert status == 1
    assert _NO_GUEST in output + errors
