# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's parts know each other one way, and its rooms keep to what is theirs."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from freezingtime.clock.agent import agent_path
from tests.conftest import require_tool
from tests.support.agentlib import AGENT_DIRECTORY, AGENT_SOURCES, END_DEADLINE_S

#: What the room that finds QEMU's hooks may know of the other one.
SHARED = {"ours/base", "ours/request"}

Graph = dict[str, set[str]]


def part_of(path: Path) -> str:
    """A source and its header are one part."""
    return str(path.relative_to(AGENT_DIRECTORY).with_suffix(""))


@pytest.fixture(scope="module")
def includes() -> Graph:
    graph: Graph = defaultdict(set)
    for source in AGENT_DIRECTORY.rglob("*.[ch]"):
        for name in re.findall(r'^#include "(.+)"', source.read_text(), re.MULTILINE):
            graph[part_of(source)].add(part_of(AGENT_DIRECTORY / name))
    return {part: known - {part} for part, known in graph.items()}


@pytest.fixture(scope="module")
def symbols(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Which part uses functions and variables of which, as the linker sees it."""
    compiler, lister = require_tool("gcc"), require_tool("nm")
    directory = tmp_path_factory.mktemp("objects")
    wanted: Graph = {}
    owner: dict[str, str] = {}
    for source in AGENT_SOURCES:
        part, compiled = part_of(source), directory / "part.o"
        subprocess.run(
            [compiler, "-std=c11", f"-I{AGENT_DIRECTORY}", "-c", source, "-o", compiled],
            check=True,
            timeout=END_DEADLINE_S,
        )
        listed = subprocess.run([lister, compiled], check=True, capture_output=True, text=True)
        names = [line.split()[-2:] for line in listed.stdout.splitlines()]
        wanted[part] = {name for kind, name in names if kind in "Uw" and name.startswith("ft_")}
        owner |= {name: part for kind, name in names if kind.isupper() and kind not in "UW"}
    return {part: {owner[name] for name in names} for part, names in wanted.items()}


@pytest.mark.parametrize("kind", ["includes", "symbols"])
def test_no_part_knows_one_that_knows_it(kind: str, request: pytest.FixtureRequest) -> None:
    graph: Graph = request.getfixturevalue(kind)
    assert len(graph) > 15
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"{kind}: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("kind", ["includes", "symbols"])
def test_the_room_of_qemu_does_not_know_ours(kind: str, request: pytest.FixtureRequest) -> None:
    graph: Graph = request.getfixturevalue(kind)
    for part, known in graph.items():
        if part.startswith("qemu/"):
            assert {name for name in known if not name.startswith("qemu/")} <= SHARED, part
    assert not graph.get("ours/base")
    assert not graph.get("ours/request")


@pytest.mark.parametrize("kind", ["includes", "symbols"])
def test_what_speaks_to_the_emulator_knows_no_qemu(
    kind: str, request: pytest.FixtureRequest
) -> None:
    graph: Graph = request.getfixturevalue(kind)
    room = "ours/emulator/"
    parts = [part for part in graph if part.startswith(room)]
    assert len(parts) >= 4
    for part in parts:
        assert {name for name in graph[part] if not name.startswith(room)} <= SHARED, part


def test_no_version_of_qemu_is_asked_for_or_named_among_ours() -> None:
    for source in AGENT_DIRECTORY.rglob("*.[ch]"):
        text = source.read_text()
        assert not re.search(r"query_version|QEMU_VERSION|qemu_version", text), source
        if source.is_relative_to(AGENT_DIRECTORY / "ours"):
            assert not re.search(r"\bQEMU \d|(?<!GPL-)\b\d+\.\d+\b", text), source


def test_headers_can_be_included_by_themselves(tmp_path: Path) -> None:
    compiler = require_tool("gcc")
    for header in AGENT_DIRECTORY.rglob("*.h"):
        name = header.relative_to(AGENT_DIRECTORY)
        options = ["-std=c11", "-Werror", f"-I{AGENT_DIRECTORY}", "-o", tmp_path / "header.o"]
        subprocess.run(
            [compiler, *options, "-x", "c", "-c", "-"],
            input=f'#include "{name}"\n',
            text=True,
            check=True,
            timeout=END_DEADLINE_S,
        )


def test_it_needs_no_newer_c_library_than_the_pinned_qemu_brings() -> None:
    """Whatever compiled it: a QEMU unpacked from Debian 12's packages has glibc 2.36."""
    with agent_path().open("rb") as file:
        needed = ELFFile(file).get_section_by_name(".gnu.version_r")
        names = [version.name for _, versions in needed.iter_versions() for version in versions]
    versions = [
        tuple(map(int, name.removeprefix("GLIBC_").split(".")))
        for name in names
        if name.startswith("GLIBC_")
    ]
    assert versions
    assert max(versions) <= (2, 36)
