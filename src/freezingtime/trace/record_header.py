# SPDX-License-Identifier: GPL-2.0-or-later
"""Header of a record: the run that it belongs to, and the version of its format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from freezingtime._version import __version__
from freezingtime.errors import InputError

#: Changes whenever a reader of the version before would misread or miss something.
RECORD_VERSION = 2

_KEY = b"freezingtime"


@dataclass(frozen=True, slots=True)
class RecordedDisk:
    """One disk of a run: its name in the record, and the option that described it."""

    name: str
    spec: str


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """Properties that all requests of a record share."""

    disks: Sequence[RecordedDisk]
    seed: int
    cpu_rate_hz: int | None = None
    """None: no guest took part."""
    tool_version: str = __version__

    def metadata(self) -> dict[bytes, bytes]:
        """For the schema of an Arrow table."""
        document = {"record_version": RECORD_VERSION, **asdict(self)}
        return {_KEY: json.dumps(document).encode()}


def parse_header(file: str, metadata: Mapping[bytes, bytes] | None) -> RecordHeader:
    """The header in the metadata of an Arrow schema; ``file`` is its name in messages.

    Raises:
        InputError: it is no record, is damaged, or is one of another version.
    """
    text = (metadata or {}).get(_KEY)
    if text is None:
        raise InputError(f"{file}: is not a record; name a run's directory or its record")
    try:
        document = json.loads(text)
        version = document.pop("record_version")
        tool_version = document["tool_version"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: its header is damaged: {error!r}; repeat the run") from error
    if version != RECORD_VERSION:
        raise InputError(
            f"{file}: has record version {version}, of freezingtime {tool_version}; this is "
            f"{__version__}, which reads version {RECORD_VERSION}; read it with the other"
        )
    try:
        disks = [RecordedDisk(**disk) for disk in document.pop("disks")]
        return RecordHeader(disks, **document)
    except (KeyError, TypeError) as error:
        raise InputError(f"{file}: its header is damaged: {error!r}; repeat the run") from error
