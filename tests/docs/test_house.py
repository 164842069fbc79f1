# SPDX-License-Identifier: GPL-2.0-or-later
"""The house is in order: rooms are no piles, a name means one thing, and the plan is true."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.doclib import ROOT

PACKAGE = ROOT / "src" / "freezingtime"

#: Of one room, without those of the rooms in it.
MOST_SOURCES = 15

NEVER = "NEVER_NS"


def test_no_room_holds_more_than_one_looks_through() -> None:
    sources = [
        path.parent
        for room in (PACKAGE, ROOT / "tests")
        for suffix in ("py", "c", "h")
        for path in room.rglob(f"*.{suffix}")
    ]
    assert len(sources) > 300
    piles: dict[Path, int] = {
        room.relative_to(ROOT): count
        for room, count in Counter(sources).items()
        if count > MOST_SOURCES
    }
    assert not piles


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert len(places) > 200
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}


def test_never_is_one_time() -> None:
    """Whatever its name begins with: two that differ are compared sooner or later."""
    places = [
        (path, target.id)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id.lstrip("_").startswith(NEVER)
    ]
    assert places == [("units.py", NEVER)]


def test_files_that_the_plan_names_are_there() -> None:
    """Paths from the package's root, the agent's from its own as well."""
    plan = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([\w-]+/[\w/-]+\.(?:py|c|h))`", plan))
    assert len(named) > 20
    roots = (PACKAGE, PACKAGE / "clock" / "agent", ROOT)
    assert not {name for name in named if not any((root / name).is_file() for root in roots)}
