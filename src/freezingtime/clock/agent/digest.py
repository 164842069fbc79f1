# SPDX-License-Identifier: GPL-2.0-or-later
"""Digest of the agent's sources. Used by setup.py as well, so it imports nothing of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

#: What stands before the digest in the compiled agent (agent.c).
MARK = b"freezingtime agent of "


def sources_digest(directory: Path) -> str:
    """SHA-256 of the agent's sources in a directory, as hexadecimal digits."""
    digest = hashlib.sha256()
    for source in sorted(directory.rglob("*.[ch]")):
        digest.update(f"{source.relative_to(directory)}\0".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def is_built_from(agent: Path, directory: Path) -> bool:
    """Whether a compiled agent was made of the sources that are in a directory now."""
    return MARK + sources_digest(directory).encode() in agent.read_bytes()
