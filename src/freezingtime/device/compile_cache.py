# SPDX-License-Identifier: GPL-2.0-or-later
"""Keep numba from using machine code of old sources, and say when it compiles.

Numba keeps the machine code of an entry point until *its* file changes; that the functions
which it calls, in other files, have changed is not seen. So a model whose kernels are spread
over the files of a package has what is older than any source of it thrown away before use: any
source of the package and of the packages below its ``kernels``, and of what all models share
(annotations, records).
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

_log = logging.getLogger(__name__)


@cache
def prepare(package: Path) -> None:
    """Before a large model's kernels are imported: forget what is stale, log if they compile."""
    if not forget_stale(package):
        _log.info("compiling the %s model, once per machine: up to 20 s of CPU", package.name)


@cache  # what is loaded stays loaded: looking once is enough
def forget_stale(*packages: Path) -> bool:
    """Remove the kept machine code of the package directories if a source of them is newer.

    Whether there is any left.
    """
    folders = [*packages]
    for package in packages:
        folders += package.glob("kernels/**/")
    sources = [source for folder in folders for source in folder.glob("*.py")]
    sources += [Path(__file__).with_name("records.py")]
    sources += Path(__file__).parent.glob("annotations/*.py")
    newest_ns = max(source.stat().st_mtime_ns for source in sources)
    kept = False
    for index in (index for folder in folders for index in folder.glob("__pycache__/*.nbi")):
        try:
            if index.stat().st_mtime_ns < newest_ns:
                index.unlink()
            else:
                kept = True
        except OSError:  # another process was faster, or it is not ours to remove
            continue
    return kept
