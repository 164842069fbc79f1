# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of the installed package, which the build takes from the tag (pyproject.toml)."""

import re
from importlib.metadata import PackageNotFoundError, version

__version__: str
"""Such as ``0.2.0``, or ``0.2.1.dev3+g1a2b3c4`` three commits after it."""

try:
    __version__ = version("freezingtime")
except PackageNotFoundError:  # sources that nobody has installed
    __version__ = "0+unknown"

_RELEASE = re.match(r"[0-9.]*[0-9]", __version__)
RELEASE = _RELEASE[0] if _RELEASE else __version__
"""The version without what differs between two commits of one development."""
