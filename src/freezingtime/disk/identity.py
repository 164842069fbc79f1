# SPDX-License-Identifier: GPL-2.0-or-later
"""All of a disk that decides figures, by content; and its text, which its record has."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from freezingtime.disk.spec import DiskSpec
from freezingtime.errors import InputError
from freezingtime.host.content.digest import content_digest


def disk_identity(spec: DiskSpec) -> dict[str, Any]:
    """Return the identity of a disk, as JSON has it.

    Raises:
        InputError: its medium, or code of its device, cannot be read.
    """
    return {
        "text": spec.text,
        "device": spec.device.identity(),
        "name": spec.name,
        "medium": _medium_identity(spec),
        "size_bytes": spec.size_bytes,
        "controller": [
            spec.frontend,
            spec.write_cache,
            spec.queues.depth,
            spec.queues.count,
            msgspec.to_builtins(spec.traits),
        ],
        "mount": spec.mount and asdict(spec.mount),
    }


def _medium_identity(spec: DiskSpec) -> str | None:
    if spec.file is None:
        return None
    try:
        return content_digest(spec.file, spec.size_bytes)
    except OSError as error:
        raise InputError(
            f"{spec.given.place}{spec.file}: {error.strerror or error}; name a readable file"
        ) from error
