"""Being root, or being taken for root: what it takes to unpack a system with its owners."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from freezingtime.errors import InputError

#: Root of a user namespace whose other users are the caller's subordinate ids.
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--setuid=0")
_DEADLINE_S = 30.0
_REMOVE_DEADLINE_S = 300.0


def as_root() -> Sequence[str]:
    """What to put before a command that must be root; nothing for root itself.

    Raises:
        InputError: this host lets the caller become root of nothing.
    """
    if os.geteuid() == 0:
        return ()
    try:
        result = subprocess.run(
            [*_NAMESPACE, "true"], capture_output=True, text=True, check=False, timeout=_DEADLINE_S
        )
        reason = result.stderr.strip().splitlines()
        if result.returncode == 0:
            return _NAMESPACE
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = [str(error)]
    raise InputError(
        "building a Debian guest takes root, or user namespaces with subordinate ids "
        f"({reason[-1] if reason else 'unshare failed'}): run it as root, or 'apt-get install "
        "uidmap' and give yourself ids with 'usermod --add-subuids 100000-165535 "
        "--add-subgids 100000-165535 USER'"
    )


def remove_as_root(become_root: Sequence[str], paths: Iterable[Path]) -> None:
    """Remove trees whose files may belong to subordinate users."""
    doomed = [str(path) for path in paths]
    if doomed:
        subprocess.run(
            [*become_root, "rm", "-rf", "--", *doomed], check=False, timeout=_REMOVE_DEADLINE_S
        )
