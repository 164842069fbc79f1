# SPDX-License-Identifier: GPL-2.0-or-later
"""Public docstrings begin with a verb or a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.doclib import ROOT

PACKAGE = ROOT / "src" / "freezingtime"
PRONOUN = re.compile(
    r"(It|Its|They|Their|This|That|These|Those|What|Which|Who|Whose|Where|When|How|Why|There)\b"
)


def public_docstrings(source: str) -> Iterator[tuple[str, str]]:
    """The names of a module's public parts, and their docstrings."""

    def walk(node: ast.AST, path: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if child.name.startswith("_") and not child.name.endswith("__"):
                    continue
                name = f"{path}.{child.name}".lstrip(".")
                yield name, ast.get_docstring(child) or ""
                yield from walk(child, name)

    tree = ast.parse(source)
    yield "module", ast.get_docstring(tree) or ""
    yield from walk(tree, "")


def test_no_docstring_begins_with_a_pronoun() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 100
    wrong = [
        f"{path.relative_to(ROOT)}: {name}: {text.splitlines()[0]}"
        for path in paths
        for name, text in public_docstrings(path.read_text())
        if PRONOUN.match(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_pronoun_is_found() -> None:
    source = '"""Fine."""\nclass A:\n    """It is."""\n    def b(self):\n        """What?"""\n'
    found = [name for name, text in public_docstrings(source) if PRONOUN.match(text)]
    assert found == ["A", "A.b"]
