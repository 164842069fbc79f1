# SPDX-License-Identifier: GPL-2.0-or-later
"""Being root, or being taken for root: what it takes to unpack a system with its owners."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from freezingtime.errors import InputError
from freezingtime.images.debian.tools import run_tool

#: Mounts of its own, and an end to all of its processes when it ends, however it ends: what
#: is mounted in an unfinished system must never be there for us when we remove that system.
_CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
#: The same for root of a user namespace whose other users are the caller's subordinate ids.
_IN_NAMESPACE = (*_CONTAINED, "--user", "--map-root-user", "--map-auto", "--setuid=0")
_DEADLINE_S = 30.0
_REMOVE_DEADLINE_S = 300.0


def as_root() -> Sequence[str]:
    """Return the prefix of a command that must be root, or be taken for it.

    Raises:
        InputError: this host lets the caller become root of nothing.
    """
    is_root = os.geteuid() == 0
    prefix = _CONTAINED if is_root else _IN_NAMESPACE
    reason = _refusal(prefix)
    if reason is None:
        return prefix
    if is_root:
        raise InputError(
            f"building a Debian guest takes mounts of its own ({reason}): "
            "run it where root may mount; in a container, allow it with --privileged"
        )
    raise InputError(
        f"building a Debian guest takes root, or user namespaces with subordinate ids ({reason}): "
        "run it as root, or 'apt-get install uidmap' and give yourself ids with 'usermod "
        "--add-subuids 100000-165535 --add-subgids 100000-165535 USER'"
    )


def _refusal(prefix: Sequence[str]) -> str | None:
    """Return why a command cannot run behind ``prefix``; None if it can."""
    try:
        result = subprocess.run(
            [*prefix, "true"], capture_output=True, text=True, check=False, timeout=_DEADLINE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if result.returncode == 0:
        return None
    return (result.stderr.strip().splitlines() or ["unshare failed"])[-1]


def remove_as_root(become_root: Sequence[str], paths: Iterable[Path]) -> None:
    """Remove trees whose files may belong to subordinate users."""
    doomed = [str(path) for path in paths]
    if doomed:
        command = [*become_root, "rm", "-rf", "--", *doomed]
        run_tool(command, check=False, timeout_s=_REMOVE_DEADLINE_S)
