"""Keep numba from using machine code of old sources.

Numba keeps the machine code of an entry point until *its* file changes; that the functions
which it calls, in other files, have changed is not seen. So what is older than any source of
this package is thrown away before it is used.
"""

from __future__ import annotations

from pathlib import Path


def forget_stale() -> None:
    """Remove this package's kept machine code if a source is newer."""
    package = Path(__file__).parent
    newest_ns = max(source.stat().st_mtime_ns for source in package.glob("*.py"))
    for index in (package / "__pycache__").glob("*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest_ns:
                index.unlink()
        except OSError:  # another process was faster, or it is not ours to remove
            continue
