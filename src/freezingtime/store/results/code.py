# SPDX-License-Identifier: GPL-2.0-or-later
"""The identity of the code that decides figures: our own, and the libraries below it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent.parent
#: What only shows or explores: a change there leaves every figure as it was.
_WITHOUT_FIGURES = (
    *("cli", "api", "report", "explore", "predict", "calibrate", "serve.py", "doctor.py"),
    *("_version.py", "store", "trace/explored"),
)
#: Scripts that run in the guest have no suffix.
_GUEST = "vm/guest"
#: Random numbers, compiled models and the record's format are theirs.
_LIBRARIES = ("numpy", "numba", "scipy", "pyarrow")


@cache
def code_identity() -> dict[str, str]:
    """The digest of our own sources, and the versions of Python and the libraries."""
    major, minor, _ = platform.python_version_tuple()
    return {
        "freezingtime": _sources_digest(),
        "python": f"{major}.{minor}",
        **{name: _version(name) for name in _LIBRARIES},
    }


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        name = path.relative_to(_PACKAGE)
        in_guest = name.is_relative_to(_GUEST)
        if any(map(name.is_relative_to, _WITHOUT_FIGURES)) or not path.is_file():
            continue
        if path.suffix == ".py" or (in_guest and "__pycache__" not in name.parts):
            digest.update(f"{name}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # vendored by whoever packs us
        return "unknown"
