# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of device models: every key that each takes, as the code reads it.

``descriptions/MODEL.toml`` has what the code cannot tell: descriptions that reach every key, and
what the keys mean.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from freezingtime.device.parameters import Table
from freezingtime.device.registry import MODELS
from website.markdown import from_docstring, table
from website.probe import Key, unexplored, watch

_DESCRIPTIONS = Path(__file__).parent / "descriptions"
_SIZE_BYTES = 1 << 30
_HEADER = ("key", "kind", "allowed", "default", "what it is")

_INTRODUCTION = """# Device models: all parameters

What stands under `[parameters]` in a [device's description](../devices.md), for each `model`. The
keys, their kinds, ranges and defaults are those that the code itself asks for. **Bold** keys are
needed (in a table: if the table is there). Times are texts such as `"75us"`, sizes `"4KiB"`,
bandwidths `"3.2GB/s"`.
"""


class DescriptionError(Exception):
    """What stands in ``descriptions/`` does not go with the code."""


def models_page() -> str:
    """The page's Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(model) for model in MODELS)])


def _section(model: str) -> str:
    description = _description(model)
    keys = model_keys(model)
    rows = [_row(path, key, description) for path, key in keys.items()]
    docs = importlib.import_module(description["docs"]).__doc__ or ""
    return f"## {model}\n\n{from_docstring(docs)}\n\n{table(_HEADER, rows)}\n"


def model_keys(model: str) -> dict[str, Key]:
    """The keys of a model by their paths; a member's own parameters are not among them.

    Raises:
        DescriptionError: there is a key that the description does not reach or explain, or one
            that it explains is none.
    """
    description = _description(model)
    contents = model_contents(model)
    keys, missing = _watch_all(model, contents)
    meaning = description["meaning"]
    _complain(model, "has no example of", missing)
    _complain(model, "does not explain", {path for path in keys if not _find(meaning, path)})
    wrong = {name for name in meaning if not any(fnmatchcase(path, name) for path in keys)}
    _complain(model, "explains what is no key:", wrong)
    return _tables_last({path: key for path, key in keys.items() if key.kinds})


def model_contents(model: str) -> list[dict[str, Any]]:
    """Parameters of a model that are right, which together reach every key."""
    description = _description(model)
    return [description["parameters"], *description.get("alternative", [])]


def _watch_all(
    model: str, contents: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Key], set[str]]:
    """The keys of several descriptions together, and where none of them is enough."""
    keys: dict[str, Key] = {}
    missing: set[str] = set()
    for content in contents:
        found = watch(content, lambda table: _build(model, table))
        missing |= set(unexplored(content, found))
        for path, key in found.items():
            known = keys.setdefault(path, key)
            known.kinds = known.kinds or key.kinds
    for path, key in keys.items():
        key.needed &= not any(_does_without(content, path) for content in contents)
    return keys, {path for path in missing if not any(_is_in(part, path) for part in contents)}


def _tables_last(keys: dict[str, Key]) -> dict[str, Key]:
    """Each table with its keys behind it; otherwise in the code's order."""
    parts = {path: path.replace("[]", "").split(".")[0] for path in keys}
    with_keys = {parts[path] for path in keys if "." in path}
    order = sorted(
        keys,
        key=lambda path: (
            parts[path] in with_keys,
            list(parts.values()).index(parts[path]),
            "." in path,
        ),
    )
    return {path: keys[path] for path in order}


def _complain(model: str, problem: str, keys: set[str]) -> None:
    if keys:
        raise DescriptionError(f"{_DESCRIPTIONS / model}.toml {problem} {', '.join(sorted(keys))}")


def _description(model: str) -> dict[str, Any]:
    path = _DESCRIPTIONS / f"{model}.toml"
    if not path.exists():
        raise DescriptionError(f"{path}: is missing; every model has a description there")
    return tomllib.loads(path.read_text())


def _build(model: str, table: Table) -> None:
    MODELS[model](table, 0, _SIZE_BYTES)
    table.finish()


def _is_in(content: Any, path: str) -> bool:
    first, _, rest = path.partition(".")
    below = content.get(first.removesuffix("[]"))
    if not rest or below is None:
        return below is not None
    return any(_is_in(item, rest) for item in (below if isinstance(below, list) else [below]))


def _does_without(content: Any, path: str) -> bool:
    """Whether the table is there and the key is not."""
    table, _, _ = path.rpartition(".")
    return (not table or _is_in(content, table)) and not _is_in(content, path)


def _row(path: str, key: Key, description: Mapping[str, Any]) -> tuple[str, ...]:
    default = _find(description.get("default", {}), path)
    if default is None:
        default = "" if key.default is None or key.needed else f"`{key.default}`"
    name = f"**`{path}`**" if key.needed else f"`{path}`"
    meaning = _find(description["meaning"], path) or ""
    return name, " or ".join(key.kinds), key.allowed, default, meaning


def _find(texts: Mapping[str, str], path: str) -> str | None:
    """The text of a key: under its own path, else under the first pattern that matches."""
    if path in texts:
        return texts[path]
    return next((text for name, text in texts.items() if fnmatchcase(path, name)), None)
