# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of results: the caller's, or in a temporary directory that goes away with the result."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.host.os_errors import os_errors_as


class OutputPath:
    """The path of a result. One that the caller did not name is removed when this object is."""

    def __init__(self, out: str | os.PathLike[str] | None, name: str = "") -> None:
        """``name`` is its name in a temporary directory.

        Raises:
            InputError: ``out`` is empty, or there can be no temporary directory.
        """
        if out == "":
            raise InputError("out: is empty; name a file or directory")
        if out is not None:
            self.path = Path(out)
            return
        with os_errors_as(InputError, "no temporary directory", "set TMPDIR"):
            scratch = tempfile.mkdtemp(prefix="freezingtime-")
        self.path = Path(scratch, name)
        weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
