# SPDX-License-Identifier: GPL-2.0-or-later
"""A user's own device model: ``module:Class`` or ``path/to/file.py:Class``, made with a seed."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freezingtime.device.base import Device
from freezingtime.errors import InputError
from freezingtime.host.content import python_sources
from freezingtime.host.os_errors import os_errors_as

_NAME = re.compile(r"([A-Za-z_]\w*(\.[A-Za-z_]\w*)*|.+\.py):[A-Za-z_]\w*")


#: Whether files may name code that is then run; the user's own words always may.
_is_code_allowed = False


def allow_code() -> None:
    """From now on, run the Python code that device descriptions name as members."""
    global _is_code_allowed  # noqa: PLW0603 -- the user's word, for all that this process does
    _is_code_allowed = True


def is_code_allowed() -> bool:
    """Whether the user trusts the code that device descriptions name."""
    return _is_code_allowed


def is_name(text: str) -> bool:
    """Whether ``text`` is written as the name of such a model; it may still not be there."""
    return _NAME.fullmatch(text) is not None


def load(text: str, directory: Path | None) -> Callable[[int], Any]:
    """Run the module that ``text`` names; return its class.

    A relative path is one from ``directory`` (None: the working directory).

    Raises:
        InputError: the module cannot be loaded, or has no such class.
    """
    module_name, _, class_name = text.rpartition(":")
    if module_name.endswith(".py") and directory is not None:
        module_name = str(directory / module_name)
    try:
        module = _load_module(module_name)
    except Exception as error:  # it may fail of anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{text}: cannot load {module_name}: {reason}") from error
    factory = getattr(module, class_name, None)
    if not callable(factory):
        raise InputError(f"{text}: {module_name} has no class {class_name!r}")
    loaded: Callable[[int], Any] = factory
    return loaded


def source_digests(text: str, directory: Path | None) -> dict[str, str]:
    """The digests of the code that ``text`` names, and of the user's code that it imports.

    Raises:
        InputError: it cannot be read.
    """
    module_name = text.rpartition(":")[0]
    if module_name.endswith(".py") and directory is not None:
        module_name = str(directory / module_name)
    with os_errors_as(InputError, text, "name readable Python code"):
        return python_sources.source_digests(module_name)


def build(text: str, factory: Callable[[int], Any], seed: int) -> Device:
    """Make a device of the class.

    Raises:
        InputError: it cannot be made with a seed, or is no device.
    """
    try:
        device = factory(seed)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{text}: cannot be constructed with a seed: {reason}") from error
    missing = [
        name
        for name in ("submit", "next_event_ns", "advance")
        if not callable(getattr(device, name, None))
    ]
    if missing:
        raise InputError(f"{text}: is not a device: it lacks {', '.join(missing)}")
    own: Device = device
    return own


def _load_module(name: str) -> object:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"freezingtime_own_{Path(name).stem}", name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
