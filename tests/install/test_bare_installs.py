# SPDX-License-Identifier: GPL-2.0-or-later
"""Installations on bare Debians: Python is there, and no compiler, no QEMU and no make."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.install.roots import OpenRoot, debian_root
from tests.support.doclib import ROOT

pytestmark = pytest.mark.slow

_BARE = ("python3", "python3-venv")
_COMPILER = ("gcc", "libc6-dev")
_DIST = "/srv/dist"
_PROGRAM = "/srv/venv/bin/freezingtime"


@pytest.fixture(scope="module")
def dist() -> Path:
    """The directory with what ``make wheel`` makes."""
    command = [require_tool("make"), "-C", str(ROOT), "wheel", f"VENV={sys.prefix}"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    # auditwheel's verdict on the C library's symbols that the agent needs:
    assert re.search(r'following platform tag:\s+"manylinux_2_17_x86_64"', made.stdout)
    return ROOT / "dist"


def first_run() -> list[str]:
    """The first command of README that runs a guest."""
    text = (ROOT / "README.md").read_text()
    command = re.search(r"^\$ (freezingtime run .*?[^\\])$", text, re.MULTILINE | re.DOTALL)
    assert command
    return shlex.split(command[1].replace("\\\n", " "))


def install(root: OpenRoot, pattern: str, dist: Path) -> None:
    (archive,) = dist.glob(pattern)
    root.check("python3", "-m", "venv", "/srv/venv")
    root.check("/srv/venv/bin/pip", "install", "-q", f"{_DIST}/{archive.name}")
    told = root.check("sh", "-c", f". /etc/os-release; echo $PRETTY_NAME; {_PROGRAM} --version")
    print(f"{archive.name} in {told.strip()}")


@pytest.mark.guest
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
@pytest.mark.parametrize(
    ("pattern", "more"), [("*manylinux*.whl", ()), ("*.tar.gz", _COMPILER)], ids=["wheel", "sdist"]
)
def test_the_first_command_of_the_readme_runs(
    dist: Path, suite: str, pattern: str, more: tuple[str, ...]
) -> None:
    with debian_root(suite, [*_BARE, *more], mounts={_DIST: dist}) as root:
        assert root.run("sh", "-c", "command -v qemu-system-x86_64 make").returncode
        assert (root.run("sh", "-c", "command -v cc").returncode == 0) == bool(more)
        install(root, pattern, dist)
        ran = root.run(_PROGRAM, *first_run()[1:])
        print(ran.stderr)
        assert ran.returncode == 0, ran.stderr
        assert "exact: 1003 of 1003 requests on time" in ran.stderr


def test_without_the_agent_all_works_that_needs_no_guest(dist: Path) -> None:
    replay = "replay --workload randread,bs=4k,qd=4,count=2k --device constant:100us --out r"
    with debian_root("trixie", _BARE, mounts={_DIST: dist}) as root:
        install(root, "*-none-any.whl", dist)
        for command in ("devices", replay, "report r -o r.html", "export r --format csv -o r.csv"):
            root.check(_PROGRAM, *command.split(), directory="/srv")
        refused = root.run(_PROGRAM, "run", "--disk", "constant:10us", "--", "true")
        assert refused.returncode == 2
        assert "the agent is not built" in refused.stderr
        assert refused.stderr.count("\n") == 1
