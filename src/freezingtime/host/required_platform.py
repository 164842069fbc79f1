# SPDX-License-Identifier: GPL-2.0-or-later
"""Requirements of the platform: Linux, or Linux on x86-64; on others the rest works."""

from __future__ import annotations

import platform
import sys

from freezingtime.errors import InputError

_WORKS_ANYWHERE = (
    "replay, devices, fit, report, compare, export, runs and explain work here as well"
)


def require_linux(action: str) -> None:
    """Raise InputError, which calls what is wanted ``action``, unless this is Linux."""
    if not _is_linux():
        raise InputError(f"{action} needs Linux, and this is {_words()}; {_WORKS_ANYWHERE}")


def require_guest_platform() -> None:
    """Raise InputError unless guests can run here: their QEMU and the agent are x86-64's."""
    if not runs_guests():
        raise InputError(
            f"running a guest needs Linux on x86-64, and this is {_words()}; {_WORKS_ANYWHERE}"
        )


def runs_guests() -> bool:
    return _is_linux() and platform.machine() in ("x86_64", "amd64")


def _is_linux() -> bool:
    return sys.platform == "linux"


def _words() -> str:
    return f"{platform.system()} on {platform.machine()}"
