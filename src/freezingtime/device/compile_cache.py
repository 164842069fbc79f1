"""Keep numba from using machine code of old sources.

Numba keeps the machine code of an entry point until *its* file changes; that the functions
which it calls, in other files, have changed is not seen. So a model whose kernels are spread
over the files of a package has what is older than any source of it thrown away before use.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache  # what is loaded stays loaded: looking once is enough
def forget_stale(package: Path) -> None:
    """Remove the kept machine code of the package directory if a source of it is newer."""
    newest_ns = max(source.stat().st_mtime_ns for source in package.glob("*.py"))
    for index in (package / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest_ns:
                index.unlink()
        except OSError:  # another process was faster, or it is not ours to remove
            continue
