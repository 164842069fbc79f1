# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the mini images: one for each Debian suite."""

from __future__ import annotations

from freezingtime.errors import InputError
from freezingtime.images.debian.suite import DEFAULT, Suite
from freezingtime.images.names import MINI


def mini_name(suite: Suite) -> str:
    """Return the name of a suite's mini image: mini, or such as mini-trixie."""
    return MINI if suite.is_default else f"{MINI}-{suite.name}"


def mini_suite(name: str) -> Suite | None:
    """The suite whose mini image is called ``name``; None if no mini image is.

    Raises InputError when no suite can be called so.
    """
    if name == MINI:
        return DEFAULT
    if not name.startswith(f"{MINI}-"):
        return None
    suite = Suite.parse(name.removeprefix(f"{MINI}-"), f"--guest {name}")
    if suite.is_default:
        raise InputError(f"--guest {name}: the mini guest of {suite.name} is called {MINI}")
    return suite
