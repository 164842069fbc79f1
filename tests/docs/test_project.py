# SPDX-License-Identifier: GPL-2.0-or-later
"""What the project says of itself to hosts, editors and citations is true."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import require_tool
from tests.support.doclib import ROOT

_SOURCES = ("src", "tests", "bench", "container", "demo", "examples", "experiments", "website")
_LICENCE = "SPDX-License-Identifier: GPL-2.0-or-later"


def load_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_every_source_names_its_licence() -> None:
    files = [
        path
        for name in _SOURCES
        for suffix in ("*.py", "*.c", "*.h", "*.sh")
        for path in (ROOT / name).rglob(suffix)
        if path.stat().st_size
    ]
    assert len(files) > 300
    without = [str(path.relative_to(ROOT)) for path in files if _LICENCE not in head_of(path)]
    assert not without


def head_of(path: Path) -> str:
    return "\n".join(path.read_text().splitlines()[:3])


def test_workflows_call_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job["steps"]:
                called |= set(re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE))
    assert called >= {"check", "test", "test-all"}
    assert called <= targets


def test_hooks_run_what_the_linters_run() -> None:
    hooks = {hook["id"] for hook in load_yaml(".pre-commit-config.yaml")["repos"][0]["hooks"]}
    assert hooks == {"ruff-format", "ruff-check", "mypy", "import-linter", "clang-format"}


def test_the_citation_agrees_with_the_package() -> None:
    citation = load_yaml("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["license"] == project["license"]
    assert citation["references"][0]["doi"] in (ROOT / "README.md").read_text()


def released(lines: Iterable[str]) -> list[tuple[int, ...]]:
    """The versions of the changelog, newest first."""
    heads = [line for line in lines if line.startswith("## ")]
    assert heads[0] == "## [Unreleased]"
    dated = re.compile(r"## \[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}")
    matches = [dated.fullmatch(line) for line in heads[1:]]
    assert all(matches), heads
    return [tuple(map(int, match.groups())) for match in matches if match]


def tagged() -> list[tuple[int, ...]] | None:
    """The versions that are tagged, newest first; None in sources without their history."""
    command = ["git", "-C", str(ROOT), "tag", "--list", "v*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (ROOT / ".git").exists():
        return None
    tags = re.findall(r"^v(\d+)\.(\d+)\.(\d+)$", done.stdout, re.MULTILINE)
    return sorted((tuple(map(int, tag)) for tag in tags), reverse=True)


def test_tags_changelog_citation_and_fallback_name_the_same_versions() -> None:
    versions = released((ROOT / "CHANGELOG.md").read_text().splitlines())
    assert versions == sorted(set(versions), reverse=True)
    tags = tagged()
    if tags:  # a clone may be without
        # The commit that is about to be tagged has one version more.
        assert versions in (tags, [versions[0], *tags])
    fallback = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    following = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)\.dev0", fallback["fallback_version"])
    assert following
    assert [tuple(map(int, following.groups()))] > versions[:1]
    citation = load_yaml("CITATION.cff")
    newest = ".".join(map(str, versions[0])) if versions else None
    assert citation.get("version") == newest
    assert ("date-released" in citation) == bool(versions)


def test_the_changelog_is_by_kind() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.fixture(scope="module")
def man1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from website.man_pages import write_man_pages

    require_tool("lowdown")
    directory = tmp_path_factory.mktemp("man")
    write_man_pages(directory)
    return directory / "man1"


def test_each_command_has_a_manual_page(man1: Path) -> None:
    from freezingtime.cli.main import _COMMANDS

    names = {"freezingtime", *(f"freezingtime-{command}" for command in _COMMANDS)}
    assert {path.stem for path in man1.iterdir()} == names


def test_a_manual_page_is_one(man1: Path) -> None:
    require_tool("groff")
    page = man1 / "freezingtime-run.1"
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", str(page)], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    text = re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)
    assert "freezingtime-run - Run a command in a guest" in text
    assert "--cpu-rate RATE" in " ".join(text.split())  # groff justifies lines
