# SPDX-License-Identifier: GPL-2.0-or-later
"""What pip installs from a source archive is whole: the agent, and every file that is no module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What the build reads.
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "setup.py", "src")
BUILT = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made of an sdist that was made of the sources."""
    directory = tmp_path_factory.mktemp("package")
    sources, out = directory / "sources", directory / "out"
    sources.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=BUILT)
        else:
            shutil.copy(ROOT / name, sources)
    # Without options `build` makes the wheel of the sdist and not of the tree.
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


def test_every_file_of_the_package_is_in_it(wheel: Path) -> None:
    package = ROOT / "src"
    wanted = {
        str(path.relative_to(package))
        for path in (package / "freezingtime").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".so", ".nbi", ".nbc"}
    }
    packed = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("freezingtime/") and not name.endswith(".so")
    }
    assert packed == wanted


def test_it_is_for_every_python_of_its_platform(wheel: Path) -> None:
    """The agent is plain C: nothing in the wheel has a Python's ABI."""
    platform = sysconfig.get_platform().replace("-", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    libraries = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    assert libraries == ["freezingtime/clock/agent/_agent.so"]


def test_without_history_the_version_is_the_fallback(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    fallback = project["tool"]["setuptools_scm"]["fallback_version"]
    assert wheel.name.startswith(f"freezingtime-{fallback}-")


def test_the_agent_is_in_it_and_of_these_sources(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from freezingtime.clock.agent import agent_path; print(agent_path())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)
