# SPDX-License-Identifier: GPL-2.0-or-later
"""Digests of a user's own Python code: of a module, and of all of the user's that it imports.

What is installed, as packages are, is not among it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

_INSTALLED = tuple(
    Path(path).resolve()
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)
#: This package.
_OWN = Path(__file__).parent.parent.resolve()
_SUFFIX = ".py"


def source_digests(name: str) -> dict[str, str]:
    """SHA-256 of each source file that the module ``name``, or the file ``NAME.py``, is made of.

    The keys are the modules' names; the first is the file's own name, wherever it lies. Files of
    other kinds that the code reads are not known here.

    Raises:
        OSError: a file cannot be read.
    """
    digests: dict[str, str] = {}
    spec = None if name.endswith(_SUFFIX) else _find(name)
    start = Path(name) if spec is None else _own_file(spec)
    waiting = [] if start is None else [(start.name if spec is None else spec.name, start, spec)]
    while waiting:
        module, file, of_module = waiting.pop()
        if module in digests:
            continue
        content = file.read_bytes()
        digests[module] = hashlib.sha256(content).hexdigest()
        if file.suffix == _SUFFIX:
            package = None if of_module is None else of_module.parent
            for imported in _imports(content, package):
                found = _find(imported)
                own = None if found is None else _own_file(found)
                if own is not None:
                    waiting.append((imported, own, found))
    return digests


def _imports(content: bytes, package: str | None) -> Iterator[str]:
    """The modules that a source may import, with the packages that they are in."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return  # whoever loads it says so
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            names = [] if base is None else [base, *(f"{base}.{each.name}" for each in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _base(node: ast.ImportFrom, package: str | None) -> str | None:
    if not node.level:
        return node.module
    parts = (package or "").split(".")
    if not package or node.level > len(parts):
        return None
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def _find(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except Exception:  # the packages around it are loaded, and may fail of anything
        return None


def _own_file(spec: ModuleSpec) -> Path | None:
    """The file of a module of the user's; None for one that is installed, or has no file."""
    if not spec.has_location or spec.origin is None:
        return None
    file = Path(spec.origin).resolve()
    if any(file.is_relative_to(place) for place in (*_INSTALLED, _OWN)):
        return None
    return file
